"""Cameras that break, seen through the whole daemon: what is said, and that they come back."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from harness import Client, Daemon, command_line
from pictures import write_pictures, write_video

PROGRAM = """\
cd {folder}
n=0
while :; do
    n=$(( n % 8 + 1 ))
    case "$(cat mode)" in
        well) cat pictures/0000$n.jpg ;;
        frozen) cat pictures/00001.jpg ;;
        blank) cat black.jpg ;;
        noise) head -c 30000 /dev/urandom ;;
        broken) cat broken.jpg ;;
        silent) sleep 1000 ;;
        exit) echo "no sensor is connected" >&2; exit 7 ;;
    esac
    sleep 0.03
done
"""

QUICK = 'read_timeout = "700 ms"\nfrozen_after = "700 ms"\nblank_after = "700 ms"\nmax_backoff = "0.5 s"\n'


class Camera:
    """A camera program whose behaviour changes with a word."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_pictures(folder / "pictures", 8, (160, 120))
        assert cv2.imwrite(str(folder / "black.jpg"), np.zeros((120, 160, 3), np.uint8))
        # Complete by its markers (SOI, SOF0, SOS, EOI), and nothing that could be decoded.
        frame_header = b"\xff\xc0\x00\x0b\x08\x00\x10\x00\x10\x01\x01\x11\x00"
        (folder / "broken.jpg").write_bytes(b"\xff\xd8" + frame_header + b"\xff\xda\x00\x02scan\xff\xd9")
        (folder / "camera.sh").write_text(PROGRAM.format(folder=folder))
        self.source = f"exec:exec sh {folder}/camera.sh"
        self.does("well")

    def does(self, what: str) -> None:
        new = self.folder / "new"
        new.write_text(what)
        new.rename(self.folder / "mode")


@pytest.fixture
def camera(tmp_path: Path) -> Camera:
    (tmp_path / "camera").mkdir()
    return Camera(tmp_path / "camera")


def config(model: Path, *cameras: tuple[str, str, str]) -> str:
    tables = "".join(f'[camera.{name}]\nsource = "{source}"\n{keys}' for name, source, keys in cameras)
    return f'[model]\npath = "{model}"\nmin_score = 0.1\n{tables}'


def until_well(client: Client, camera: str = "front") -> list[dict[str, Any]]:
    """All messages up to a result with status ok."""
    return client.collect(lambda m: m["type"] == "detections" and m["camera"] == camera and m["status"] == "ok")


FAULTS = {
    "exit": r"exec source exited with status 7: no sensor is connected",
    "silent": r"no frame for \d\.\d s",
    "noise": r"no frame for \d\.\d s|.*no JPEG.*|no frame could be decoded for \d\.\d s.*",
    "broken": r"no frame could be decoded for \d\.\d s: .*",
    "frozen": r"the picture has not changed by a single bit for \d\.\d s",
    "blank": r"the picture has been one single colour for \d\.\d s",
}
"""What the program does, and the reason that is given."""


def test_a_program_that_goes_wrong(tmp_path: Path, model: Path, camera: Camera) -> None:
    with Daemon(tmp_path, config(model, ("front", camera.source, QUICK))) as daemon:
        client = daemon.connect()
        client.watch(empty=True)
        frame = until_well(client)[-1]["frame"]
        worker = daemon.worker("camera.front")
        for fault, reason in FAULTS.items():
            camera.does(fault)
            lost = client.until(lambda m: m.get("kind") in ("camera_lost", "worker_died"))
            assert lost["kind"] == "camera_lost", (fault, lost)
            assert re.fullmatch(reason, lost["reason"]), (fault, lost)
            assert client.until("heartbeat")["status"] == "no_frame"
            health = daemon.status()["health"]["cameras"]["front"]
            assert health["status"] == "no_frame", (fault, health)
            camera.does("well")
            seen = until_well(client)
            assert [m["kind"] for m in seen if m["type"] == "event"][-1] == "camera_back"
            assert seen[-1]["frame"] > frame
            frame = seen[-1]["frame"]
        assert daemon.worker("camera.front") == worker, "a source that fails is no reason to restart its worker"


@pytest.mark.parametrize("kind", ["video", "folder"])
def test_a_source_that_is_taken_away_for_a_while(tmp_path: Path, model: Path, kind: str) -> None:
    hidden, there = tmp_path / "hidden", tmp_path / ("clip.avi" if kind == "video" else "pictures")
    if kind == "video":
        write_video(there, 20, (64, 64))
    else:
        write_pictures(there, 5, (64, 64))
    source = str(there) if kind == "video" else f"images:{there}"
    keys = 'loop = true\nfps = 20\nmax_backoff = "0.5 s"\n'
    with Daemon(tmp_path, config(model, ("front", source, keys))) as daemon:
        client = daemon.connect()
        client.watch(empty=True)
        client.until("detections")
        there.rename(hidden)
        lost = [client.event("camera_lost") for _ in range(3)]
        assert {event["reason"] for event in lost} == {
            f"the {'video file' if kind == 'video' else 'folder'} {there} does not exist"
        }
        assert client.until("heartbeat")["status"] == "no_frame"
        # TaskResult again and again, but said once in the log.
        assert len([line for line in daemon.logged().splitlines() if "lost: the" in line]) == 1
        hidden.rename(there)
        client.event("camera_back")
        client.until("detections")


def test_a_worker_that_is_stuck_in_a_driver(tmp_path: Path, model: Path, camera: Camera) -> None:
    """The thread itself hangs, so only the hub can see it; a pipe nobody writes to stands in for the driver."""
    os.mkfifo(tmp_path / "pipe.avi")
    source = str(tmp_path / "pipe.avi")
    keys = 'open_timeout = "1 s"\n'
    with Daemon(tmp_path, config(model, ("stuck", source, keys), ("well", camera.source, QUICK))) as daemon:
        client = daemon.connect()
        client.watch(empty=True)
        until_well(client, "well")
        died = client.event("worker_died")
        assert died["camera"] == "stuck"
        assert re.match(
            r"camera\.stuck camera stuck hung for \d\.\d s while opening the source; killed; restarted", died["reason"]
        )
        health = daemon.status()["health"]["cameras"]["stuck"]
        assert (health["status"], health["reason"].split(" for ")[0]) == ("no_frame", "no answer")
        until_well(client, "well")


def test_a_stalled_program_does_not_delay_another_camera(tmp_path: Path, model: Path, camera: Camera) -> None:
    shutil.copytree(camera.folder, tmp_path / "other")
    other = Camera.__new__(Camera)
    other.folder = tmp_path / "other"
    (other.folder / "camera.sh").write_text(PROGRAM.format(folder=other.folder))
    source = f"exec:exec sh {other.folder}/camera.sh"
    text = config(model, ("stalled", camera.source, QUICK), ("well", source, QUICK))
    with Daemon(tmp_path, text) as daemon:
        client = daemon.connect()
        client.watch(empty=True)
        until_well(client, "stalled")
        until_well(client, "well")
        camera.does("silent")
        while (message := client.next()).get("kind") != "camera_lost":
            if message.get("camera") == "well" and message["type"] != "event":  # that it was opened may be told late
                assert message["status"] in ("ok", "degraded"), message
        for _ in range(20):
            message = client.until(lambda m: m["type"] == "detections")
            assert message["camera"] == "well"
        camera.does("well")
        until_well(client, "stalled")


def _leads_its_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


def test_a_program_that_stops_the_whole_group_is_ended(tmp_path: Path, model: Path, camera: Camera) -> None:
    with Daemon(tmp_path, config(model, ("front", camera.source, QUICK))) as daemon:
        client = daemon.connect()
        client.watch(empty=True)
        until_well(client)
        program = [pid for pid in daemon.processes() if b"camera.sh" in command_line(pid).split(b"/")[-1]]
        # A shell that has forked and not yet become what it is to run looks like one, too; but it leads no group.
        shells = [pid for pid in program if command_line(pid).startswith(b"sh\0") and _leads_its_group(pid)]
        assert len(shells) == 1
        os.kill(shells[0], signal.SIGSTOP)
        client.event("camera_lost")
        until_well(client)
        daemon.wait_for(lambda: not Path(f"/proc/{shells[0]}").exists())
