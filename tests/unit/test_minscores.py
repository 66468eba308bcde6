"""From which score on a class is reported: the user's key, the manifest's table, one half."""

from __future__ import annotations

import hashlib

import modelkit
import msgspec
import pytest
from detectorkit import RUNTIME, load_model, normalised
from test_catalogue_manifest import SHIPPED, read, refused
from test_detector_anchors import QUARTERS, describe

from vigild.catalogue import embedded, manifest
from vigild.config.schema import ModelConfig
from vigild.detector.model import load
from vigild.detector.selection import Selection
from vigild.geometry import View
from vigild.minscores import DEFAULT, MinScores

BLACK, GREEN, BLUE = (0, 0, 0), (0, 200, 0), (0, 0, 200)
OWN = {"person": 0.39, "truck": 0.7}


def test_the_users_key_stands_for_all_classes():
    scores = MinScores(OWN, 0.2)
    assert [scores.of(label) for label in ("person", "truck", "cat")] == [0.2] * 3
    assert scores.least() == 0.2
    assert MinScores(OWN, 0.0).of("person") == 0.0, "0 is a threshold, and not none"


def test_each_class_has_its_own_otherwise():
    scores = MinScores(OWN)
    assert [scores.of(label) for label in ("person", "truck", "cat")] == [0.39, 0.7, DEFAULT]
    assert scores.least() == 0.39
    assert MinScores({"truck": 0.7}).least() == DEFAULT, "other classes are reported from there on"


def test_a_filter_knows_the_threshold_of_each_class_number():
    filter_ = Selection(["person", "truck"], MinScores(OWN), 10)
    assert filter_.min_score == 0.39
    assert [filter_.least(number) for number in (0, 1, 2, -1)] == [0.39, 0.7, DEFAULT, DEFAULT]


@pytest.mark.parametrize("build", ["finished", "raw"])
def test_decoders_ask_each_class_for_its_own(tmp_path, build):
    """With finished boxes and with raw ones: two classes are seen equally well."""
    if build == "finished":
        path, seen = modelkit.finished(tmp_path), [GREEN, GREEN, BLACK, BLACK]
    else:
        decoding = msgspec.structs.replace(QUARTERS, scores="probabilities")
        path, seen = describe(modelkit.raw(tmp_path), decoding), [GREEN, BLACK, BLACK, BLUE]
    model = load_model(path)
    tensor = normalised(modelkit.image(seen), model.spec)

    def labels(scores: MinScores) -> list[str]:
        model.input_view()[...] = tensor.reshape(model.spec.shape)
        model.interpreter.invoke()
        return sorted(one.label for one in model.decode(View(), Selection(model.labels, scores, 100))[0])

    assert labels(MinScores({"class_0": 0.1, "class_1": 0.1})) == ["class_0", "class_1"]
    assert labels(MinScores({"class_0": 0.95, "class_1": 0.1})) == ["class_1"]
    assert labels(MinScores({"class_0": 0.1, "class_1": 0.95})) == ["class_0"]
    assert labels(MinScores({"class_0": 0.95, "class_1": 0.1}, configured=0.2)) == ["class_0", "class_1"]


def test_the_manifest_says_it_for_an_entry_and_for_a_variant():
    text = (
        'format = 1\n[model.m]\nmin_score = { person = 0.4, dog = 1 }\n[[model.m.variant]]\nname = "a"\nfile = "a"\n'
        '[[model.m.variant]]\nname = "b"\nfile = "b"\nmin_score = { person = 0.3 }\n'
    )
    one, two = read(text).entries["m"].variants
    assert one.min_score == {"person": 0.4, "dog": 1.0}
    assert two.min_score == {"person": 0.3}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("min_score = 0.4", "min_score: found 0.4, expected scores by label: { person = 0.4 }"),
        ("min_score = { person = 1.5 }", "min_score.person: found 1.5, expected a number from 0 to 1"),
        ("min_score = { person = nan }", "min_score.person: found nan"),
        ("min_score = { person = 'x' }", "min_score.person: found"),
    ],
)
def test_what_is_no_score_is_refused(line, said):
    assert said in refused(line)
    assert f"variant v: {said}" in refused("", line)


def test_the_embedded_models_have_thresholds_for_what_they_find():
    for variant in embedded.entry().variants:
        ready = load(ModelConfig(variant=variant.name), "xnnpack", RUNTIME).ready
        assert ready.min_scores == dict(variant.min_score)
        assert set(ready.min_scores) == {"person", "car", "motorcycle", "bus", "truck"}
        assert not [warning for warning in ready.warnings if "min_score" in warning]


def test_a_threshold_for_a_class_that_is_not_there_is_told(tmp_path, monkeypatch):
    model = modelkit.finished(tmp_path)
    own = tmp_path / "manifest.toml"
    own.write_text(
        "format = 1\n[model.m]\nmin_score = { persn = 0.4 }\n"
        f'[[model.m.variant]]\nname = "a"\nfile = "{model.name}"\n'
    )
    monkeypatch.setenv("VIGILD_MANIFEST", str(own))
    ready = load(ModelConfig(name="m"), "xnnpack", RUNTIME).ready
    assert ready.min_scores == {}
    assert any("min_score to persn, which the model does not find" in warning for warning in ready.warnings)


def test_the_embedded_files_are_those_of_the_manifest():
    shipped = manifest.parse(SHIPPED.read_text(), str(SHIPPED), str(SHIPPED.parent))
    for variant in shipped.entries[embedded.ENTRY].variants:
        data = (SHIPPED.parent / "embedded" / variant.file).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (variant.bytes, variant.sha256)
