"""What comes out of the socket is right: golden boxes, and COCO AP against an evaluation of its own."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from system.harness import ASSETS, COCO_V1, Daemon

FLOAT = ASSETS / "models/ssd_mobilenet_v1_coco_float/ssd_mobilenet_v1_coco_dequant_fp32.tflite"
FPNLITE = ASSETS / "models/ssd_mobilenet_v2_fpnlite_320/model_dynamic_range.tflite"
EVAL = ASSETS / "images/coco_eval"
ANNOTATIONS = ASSETS / "annotations/coco_eval.json"
GOLDEN = ASSETS / "images/golden/cats_and_dogs.jpg"

pytestmark = [
    pytest.mark.skipif(not COCO_V1.exists(), reason=f"needs the COCO model and images in {ASSETS}"),
    # tflite-runtime takes ten times as long for a picture as LiteRT, and the machine may be busy.
    pytest.mark.timeout(300),
]

# The publisher's: label, score, x, y, width, height in pixels of the 1200 x 600 picture.
PUBLISHED = [
    ("cat", 0.645, 54, 396, 393, 196),
    ("cat", 0.609, 602, 157, 394, 447),
    ("cat", 0.563, 259, 394, 181, 209),
    ("dog", 0.500, 387, 197, 281, 409),
]


def run_folder(tmp_path: Path, folder: Path, model: Path, **model_keys: Any) -> dict[str, dict[str, Any]]:
    """Every picture of a folder through the daemon: file name -> its `detections` message."""
    keys = {"min_score": 0.0, "max_results": 100, **model_keys}
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
    # The camera comes only when the client is watching.
    config = f'[model]\npath = "{model}"\n{lines}\n[camera.c]\nsource = "images:{folder}"\npace = "every"\n'
    with Daemon.without_cameras(tmp_path, config) as daemon:
        client = daemon.connect()
        client.watch(empty=True)
        daemon.add_cameras()
        got = {}
        for message in client.stream(timeout_s=240):
            if message["type"] == "detections":
                got[message["file"]] = message
            elif message["type"] == "event" and message["kind"] == "ended":
                return got
    raise AssertionError("the folder never ended")


def iou(a: list[float], b: list[float]) -> float:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    common = max(wide, 0) * max(high, 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


@pytest.fixture
def golden_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "golden"
    folder.mkdir()
    shutil.copy(GOLDEN, folder)
    return folder


def matches(message: dict[str, Any]) -> list[tuple[str, float, float]]:
    """For each published object: its label, the overlap of the best box of that label, and its score's error."""
    width, height = message["size"]
    found = []
    for label, score, x, y, w, h in PUBLISHED:
        truth = [x / width, y / height, (x + w) / width, (y + h) / height]
        same = [d for d in message["detections"] if d["label"] == label]
        best = max(same, key=lambda d: iou(d["box"], truth), default=None)
        found.append((label, iou(best["box"], truth) if best else 0.0, abs(best["score"] - score) if best else 1.0))
    return found


@pytest.mark.parametrize("model", [COCO_V1, FLOAT], ids=["uint8", "float32"])
def test_golden_cats_and_dogs(tmp_path: Path, golden_folder: Path, model: Path) -> None:
    labels = ASSETS / "models/ssd_mobilenet_v1_coco/labelmap.txt"
    keys = {"labels": str(labels)} if model == FLOAT else {}
    (message,) = run_folder(tmp_path, golden_folder, model, **keys).values()
    assert message["size"] == [1200, 600]
    for label, overlap, score_error in matches(message):
        assert overlap > 0.85, label
        assert score_error < 0.2, label


def test_swapped_colours_would_be_noticed(tmp_path: Path, golden_folder: Path) -> None:
    (right,) = run_folder(tmp_path, golden_folder, COCO_V1).values()
    (tmp_path / "swapped").mkdir()
    (wrong,) = run_folder(tmp_path / "swapped", golden_folder, COCO_V1, color="bgr").values()
    assert sum(error for *_, error in matches(wrong)) > 2 * sum(error for *_, error in matches(right))


@pytest.mark.parametrize(
    ("model", "labels", "order", "mean"),
    [
        (COCO_V1, None, "tf1", "128"),
        (FLOAT, ASSETS / "models/ssd_mobilenet_v1_coco/labelmap.txt", "tf1", "128"),
        (FPNLITE, FPNLITE.with_name("labels.txt"), "tf1", "127.5"),
    ],
    ids=["uint8", "float32", "fpnlite-dynamic-range"],
)
def test_coco_ap_equals_an_independent_evaluation(
    tmp_path: Path, model: Path, labels: Path | None, order: str, mean: str
) -> None:
    keys: dict[str, Any] = {"labels": str(labels)} if labels else {}
    if model == FLOAT:
        keys |= {"mean": [128] * 3, "std": [128] * 3}
    through_socket = {
        file: [
            [d["class"], d["score"], d["box"][1], d["box"][0], d["box"][3], d["box"][2]] for d in message["detections"]
        ]
        for file, message in run_folder(tmp_path, EVAL, model, **keys).items()
    }
    reference = json.loads(
        subprocess.run(
            [sys.executable, str(Path(__file__).with_name("reference.py")), str(model), str(EVAL), order, mean],
            capture_output=True, text=True, check=True,
        ).stdout
    )  # fmt: skip
    assert through_socket.keys() == reference.keys()
    ours, theirs = average_precision(through_socket), average_precision(reference)
    print(f"AP through the socket {ours:.4f}, independently {theirs:.4f}")
    assert theirs > 0.2, "the reference itself works"
    assert abs(ours - theirs) <= 0.002


def average_precision(found: dict[str, list[list[float]]]) -> float:
    """COCO AP (IoU .50:.95); the model's class 0 is COCO's category 1."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(ANNOTATIONS))
        images = {image["file_name"]: image for image in truth.loadImgs(truth.getImgIds())}
        results = [
            {
                "image_id": images[file]["id"],
                "category_id": int(class_) + 1,
                "score": score,
                "bbox": _pixels(box, images[file]),
            }
            for file, detections in found.items()
            for class_, score, *box in detections
        ]
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def _pixels(box: list[float], image: dict[str, Any]) -> list[float]:
    """ymin, xmin, ymax, xmax (relative) to COCO's x, y, width, height; clipped as the daemon clips."""
    ymin, xmin, ymax, xmax = (min(max(value, 0.0), 1.0) for value in box)
    width, height = image["width"], image["height"]
    return [xmin * width, ymin * height, (xmax - xmin) * width, (ymax - ymin) * height]
