"""Folders of frames through the real daemon and its embedded model, compared with what a client saw when it was right.

`replay/NAME.chk` holds the lines of one client, volatile fields masked. Frames are not stored but
rendered, so the folder is small. After an intended change: UPDATE_CHK=1 make test-system, and read
the diff. Scores and boxes may differ a little: int8 kernels of other runtimes and processors differ
in the last bit.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import pytest

from system.harness import Daemon
from vigild.camera.testcard import TestCard

VOLATILE = ("time", "captured_ns", "age_ms", "infer_ms", "instance", "status")
PASSED_OVER = ("heartbeat", "health")
BY_RELOAD = ("camera_added", "reload")
"""Events of how the camera came."""
"""Their number depends on the time it took."""

SCORE_TOLERANCE = 0.1
BOX_TOLERANCE = 0.02
MIN_SCORE = 0.5

# Name: keys of [model], keys of the camera, what the client asks for.
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "testcard": ("", "", {}),
    "testcard-filtered": ('min_score = 0.6\nlabels_allowed = ["square", "star"]\nmax_results = 1\n', "", {}),
    "testcard-cropped": ("", "crop = [0.25, 0.0, 1.0, 0.75]\n", {"labels": ["star"], "min_score": 0.6}),
    "testcard-turned": ("", 'rotate = 90\nflip = "horizontal"\n', {}),
}


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames of the test card, two seconds apart."""
    folder = tmp_path_factory.mktemp("frames")
    card = TestCard(640, 480, seed=3)
    for i in range(6):
        cv2.imwrite(str(folder / f"frame{i:02}.png"), card.render(60 * i)[0])
    return folder


def replay(tmp_path: Path, frames: Path, model_keys: str, keys: str, policy: dict[str, Any]) -> list[dict[str, Any]]:
    """What one client sees, from the answer to its `watch` to the end of the source."""
    later = tmp_path / "frames"
    later.symlink_to(frames)
    config = f'[model]\n{model_keys}\n[camera.c]\nsource = "images:{later}"\npace = "every"\n{keys}'
    seen = []
    with Daemon.without_cameras(tmp_path, config) as daemon:
        client = daemon.connect()
        daemon.wait_for(lambda: "model" in daemon.status())
        seen.append(client.watch(empty=True, events=["detections", "event"], **policy))
        daemon.add_cameras()
        for message in client.stream():
            seen.append(message)
            if message["type"] == "event" and message["kind"] == "ended":
                return seen
    raise AssertionError(f"the replay did not end; seen: {seen}")


def of_the_replay(message: dict[str, Any]) -> bool:
    return message["type"] not in PASSED_OVER and message.get("kind") not in BY_RELOAD


def masked(message: dict[str, Any], folder: Path) -> dict[str, Any]:
    kept = {key: value for key, value in message.items() if key not in (*VOLATILE, "id")}
    if "reason" in kept:
        kept["reason"] = kept["reason"].replace(str(folder), "FOLDER")
    return kept


def differences(got: dict[str, Any], expected: dict[str, Any], min_score: float) -> list[str]:
    """What differs beyond the tolerances, in words. What is at the threshold may be there or not."""
    sure = min_score + SCORE_TOLERANCE
    found = [
        f"{key}: {got.get(key)!r} instead of {expected.get(key)!r}"
        for key in sorted(got.keys() | expected.keys())
        if key != "detections" and got.get(key) != expected.get(key)
    ]
    left = list(got.get("detections", []))
    for wanted in expected.get("detections", []):
        near = [d for d in left if _near(d, wanted)]
        if near:
            left.remove(near[0])
        elif wanted["score"] > sure:
            found.append(f"missing: {wanted}")
    return found + [f"not expected: {d}" for d in left if d["score"] > sure]


def _near(got: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return (
        (got["label"], got["class"]) == (wanted["label"], wanted["class"])
        and abs(got["score"] - wanted["score"]) <= SCORE_TOLERANCE
        and max(abs(a - b) for a, b in zip(got["box"], wanted["box"], strict=True)) <= BOX_TOLERANCE
    )


@pytest.mark.parametrize("name", CASES)
def test_replay(name: str, tmp_path: Path, frames: Path) -> None:
    chk = Path(__file__).parent / "replay" / f"{name}.chk"
    seen = [masked(m, tmp_path) for m in replay(tmp_path, frames, *CASES[name]) if of_the_replay(m)]
    # Opening the camera is told when it happens, which may be before or after the watch.
    seen = [m for m in seen if m.get("kind") not in ("camera_back", "camera_lost", "model")]
    if os.environ.get("UPDATE_CHK"):
        chk.write_text("".join(json.dumps(m) + "\n" for m in seen))
    expected = [json.loads(line) for line in chk.read_text().splitlines()]
    assert [m["type"] for m in seen] == [m["type"] for m in expected]
    for i, (got, wanted) in enumerate(zip(seen, expected, strict=True)):
        assert differences(got, wanted, MIN_SCORE) == [], f"line {i + 1} of {chk.name}"
