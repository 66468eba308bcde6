"""Where model files are, which manifest holds, and which variant is taken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from detectorkit import ASSETS, COCO_UINT8, EDGETPU_FACE, RUNTIME, ULTRAFACE, detect, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from vigild.catalogue import embedded, library, store
from vigild.catalogue.decoding import Decoding
from vigild.catalogue.entry import ManifestError
from vigild.catalogue.resolve import describe_twin, resolve
from vigild.config.schema import ModelConfig
from vigild.detector.anchors import anchors
from vigild.detector.errors import ModelError
from vigild.detector.model import load

TWO = """
format = 1
[model.two]
labels = "l.txt"
[[model.two.variant]]
name = "tpu"
file = "two_edgetpu.tflite"
url = "https://h/two_edgetpu.tflite"
delegate = "edgetpu"
cpu_twin = "int8"
[[model.two.variant]]
name = "int8"
file = "two_int8.tflite"
url = "https://h/two_int8.tflite"
sha256 = "1111111111111111111111111111111111111111111111111111111111111111"
[[model.two.variant]]
name = "float"
file = "two_float.tflite"
url = "https://h/two_float.tflite"
mean = [1, 2, 3]
color = "bgr"
"""


class Place:
    """A manifest, a models folder, and an environment that names them and nothing else."""

    def __init__(self, folder: Path, text: str = TWO) -> None:
        self.models = folder / "models"
        self.manifest = folder / "manifest.toml"
        self.manifest.write_text(text)
        self.environ = {"VIGILD_MANIFEST": str(self.manifest), "VIGILD_MODELS": str(self.models)}

    def put(self, name: str, data: bytes = b"x") -> Path:
        path = self.models / "two" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def resolve(self, variant: str = "auto", rung: str = "xnnpack", **config: object):
        return resolve(ModelConfig(name="two", variant=variant, **config), rung, self.environ)

    def refused(self, variant: str = "auto", rung: str = "xnnpack", **config: object) -> tuple[str, str]:
        with pytest.raises(ManifestError) as refusal:
            self.resolve(variant, rung, **config)
        return refusal.value.code, refusal.value.message


@pytest.fixture
def two(tmp_path) -> Place:
    return Place(tmp_path)


# ---- folders


def test_folders_are_the_one_named_or_all_that_this_user_may_have(tmp_path):
    system = tmp_path / "var"
    assert store.folders({"VIGILD_MODELS": "/m", "HOME": "/h", "STATE_DIRECTORY": "/s"}, system) == [Path("/m")]
    environ = {"STATE_DIRECTORY": "/s:/t", "XDG_DATA_HOME": "/d", "HOME": "/h"}
    assert store.folders(environ, system) == [Path("/s/models"), system, Path("/d/vigild/models")]
    assert store.folders({"HOME": "/h"}, system) == [system, Path("/h/.local/share/vigild/models")]
    assert store.folders({}, system) == [system]
    assert store.folders({"XDG_DATA_HOME": "relative", "STATE_DIRECTORY": "too"}, system) == [system]


def test_downloads_go_to_the_first_folder_that_can_be_made(tmp_path):
    (tmp_path / "file").touch(mode=0o755)
    environ = {"HOME": str(tmp_path)}
    assert store.own_folder(environ, tmp_path / "file/models") == tmp_path / ".local/share/vigild/models"


def test_downloads_go_to_the_system_folder_where_that_can_be_written(tmp_path):
    assert store.own_folder({"HOME": str(tmp_path)}, tmp_path / "var/models") == tmp_path / "var/models"


# ---- manifests


def test_later_manifests_stand_for_earlier_ones_of_the_same_name(tmp_path):
    system, user, named = tmp_path / "etc", tmp_path / "config/vigild", tmp_path / "named.toml"
    for place, file in ((system, "system"), (user, "user")):
        place.mkdir(parents=True)
        (place / "manifest.toml").write_text(TWO.replace("two_int8", file).replace("[model.two]\n", "[model.two]\n"))
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "HOME": "/nowhere"}
    assert library.load({}, system).get("two").variants[1].file == "system.tflite"
    entry = library.load(environ, system).get("two")
    assert (entry.variants[1].file, entry.folder) == ("user.tflite", str(user))
    named.write_text(TWO)
    found = library.load({**environ, "VIGILD_MANIFEST": str(named)}, system)
    assert found.get("two").variants[1].file == "two_int8.tflite"
    assert found.get("coco_ssd_mobilenet_v1").variants, "the shipped ones stay"
    assert found.problems == []


def test_a_refused_entry_hides_the_one_it_was_to_replace(tmp_path):
    path = tmp_path / "m.toml"
    path.write_text(
        "format = 1\n[model.coco_ssd_mobilenet_v1]\ntypo = 1\n[model.other]\n[[model.other.variant]]\n"
        'name = "v"\nfile = "v"\n'
    )
    found = library.load({"VIGILD_MANIFEST": str(path)}, tmp_path)
    assert "other" in found.entries
    with pytest.raises(ManifestError, match=r'coco_ssd_mobilenet_v1 of the manifest is refused: .*"typo" is unknown'):
        found.get("coco_ssd_mobilenet_v1")


def test_a_good_entry_stands_for_a_refused_one(tmp_path):
    (tmp_path / "manifest.toml").write_text("format = 1\n[model.two]\ntypo = 1\n")
    (tmp_path / "m.toml").write_text(TWO)
    found = library.load({"VIGILD_MANIFEST": str(tmp_path / "m.toml")}, tmp_path)
    assert found.get("two").variants
    assert found.refused == {}
    assert len(found.problems) == 2, "still told: two things are wrong with it"


def test_a_manifest_that_cannot_be_read_is_a_problem_and_no_more(tmp_path):
    (tmp_path / "etc").mkdir()
    etc = tmp_path / "etc/manifest.toml"
    etc.write_bytes(b"format = 1\n# \xff\n")
    found = library.load({"VIGILD_MANIFEST": str(tmp_path / "none.toml")}, tmp_path / "etc")
    assert [problem.partition(": ")[2] for problem in found.problems] == [
        "not UTF-8 at byte 13; save it as UTF-8",
        "cannot be read: No such file or directory; correct $VIGILD_MANIFEST",
    ]
    etc.write_bytes(b"#" * (1024 * 1024 + 1))
    assert "larger than 1024 KiB" in library.load({}, tmp_path / "etc").problems[0]
    etc.unlink()
    etc.mkdir()
    assert "cannot be read: Is a directory" in library.load({}, tmp_path / "etc").problems[0]


def test_an_unknown_name_is_answered_with_the_nearest(two):
    with pytest.raises(ManifestError, match=r"no model named 'coco_ssd_mobilnet'.*did you mean coco_ssd_mobilenet_v1"):
        library.load(two.environ).get("coco_ssd_mobilnet")


# ---- variants


def test_auto_is_the_first_variant_that_is_here_and_fits_the_rung(two):
    two.put("two_float.tflite")
    assert two.resolve().variant == "float"
    two.put("two_int8.tflite")
    assert two.resolve().variant == "int8"
    edge = two.put("two_edgetpu.tflite")
    assert two.resolve(rung="none").variant == "int8"
    for rung in ("edgetpu", "edgetpu:usb:0"):
        found = two.resolve(rung=rung)
        assert (found.variant, found.config.path) == ("tpu", str(edge))


def test_nothing_here_is_refused_with_how_to_fetch_it(two):
    code, message = two.refused()
    assert code == "missing"
    assert "fetch it: vigild models pull two:int8" in message
    code, message = two.refused(rung="edgetpu")
    assert (code, "vigild models pull two:tpu" in message) == ("delegate", True), "another rung may do"
    assert two.refused("float")[1].endswith("vigild models pull two:float.")


def test_a_named_variant_is_taken_where_it_runs(two):
    two.put("two_int8.tflite")
    two.put("two_float.tflite")
    two.put("two_edgetpu.tflite")
    assert two.resolve("float").variant == "float"
    assert two.resolve("tpu", rung="edgetpu").variant == "tpu"
    assert two.refused("float", rung="edgetpu")[0] == "delegate"
    code, message = two.refused("flaot")
    assert (code, "its variants are tpu, int8, float" in message) == ("missing", True)


def test_where_nothing_is_named_it_is_the_embedded_model(two):
    names = [variant.name for variant in embedded.entry(two.environ).variants]
    for variant in ("auto", *names):
        found = resolve(ModelConfig(variant=variant), "xnnpack", two.environ)
        assert (found.name, found.variant) == (embedded.ENTRY, names[0] if variant == "auto" else variant)
        assert Path(found.path).parent.name == store.EMBEDDED_FOLDER
    with pytest.raises(ManifestError, match=f"{embedded.ENTRY} has no variant 'flaot'; its variants are {names[0]}"):
        resolve(ModelConfig(variant="flaot"), "xnnpack", two.environ)


def test_a_path_needs_no_manifest(two):
    two.manifest.unlink()
    found = resolve(ModelConfig(path="m.tflite"), "edgetpu", two.environ)
    assert (found.path, found.name, found.variant, found.notes) == ("m.tflite", "", "", ())


def test_the_cpu_twin_stands_for_an_edgetpu_variant_on_lower_rungs(two):
    two.put("two_int8.tflite")
    found = two.resolve("tpu", rung="xnnpack", delegate="auto")
    assert found.variant == "int8"
    assert "CPU twin of tpu" in found.notes[0]
    code, message = two.refused("tpu", rung="xnnpack", delegate="xnnpack")
    assert (code, "take variant int8 there" in message) == ("delegate", True), "demanded, so it fails loudly"


def test_what_the_manifest_says_fills_what_the_configuration_leaves_open(two):
    two.put("two_int8.tflite")
    two.put("two_float.tflite")
    found = two.resolve("int8").config
    assert found.sha256 == "1" * 64
    assert found.labels == str(two.manifest.parent / "l.txt")
    found = two.resolve("float").config
    assert (found.mean, found.std, found.color) == ((1, 2, 3), None, "bgr")
    own = two.resolve("float", labels="/own.txt", sha256="2" * 64, std=(9.0, 9.0, 9.0)).config
    assert (own.labels, own.sha256, own.mean, own.std) == ("/own.txt", "2" * 64, None, (9.0, 9.0, 9.0))


def test_a_hash_taken_at_the_first_download_is_asked_for(two):
    path = two.put("two_float.tflite")
    assert two.resolve("float").config.sha256 is None
    store.record_path(path).write_text(f"{'3' * 64}  two_float.tflite\n")
    found = two.resolve("float")
    assert found.config.sha256 == "3" * 64
    assert "first download" in found.sha256_origin


def test_a_path_is_left_alone():
    config = ModelConfig(path="/m.tflite")
    assert resolve(config, "xnnpack", {}).config is config


def test_a_users_own_file_is_found_beside_the_manifest(tmp_path):
    place = Place(tmp_path, 'format = 1\n[model.two]\n[[model.two.variant]]\nname = "v"\nfile = "sub/own.tflite"\n')
    code, message = place.refused()
    assert (code, "put the file at" in message) == ("missing", True)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/own.tflite").write_bytes(b"x")
    assert place.resolve().config.path == str(tmp_path / "sub/own.tflite")


def test_an_anchors_file_that_cannot_be_used_is_refused(tmp_path):
    text = 'format = 1\n[model.two]\nanchors_file = "a.json"\n[[model.two.variant]]\nname = "v"\nfile = "v.tflite"\n'
    place = Place(tmp_path, text)
    (tmp_path / "v.tflite").write_bytes(b"x")
    for content, sentence in (
        (None, "No such file"),
        (b"{", "Input data was truncated"),
        (b'{"ssd": 1}', "Expected `object"),
        (b'{"scores": "auto"}', "exactly one of explicit, ssd and grid"),
    ):
        if content is not None:
            (tmp_path / "a.json").write_bytes(content)
        code, message = place.refused()
        assert (code, sentence in message) == ("manifest", True), message
    (tmp_path / "a.json").write_text(json.dumps({"explicit": [[0.5, 0.5, 1, 1]]}))
    assert place.resolve().anchors.explicit == [(0.5, 0.5, 1, 1)]


_NUMBERS = st.one_of(st.floats(), st.integers(-3, 3), st.sampled_from([10**400, 1e308, 65536, 0.5]))
_MAPS = st.lists(st.tuples(_NUMBERS, _NUMBERS), max_size=3)
_SSD = st.dictionaries(st.sampled_from(["min_scale", "max_scale", "interpolated_aspect_ratio"]), _NUMBERS)
_GRID = st.lists(st.fixed_dictionaries({"stride": _NUMBERS, "sizes": st.lists(_NUMBERS, max_size=3)}), max_size=3)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.fixed_dictionaries({"ssd": _SSD}),
        st.fixed_dictionaries({"ssd": st.fixed_dictionaries({"feature_maps": _MAPS})}),
        st.fixed_dictionaries({"ssd": st.fixed_dictionaries({"aspect_ratios": st.lists(_NUMBERS, max_size=3)})}),
        st.fixed_dictionaries({"grid": _GRID}),
        st.fixed_dictionaries({"explicit": st.lists(st.tuples(*[_NUMBERS] * 4), max_size=3)}),
    )
)
def test_what_a_manifest_may_say_of_anchors_never_breaks_the_detector(described):
    try:
        decoding = msgspec.convert(described, Decoding)
    except msgspec.ValidationError:
        return
    try:
        table = anchors(decoding, 320, 240)
    except ModelError as refusal:
        assert refusal.code == "anchors"
    else:
        assert np.isfinite(table).all()


# ---- the detector, with real models


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A place that the process's own environment names."""
    place = Place(tmp_path)
    for key, value in place.environ.items():
        monkeypatch.setenv(key, value)
    return place


def load_named(**config: object):
    return load(ModelConfig(**config), "xnnpack", RUNTIME)


@pytest.mark.skipif(not COCO_UINT8.exists(), reason="the shared models are not here")
def test_the_detector_loads_a_model_by_its_name_and_checks_it(here):
    with pytest.raises(ModelError, match="vigild models pull coco_ssd_mobilenet_v1:uint8") as missing:
        load_named(name="coco_ssd_mobilenet_v1")
    assert missing.value.code == "missing"
    path = here.models / "coco_ssd_mobilenet_v1" / COCO_UINT8.name
    path.parent.mkdir(parents=True)
    shutil.copy(COCO_UINT8, path)
    model = load_named(name="coco_ssd_mobilenet_v1")
    assert (model.ready.name, model.ready.variant, model.ready.path) == (
        "coco_ssd_mobilenet_v1",
        "uint8",
        str(path),
    )
    assert (model.labels[0], model.labels[16], model.labels[11]) == ("person", "cat", "class_11")
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(1000)
        file.write(b"damage")
    with pytest.raises(ModelError, match=r"the manifest .*manifest.toml asks for 61d598") as refusal:
        load_named(name="coco_ssd_mobilenet_v1")
    assert refusal.value.code == "sha256_mismatch"


@pytest.mark.skipif(not ULTRAFACE.exists(), reason="the shared models are not here")
def test_anchors_and_normalisation_come_from_the_manifest(here):
    here.manifest.write_text(
        f"""
        format = 1
        [model.faces]
        mean = [127, 127, 127]
        std = [128, 128, 128]
        [model.faces.anchors]
        box_order = "xywh"
        iou_threshold = 0.5
        grid = [
          {{ stride = 8, sizes = [10, 16, 24] }},
          {{ stride = 16, sizes = [32, 48] }},
          {{ stride = 32, sizes = [64, 96] }},
          {{ stride = 64, sizes = [128, 192, 256] }},
        ]
        [[model.faces.variant]]
        name = "float32"
        file = "{ULTRAFACE}"
        """
    )
    model = load_named(name="faces")
    assert any("4420 from the manifest" in note for note in model.ready.notes)
    found = detect(model, picture(ASSETS / "images" / "golden" / "coral" / "grace_hopper.bmp", model.spec), 0.7)
    assert len(found) == 1
    assert found[0].box == approx((0.336, 0.231, 0.697, 0.585), abs=0.01)


@pytest.mark.skipif(not EDGETPU_FACE.exists(), reason="the shared models are not here")
def test_an_edgetpu_file_that_the_manifest_knows_names_its_twin(here, tmp_path):
    path = tmp_path / "two_edgetpu.tflite"
    path.symlink_to(EDGETPU_FACE)
    with pytest.raises(ModelError, match=r'model.name = "two" with variant = "int8", its twin for the CPU'):
        load_named(path=str(path))
    assert describe_twin("/x/other.tflite", "0" * 64, here.environ) == ""
