"""Manifests: what the shipped one says, and what is refused with which sentence."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vigild.catalogue import embedded, library, manifest
from vigild.catalogue.entry import ManifestError
from vigild.detector import labels

REPO = Path(__file__).resolve().parents[2]
ASSETS = REPO.parent / "shared" / "assets" / "models"
SHIPPED = REPO / "models" / "manifest.toml"

GOOD = """
format = 1
[model.good]
[[model.good.variant]]
name = "one"
file = "one.tflite"
"""


def read(text: str) -> manifest.Manifest:
    return manifest.parse(text, "m.toml", "/m")


def refused(lines: str, variant: str = "") -> str:
    """What is said of an entry with these lines, and these in its variant."""
    text = f'{GOOD}\n[model.bad]\n{lines}\n[[model.bad.variant]]\nname = "v"\nfile = "v.tflite"\n{variant}\n'
    found = read(text)
    assert list(found.entries) == ["good"], "the other entry stays"
    return found.refused["bad"]


@pytest.fixture(scope="module")
def shipped() -> manifest.Manifest:
    return manifest.parse(SHIPPED.read_text(), str(SHIPPED), str(SHIPPED.parent))


def test_the_shipped_manifest_has_nothing_to_refuse(shipped):
    assert shipped.refused == {}
    assert len(shipped.entries) >= 6


def test_every_address_of_the_shipped_manifest_is_encrypted_and_does_not_move(shipped):
    for entry in shipped.entries.values():
        for variant in entry.variants:
            for url in variant.url:
                parts = urlsplit(url)
                assert parts.scheme == "https"
                assert parts.hostname in (
                    "storage.googleapis.com",
                    "raw.githubusercontent.com",
                    "github.com",
                ), "the publisher's own"
                assert variant.sha256 or "104342d2d3480b3e66203073dac24f4e2dbb4c41" in url, "a commit, or a hash"


def test_every_label_file_of_the_shipped_manifest_can_be_read(shipped):
    files = {v.labels for entry in shipped.entries.values() for v in entry.variants if v.labels}
    assert files == {"labels/coco90.txt"}
    names, how = labels.read_file(str(SHIPPED.parent / "labels/coco90.txt"), 90)
    assert (len(names), names[0], names[16], names[11], names[89]) == (90, "person", "cat", "class_11", "toothbrush")
    assert how == "numbered lines"


def test_every_edgetpu_variant_has_a_twin_and_comes_first(shipped):
    for entry in shipped.entries.values():
        for number, variant in enumerate(entry.variants):
            if variant.delegate:
                twin = entry.variant(variant.cpu_twin)
                assert twin is not None
                assert (twin.width, twin.height, twin.dtype) == (variant.width, variant.height, variant.dtype)
                assert number == 0


def test_the_embedded_models_are_those_of_the_folder(shipped):
    listed = {v.file for entry in shipped.entries.values() for v in entry.variants if v.embedded}
    assert {path.name for path in (REPO / "models" / "embedded").glob("*.tflite")} == listed
    assert all(v.embedded for v in shipped.entries[embedded.ENTRY].variants)


@pytest.mark.parametrize(
    ("variant", "path"),
    [
        ("uint8", "ssd_mobilenet_v1_coco/coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite"),
        ("uint8-2018", "ssd_mobilenet_v1_coco/coco_ssd_mobilenet_v1_1.0_quant_2018_06_29_no_metadata.tflite"),
    ],
)
def test_size_and_hash_are_those_of_the_file(shipped, variant, path):
    if not (ASSETS / path).exists():
        pytest.skip("the shared models are not here")
    data = (ASSETS / path).read_bytes()
    found = shipped.entries["coco_ssd_mobilenet_v1"].variant(variant)
    assert (found.bytes, found.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_what_an_entry_says_holds_for_its_variants():
    found = read(
        """
        format = 1
        [model.m]
        license = "MIT"
        labels = "l.txt"
        mean = [1, 2, 3]
        std = [4, 5, 6]
        anchors = { ssd = {} }
        [[model.m.variant]]
        name = "a"
        file = "a.tflite"
        [[model.m.variant]]
        name = "b"
        file = "b.tflite"
        license = "BSD"
        size = [320, 240]
        sha256 = "AA11111111111111111111111111111111111111111111111111111111111111"
        anchors_file = "b.json"
        """
    ).entries["m"]
    a, b = found.variants
    assert (a.license, a.labels, a.mean, a.std) == ("MIT", "l.txt", (1, 2, 3), (4, 5, 6))
    assert a.anchors is not None
    assert (b.license, b.width, b.height, b.sha256[:3]) == ("BSD", 320, 240, "aa1")
    assert (b.anchors, b.anchors_file) == (None, "b.json"), "its own stand for the entry's"


@pytest.mark.parametrize(
    ("lines", "variant", "sentence"),
    [
        ("licence = 'x'", "", 'm.toml: model.bad: "licence" is unknown (found "x"); did you mean license?'),
        ("", "sha25 = 'x'", 'm.toml: model.bad, variant v: "sha25" is unknown (found "x"); did you mean sha256?'),
        ("", "sha256 = 'x'", 'variant v: sha256: found "x", expected 64 hexadecimal digits'),
        ("", "bytes = 0", "variant v: bytes: found 0, expected a whole number from 1 to"),
        ("", "bytes = 1e3", "bytes: found 1000.0, expected a whole number"),
        ("", "size = [300]", "size: found [300], expected an array of 2"),
        ("", "dtype = 'uint9'", 'dtype: found "uint9", expected "uint8", "int8", "int16" or "float32"'),
        ("", "coco_ap = 22", "coco_ap: found 22, expected a number from 0 to 1"),
        ("", "coco_ap = nan", "coco_ap: found nan"),
        ("std = [0, 1, 1]", "", "std: found 0, expected a number above 0"),
        ("description = 1", "", 'description: found 1, expected a text that is not empty; write it in quotes: "1"'),
        ("", "name2 = 1", "name2"),
        ("", "delegate = 'gpu'", 'delegate: found "gpu", expected "edgetpu"'),
        ("", "cpu_twin = 'w'", "found cpu_twin without delegate"),
        ("", "delegate = 'edgetpu'\ncpu_twin = 'v'", 'cpu_twin: found "v", expected a variant without a delegate'),
        ("", "member = 'x'", "found member without url"),
        ("", "embedded = true\nurl = 'https://h/x'", "found both embedded = true and url"),
        ("", "url = 'https://h/x'\n[[model.bad.variant]]\nname = 'v'\nfile = 'w'", "v is there 2 times"),
        ("", "[[model.bad.variant]]\nname = 'w'", "variant w: file is missing: the .tflite file"),
        ("", "[[model.bad.variant]]\nname = '../w'\nfile = 'w'", 'variant 2: name: found "../w", expected 1 to 64'),
        ("", "url = 'ftp://h/x'", 'url: found "ftp://h/x": expected an http:// or https:// address'),
        ("", "url = 'https://u:secret@h/x'", "it holds a user name"),
        ("", "url = 'https://h/a b'", "ASCII characters without spaces"),
        ("", "url = 'https://h:99999/x'", "Port out of range"),
        ("", "url = 'http://h/x'", "anyone on the way could send another model; write https://, or give its sha256"),
        ("", "url = [1]", "url: found [1], expected a URL"),
        ("anchors = 1", "", "anchors: Expected `object`"),
        ("anchors = { ssd = { scale = 1 } }", "", "anchors: Object contains unknown field `scale`"),
        ("anchors = { iou_threshold = 0, ssd = {} }", "", "anchors: Expected `float` > 0"),
        ("anchors = {}", "", "anchors: found none of explicit, ssd and grid; give exactly one"),
        ("anchors = { ssd = {}, grid = [] }", "", "anchors: found ssd and grid of explicit, ssd and grid"),
        ("anchors = { ssd = {} }\nanchors_file = 'x'", "", "found both anchors and anchors_file"),
    ],
)
def test_a_bad_entry_is_refused_with_a_sentence_and_alone(lines, variant, sentence):
    said = refused(lines, variant)
    assert sentence in said
    assert "secret" not in said
    assert len(said.splitlines()) == 1, "one sentence for one fault"


def test_everything_is_bounded():
    assert "found a text of 1001 characters, expected up to 1000" in refused(f"description = '{'x' * 1001}'")
    assert "up to 8 in an array" in refused("", f"url = {['https://h/x'] * 9}")
    assert "expected up to 1000 ASCII characters" in refused("", f"url = 'https://h/{'x' * 1000}'")
    many = "".join(f"[[model.m.variant]]\nname = 'v{n}'\nfile = 'f'\n" for n in range(65))
    assert "expected 1 to 64 tables" in read(f"format = 1\n{many}").refused["m"]
    with pytest.raises(ManifestError, match="1001 models; at most 1000"):
        read("format = 1\n" + "".join(f"[model.m{n}]\n" for n in range(1001)))


def test_a_file_is_a_file():
    for name in (".", "..", "sub/"):
        assert "expected the name of a .tflite file" in refused(
            "", f"[[model.bad.variant]]\nname = 'w'\nfile = '{name}'"
        )


def test_a_file_with_folders_is_for_files_without_an_address():
    assert "without folders" in refused(
        "", "url = 'https://h/x'\n[[model.bad.variant]]\nname = 'w'\nfile = '../w'\nurl = 'https://h/x'"
    )
    assert "without folders" in refused("", "[[model.bad.variant]]\nname = 'w'\nfile = '../w'\nembedded = true")
    own = read(GOOD.replace("one.tflite", "/srv/models/one.tflite"))
    assert own.entries["good"].variants[0].file == "/srv/models/one.tflite"


def test_an_unencrypted_address_is_fine_with_a_hash_or_on_this_machine():
    assert manifest.url_fault("http://h/x", known_hash=True) is None
    assert manifest.url_fault("http://127.0.0.1:8000/x", known_hash=False) is None
    assert manifest.url_fault("http://localhost.example.org/x", known_hash=False) is not None


def test_all_faults_of_an_entry_are_told():
    said = refused("licence = 'x'\nstd = 1", "sha256 = 1\nbytes = -1")
    assert len(said.splitlines()) == 4


def test_an_entry_without_variants_or_that_is_no_table_is_refused():
    found = read("format = 1\n[model]\na = 1\n[model.b]\n[model.c]\nvariant = 1\n[model.d]\nvariant = [1]\n")
    assert found.entries == {}
    assert "found 1, expected a table [model.a]" in found.refused["a"]
    assert "found none, expected 1 to 64 tables" in found.refused["b"]
    assert "found 1, expected 1 to 64 tables" in found.refused["c"]
    assert "variant 1: found 1, expected a table" in found.refused["d"]


def test_an_entry_needs_a_name_that_can_be_a_folder():
    for name in ('".."', '"a/b"', '""', '"-x"', '"a\\nb"'):
        found = read(GOOD.replace("model.good", f"model.{name}"))
        assert found.entries == {}
        assert "the name is not one; expected 1 to 64 letters" in next(iter(found.refused.values()))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("format = 1\n[model.", "m.toml: line 2: not valid TOML"),
        ("[model.x]", "m.toml: does not say its format; this version of vigild reads format = 1"),
        ("format = 2", "m.toml: has format = 2"),
        ("format = true", "m.toml: has format = true"),
        ("format = 1\nmodels = 1", "m.toml: models is unknown; expected format and [model.NAME] tables"),
        ("format = 1\nmodel = 1", "m.toml: model is 1; expected tables"),
        ("format = " + "[" * 3000, "nested too deeply"),
    ],
)
def test_what_is_no_manifest_is_refused_whole(text, sentence):
    with pytest.raises(ManifestError) as refusal:
        read(text)
    assert sentence in refusal.value.message


_KEYS = st.sampled_from([*manifest._VARIANT_KEYS, *manifest._ENTRY_KEYS, "x", "a b", "ssd", "grid", "explicit"])
_SCALARS = st.one_of(
    st.text(max_size=8),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.datetimes(),
    st.sampled_from(["edgetpu", "v", "f.tflite", "https://h/x", "uint8", "a" * 64, "http://[", "https://h:x/"]),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_KEYS, inner, max_size=4)),
    max_leaves=8,
)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08x}" for c in value) + '"'
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml(str(k))} = {_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _only_sentences(text: str) -> None:
    """Whatever a manifest holds: entries, or sentences."""
    try:
        found = read(text)
    except ManifestError as refusal:
        assert refusal.message
    else:
        assert all(found.refused.values()), "refused without a word"


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["m", "n", ".."]),
        st.tuples(
            st.dictionaries(_KEYS, _VALUES, max_size=4),
            st.lists(st.dictionaries(_KEYS, _VALUES, max_size=8), max_size=3),
        ),
        max_size=2,
    )
)
def test_any_values_give_entries_or_sentences(models):
    lines = ["format = 1"]
    for name, (entry, variants) in models.items():
        lines.append(f'[model."{name}"]')
        lines += [f"{_toml(key)} = {_toml(value)}" for key, value in entry.items() if key != "variant"]
        for variant in variants:
            lines.append(f'[[model."{name}".variant]]')
            lines += [f"{_toml(key)} = {_toml(value)}" for key, value in variant.items()]
    _only_sentences("\n".join(lines))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_mutated_manifest_gives_entries_or_sentences(data):
    text = SHIPPED.read_text()
    start = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(0, 40))
    _only_sentences(text[:start] + data.draw(st.text(max_size=10)) + text[start + length :])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_leave_the_library_standing(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "manifest.toml"
    path.write_bytes(data)
    found = library.load({"VIGILD_MANIFEST": str(path)}, system=path.parent / "none")
    assert "coco_ssd_mobilenet_v1" in found.entries
