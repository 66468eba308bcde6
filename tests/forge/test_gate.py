"""The gate: what destroys a network is made, caught and left out; what is good is shipped, and vigild takes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from forge.evaluation.compare import Measures, agreement
from forge.evaluation.evaluate import Detection
from forge.variants.gate import Limits, refusals

REPOSITORY = Path(__file__).resolve().parents[2]
ASSETS = REPOSITORY.parent / "shared" / "assets"
V1 = ASSETS / "models" / "ssd_mobilenet_v1_coco" / "coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite"
PICTURES = ASSETS / "images" / "coco_calib"
ANNOTATIONS = ASSETS / "annotations" / "coco_calib.json"

GOOD = Measures(0.22, 0.36, 0.0, 0.0, 1.0)
LEFT, RIGHT = (0.1, 0.1, 0.4, 0.5), (0.6, 0.1, 0.9, 0.5)


def test_the_gate_names_what_was_lost() -> None:
    assert refusals(GOOD, GOOD._replace(ap=0.205, agreement=0.93), Limits()) == []
    (text,) = refusals(GOOD, GOOD._replace(ap=0.19), Limits())
    assert text == "AP 0.190, 0.030 below float32; up to 0.02 is let through"
    (text,) = refusals(GOOD, GOOD._replace(agreement=0.5), Limits())
    assert text == "agrees with float32 on 0.50 of the objects; 0.9 is let through"
    assert refusals(GOOD, GOOD._replace(score_error=float("nan")), Limits()) == ["gives scores that are no numbers"]
    assert refusals(GOOD, GOOD._replace(ap=0.19), Limits(ap_loss=0.05)) == []


def test_without_annotations_agreement_decides() -> None:
    unknown = GOOD._replace(ap=None, ap50=None)
    assert refusals(unknown, unknown._replace(agreement=0.95), Limits()) == []
    assert len(refusals(unknown, unknown._replace(agreement=0.85), Limits())) == 1


def test_agreement_counts_both_ways_and_forgives_the_threshold() -> None:
    cat, dog = Detection("cat", 0.9, LEFT), Detection("dog", 0.6, RIGHT)
    assert agreement([[cat, dog]], [[cat, dog]]) == 1.0
    assert agreement([[cat]], [[cat._replace(score=0.42)]]) == 1.0  # shown by one, seen by the other
    assert agreement([[cat]], [[cat._replace(score=0.3)]]) == 0.0
    assert agreement([[cat]], [[cat._replace(label="dog")]]) == 0.0
    assert agreement([[cat]], [[cat._replace(box=RIGHT)]]) == 0.0
    assert agreement([[cat]], [[cat, dog]]) == pytest.approx(2 / 3)  # the invented dog counts
    assert agreement([[cat, cat]], [[cat]]) == pytest.approx(2 / 3)  # one cat answers for one
    assert agreement([[]], [[]]) == 1.0


def forge(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY / 'models'}:{REPOSITORY / 'daemon'}"}
    return subprocess.run(
        [sys.executable, "-m", "forge", *map(str, arguments)],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip


@pytest.mark.skipif(not V1.exists(), reason=f"needs the COCO model and pictures in {ASSETS}")
def test_a_spoilt_variant_is_reported_and_not_shipped(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "coco_v1_dynamic-tensor.tflite").write_bytes(b"of an earlier run")
    only = "float32,int8,dynamic-tensor,int8-raw"
    done = forge(
        "variants", V1, "--out", out, "--name", "coco_v1", "--calibrate", PICTURES, "--pictures", 60,
        "--annotations", ANNOTATIONS, "--rounds", 1, "--only", only,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "3 of 4 in" in done.stdout
    files = {path.name for path in out.iterdir()}
    assert files == {
        "coco_v1_float32.tflite", "coco_v1_int8.tflite", "coco_v1_int8-raw.tflite",
        "coco_v1_int8-raw.tflite.anchors.json", "manifest.toml", "report.md", "pareto.png",
    }  # fmt: skip
    report = (out / "report.md").read_text()
    assert "**dynamic-tensor** is not: AP 0.0" in report
    assert (out / "pareto.png").read_bytes()[:4] == b"\x89PNG"

    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY / "daemon"),
        "VIGILD_MANIFEST": str(out / "manifest.toml"),
        "HOME": str(tmp_path),
    }

    def vigild(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "vigild", "models", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    checked = vigild("verify", "coco_v1")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count(": ok ") == 3
    entry = next(e for e in json.loads(vigild("list", "--json").stdout) if e["name"] == "coco_v1")
    names = [variant["name"] for variant in entry["variants"]]
    assert sorted(names) == ["float32", "int8", "int8-raw"]
    assert names[-1] == "int8-raw", "an unusual interface is never the first choice"


@pytest.mark.skipif(not V1.exists(), reason=f"needs the COCO model and pictures in {ASSETS}")
def test_what_is_missing_is_said_in_one_sentence(tmp_path: Path) -> None:
    done = forge("variants", V1, "--out", tmp_path, "--only", "int8", "--images", PICTURES)
    assert (done.returncode, done.stdout) == (1, "")
    assert "forge: the settings int8 need pictures for their ranges; give a folder with --calibrate" in done.stderr
    done = forge("variants", V1, "--out", tmp_path, "--only", "float32")
    assert "there is no picture left to judge the variants on" in done.stderr
    done = forge("variants", V1, "--out", tmp_path, "--only", "float32", "--images", PICTURES, "--name", "no name")
    assert "'no name' is no name of a manifest entry" in done.stderr
    assert list(tmp_path.iterdir()) == []
