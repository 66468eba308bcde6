"""Sources against real servers and real commands: a camera worker process reads them through real rings."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from camera_rig import SPEC, CameraRig, RigLink
from vigild.config.schema import CameraConfig
from vigild.ipc.messages import CameraEnded, CameraLost, CameraOpened, CameraStats, Overlay
from vigild.ipc.progress import Stage
from vigild.tensor import TensorSpec

SERVERS = Path(__file__).parent / "servers"
VIDEO = Path(__file__).resolve().parents[3] / "shared/assets/videos/person-bicycle-car-detection.mp4"
SYSTEM_PYTHON = "/usr/bin/python3"

SEEN_WITHIN_S = 2.0
"""What is promised for a camera that breaks; the rest of each deadline here is for a busy machine."""

PATIENCE_S = 20.0


class Server:
    """A server process on a port of its own, which it keeps when it is started again."""

    def __init__(self, python: str, script: str, *options: str) -> None:
        self._python = python
        self._script = script
        self._options = options
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self._python, str(SERVERS / self._script), str(self.port), *self._options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline(), "the server did not start"

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


@pytest.fixture
def rig() -> Iterator[CameraRig]:
    with CameraRig() as made:
        yield made


@pytest.fixture
def mjpeg() -> Iterator[Server]:
    with Server(sys.executable, "mjpeg_server.py") as server:
        yield server


def http(server: Server, path: str, **settings: object) -> CameraConfig:
    return CameraConfig(source=f"http://127.0.0.1:{server.port}/{path}", **settings)  # type: ignore[arg-type]


def flows(link: RigLink, frames: int = 5) -> None:
    """Frames come, one after the other."""
    numbers = [frame.frame for frame in link.take(frames)]
    assert numbers == sorted(set(numbers))


def never_overdue(rig: CameraRig, until: Callable[[], bool], limits_s: dict[Stage, float]) -> None:
    """Wait for `until`; meanwhile the camera's lane must not stay in a stage longer than the hub allows."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not until():
        stage, since_ns = rig.progress.lane(1).read()
        spent_s = (time.monotonic_ns() - since_ns) / 1e9
        assert spent_s <= limits_s.get(stage, 1e9), f"{spent_s:.2f} s in {stage.name}"
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


# ---- MJPEG over HTTP


@pytest.mark.parametrize("options", [(), ("chunked",)], ids=["plain", "chunked"])
def test_http_mjpeg(rig: CameraRig, options: tuple[str, ...]) -> None:
    with Server(sys.executable, "mjpeg_server.py", *options) as server:
        rig.add("cam", http(server, "stream"))
        link = rig.attach("cam")
        opened = rig.until(CameraOpened)
        assert (opened.width, opened.height, opened.live) == (640, 480, True)
        frame = link.next()
        assert (frame.width, frame.height) == (640, 480)
        # BGR (40, 80, 120) in the corner, and the model wants RGB.
        assert np.abs(link.tensor(frame)[0, -1, -1].astype(int) - (120, 80, 40)).max() < 8
        link.ring.give_back(frame)
        flows(link)


def test_newest_frame_wins_and_drops_are_counted(rig: CameraRig, mjpeg: Server) -> None:
    rig.add("cam", http(mjpeg, "stream"))
    link = rig.attach("cam", slots=1)
    frame = link.next()
    stats = rig.until(CameraStats)
    while stats.drops.get("no_credit", 0) <= 5:
        stats = rig.until(CameraStats)
    link.ring.give_back(frame)
    assert link.next().frame >= stats.grabbed, "a frame from before those that were dropped"
    while stats.delivered < 2:
        stats = rig.until(CameraStats)
    assert stats.grabbed == stats.delivered + sum(stats.drops.values())
    assert stats.drops["no_credit"] > 5


def test_redirect_and_credentials(rig: CameraRig) -> None:
    with Server(sys.executable, "mjpeg_server.py", "auth=us%er:se:cret") as server:
        address = f"127.0.0.1:{server.port}/moved"
        rig.add("right", CameraConfig(source=f"http://us%25er:se:cret@{address}"))
        rig.add("wrong", CameraConfig(source=f"http://us%25er:secrer@{address}"))
        flows(rig.attach("right"))
        lost = rig.seen(CameraLost) or rig.until(CameraLost)
        assert lost.camera == "wrong"
        assert "wants other credentials (401)" in lost.reason
    assert "secre" not in rig.end()
    assert "se:cret" not in rig.end()
    assert not any("secre" in str(message) or "se:cret" in str(message) for message in rig.messages)


def test_digest_authentication(rig: CameraRig) -> None:
    with Server(sys.executable, "mjpeg_server.py", "digest=user:secret") as server:
        rig.add("right", CameraConfig(source=f"http://user:secret@127.0.0.1:{server.port}/stream"))
        rig.add("none", CameraConfig(source=f"http://127.0.0.1:{server.port}/stream"))
        link = rig.attach("right")
        assert rig.until(CameraOpened, timeout_s=90.0).camera == "right"
        flows(link)
        assert "wants other credentials (401)" in next(m for m in rig.messages if isinstance(m, CameraLost)).reason
    assert "secret" not in rig.end()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("page", 'is a web page that begins "<html><img src=/stream></html>", not a stream'),
        ("missing", "the server answered 404 Not Found"),
    ],
)
def test_addresses_that_are_no_stream(rig: CameraRig, mjpeg: Server, path: str, words: str) -> None:
    rig.add("cam", http(mjpeg, path))
    lost = rig.until(CameraLost)
    assert lost.cause == "open"
    assert words in lost.reason


@pytest.mark.parametrize(
    ("path", "cause", "words"),
    [
        ("frozen", "frozen", "has not changed by a single bit"),
        ("blank", "blank", "one single colour"),
        ("stops", "read", "no frame for"),
        ("ends", "read", "closed the stream"),
    ],
)
@pytest.mark.parametrize("attached", [True, False], ids=["watched", "unwatched"])
def test_broken_pictures_are_seen(
    rig: CameraRig, mjpeg: Server, path: str, cause: str, words: str, attached: bool
) -> None:
    rig.add("cam", http(mjpeg, path))
    if attached:
        rig.attach("cam", slots=4)
    rig.until(CameraOpened)
    lost = rig.until(CameraLost)
    assert (lost.cause, words in lost.reason) == (cause, True), lost
    claimed = re.search(r"for ([\d.]+) s", lost.reason)
    # By the worker's own clock: within the promise.
    assert claimed is None or float(claimed[1]) <= SEEN_WITHIN_S
    rig.until(CameraOpened)


def test_jpegs_that_cannot_be_decoded(rig: CameraRig, mjpeg: Server) -> None:
    rig.add("cam", http(mjpeg, "broken"))
    rig.attach("cam")
    lost = rig.until(CameraLost)
    assert lost.cause == "shape"
    assert rig.seen(CameraOpened) is None


def test_the_size_may_change(rig: CameraRig, mjpeg: Server) -> None:
    rig.add("cam", http(mjpeg, "sizes"))
    link = rig.attach("cam")
    rig.until(CameraOpened, width=640)
    while (frame := link.next()).width == 640:
        link.ring.give_back(frame)
    assert (frame.width, frame.height) == (320, 240)
    rig.until(CameraOpened, width=320)


def test_the_checks_can_be_turned_off(rig: CameraRig, mjpeg: Server) -> None:
    rig.add("cam", http(mjpeg, "frozen", frozen_after=0.0))
    link = rig.attach("cam")
    deadline_s = time.monotonic() + 2.5
    while time.monotonic() < deadline_s:
        flows(link, 1)
    assert rig.seen(CameraLost) is None


def test_a_server_that_stops_and_goes_on(rig: CameraRig, mjpeg: Server) -> None:
    rig.add("cam", http(mjpeg, "stream"))
    link = rig.attach("cam")
    flows(link)
    mjpeg.signal(signal.SIGSTOP)
    never_overdue(rig, lambda: rig.seen(CameraLost) is not None, {Stage.GRAB: 1.75})
    assert "no frame for" in rig.messages[-1].reason
    mjpeg.signal(signal.SIGCONT)
    rig.until(CameraOpened)
    flows(link)


def test_a_server_that_is_killed_and_started_again(rig: CameraRig, mjpeg: Server) -> None:
    rig.add("cam", http(mjpeg, "stream", max_backoff=0.5))
    link = rig.attach("cam")
    flows(link)
    mjpeg.kill()
    assert rig.until(CameraLost).cause == "read"
    assert "connection refused" in rig.until(CameraLost, cause="open").reason
    mjpeg.start()
    rig.until(CameraOpened)
    flows(link)


def test_a_snapshot_of_a_jpeg_source_is_its_jpeg(rig: CameraRig, mjpeg: Server) -> None:
    rig.add("cam", http(mjpeg, "stream"))
    frame = rig.attach("cam", TensorSpec(width=32, height=32)).take(1)[0]
    answer, data = rig.snapshot("cam", [Overlay(frame=frame.frame, boxes=[])])
    assert (answer.width, answer.height) == (640, 480)
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (480, 640, 3)


@pytest.mark.parametrize("path", ["still", "still?no-length", "still?one-part"])
def test_a_picture_alone_is_asked_for_again_and_again(rig: CameraRig, mjpeg: Server, path: str) -> None:
    rig.add("cam", http(mjpeg, path, fps=20))
    link = rig.attach("cam")
    opened = rig.until(CameraOpened)
    assert (opened.live, opened.fps, "a picture alone" in opened.detail) == (True, 20, True)
    flows(link, 40)
    assert rig.seen(CameraLost) is None, "that it never changes is no fault: each was asked for"


def test_nobody_listens(rig: CameraRig) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    rig.add("cam", CameraConfig(source=f"http://127.0.0.1:{port}/"))
    assert "connection refused" in rig.until(CameraLost).reason


def test_a_host_that_never_answers(rig: CameraRig) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        rig.add("cam", CameraConfig(source=f"http://127.0.0.1:{server.getsockname()[1]}/", open_timeout=0.5))
        assert "no answer in time" in rig.until(CameraLost).reason


# ---- commands

FFMPEG = "ffmpeg -v error -re -f lavfi -i testsrc=size=320x240:rate=25 -f mjpeg -q:v 5 -"
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg (apt install ffmpeg)")


def running(mark: str) -> list[int]:
    """Processes with `mark` in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def wait_for_none(mark: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while running(mark):
        assert time.monotonic() < deadline_s, running(mark)
        time.sleep(0.02)


@needs_ffmpeg
def test_ffmpegs_mjpeg(rig: CameraRig) -> None:
    rig.add("cam", CameraConfig(source=f"exec:{FFMPEG}"))
    link = rig.attach("cam")
    assert rig.until(CameraOpened).width == 320
    flows(link, 10)


def test_why_a_command_ended(rig: CameraRig) -> None:
    rig.add("cam", CameraConfig(source="exec:echo one >&2; echo cannot open rtsp://u:secret@host/ >&2; exit 3"))
    lost = rig.until(CameraLost)
    assert lost.cause == "exit"
    assert lost.reason == "exec source exited with status 3 without giving a JPEG: cannot open rtsp://***@host/"
    assert "secret" not in rig.end()


def test_a_command_that_gives_nothing(rig: CameraRig) -> None:
    rig.add("cam", CameraConfig(source="exec:sleep 1000", open_timeout=0.5))
    lost = rig.until(CameraLost)
    assert "gave no frame" in lost.reason


def test_a_command_that_gives_noise(rig: CameraRig) -> None:
    rig.add("cam", CameraConfig(source="exec:cat /dev/urandom", open_timeout=1.0))
    rig.until(CameraLost)
    assert rig.exit() == 0


STUBBORN = "setsid sleep 1000 & (sleep 1000 &); trap '' TERM; while :; do sleep 1000; done"


@pytest.mark.parametrize("way", ["removed", "exit", "killed", "hub"])
def test_nothing_of_a_command_stays_behind(way: str) -> None:
    mark = f"VIGILD_TEST_MARK={uuid.uuid4().hex}"
    with CameraRig(env=dict([mark.split("=")])) as rig:
        rig.add("cam", CameraConfig(source=f"exec:{STUBBORN}", open_timeout=60.0))
        deadline_s = time.monotonic() + PATIENCE_S
        # The worker, the warden, the shell and three sleeps.
        while len(running(mark)) < 6:
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        if way == "removed":
            rig.remove("cam")
            while running(mark) != [rig.process.pid]:
                assert time.monotonic() < deadline_s
                time.sleep(0.02)
        elif way == "exit":
            assert rig.exit() == 0
        elif way == "killed":
            rig.process.kill()
        else:
            rig.channel.close()
            rig.process.wait(PATIENCE_S)
        if way != "removed":
            wait_for_none(mark)


def test_a_stopped_command_is_lost_and_ended(tmp_path: Path) -> None:
    mark = f"VIGILD_TEST_MARK={uuid.uuid4().hex}"
    jpegs = tmp_path / "frames.mjpeg"
    jpegs.write_bytes(b"".join(
        bytes(cv2.imencode(".jpg", np.random.default_rng(n).integers(0, 256, (48, 64, 3), dtype=np.uint8))[1])
        for n in range(3)
    ))  # fmt: skip
    with CameraRig(env=dict([mark.split("=")])) as rig:
        rig.add("cam", CameraConfig(source=f"exec:cat {jpegs}; kill -STOP $$"))
        rig.attach("cam")
        rig.until(CameraOpened)
        lost = rig.until(CameraLost)
        assert "no frame for" in lost.reason
        # The camera closes its source, and with it the stopped shell, before it says so.
        assert running(mark) == [rig.process.pid]
        rig.until(CameraOpened)


# ---- RTSP


def rtsp_missing() -> str:
    """Why there can be no RTSP server here, or nothing."""
    if not Path(SYSTEM_PYTHON).exists():
        return f"needs {SYSTEM_PYTHON}"
    probe = (
        "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer;"
        "Gst.init(None); assert all(map(Gst.ElementFactory.find, ['videotestsrc', 'x264enc', 'rtph264pay']))"
    )
    done = subprocess.run([SYSTEM_PYTHON, "-c", probe], capture_output=True, check=False)
    packages = "gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base -good -ugly"
    return "" if done.returncode == 0 else f"needs a GStreamer RTSP server (apt install {packages})"


@pytest.fixture
def rtsp() -> Iterator[Server]:
    reason = rtsp_missing()
    if reason:
        pytest.skip(reason)
    with Server(SYSTEM_PYTHON, "rtsp_server.py") as server:
        yield server


def test_rtsp_frozen_killed_and_started_again(rig: CameraRig, rtsp: Server) -> None:
    config = CameraConfig(source=f"rtsp://user:secret@127.0.0.1:{rtsp.port}/test", open_timeout=4.0, max_backoff=0.5)
    rig.add("cam", config)
    link = rig.attach("cam")
    opened = rig.until(CameraOpened)
    assert (opened.width, opened.height, opened.live) == (640, 480, True)
    flows(link)
    rtsp.signal(signal.SIGSTOP)
    # Noticed by the worker itself, before the hub would kill it.
    never_overdue(rig, lambda: rig.seen(CameraLost) is not None, {Stage.GRAB: 1.75, Stage.OPEN: 5.0})
    rtsp.signal(signal.SIGCONT)
    rig.until(CameraOpened)
    flows(link)
    rtsp.kill()
    rig.until(CameraLost)
    assert "could not be opened" in rig.until(CameraLost, cause="open").reason
    rtsp.start()
    rig.until(CameraOpened)
    flows(link)
    assert "secret" not in rig.end()
    assert not any("secret" in str(message) for message in rig.messages)


# ---- video files

needs_video = pytest.mark.skipif(not VIDEO.exists(), reason="needs ../shared/assets/videos")
VIDEO_SPEC = TensorSpec(width=64, height=48, mean=SPEC.mean, std=SPEC.std)


@needs_video
def test_each_frame_of_a_video_once_and_the_same_after_a_restart() -> None:
    capture = cv2.VideoCapture(str(VIDEO), cv2.CAP_FFMPEG)
    wanted = []
    while True:
        ok, pixels = capture.read()
        if not ok:
            break
        wanted.append(hash(cv2.resize(pixels, (64, 48))[:, :, ::-1].tobytes()))
    config = CameraConfig(source=str(VIDEO), pace="every")
    seen: dict[int, int] = {}
    killed_at = 150
    with CameraRig() as rig:
        rig.add("v", config)
        link = rig.attach("v", VIDEO_SPEC, slots=4)
        for _ in range(killed_at):
            frame = link.next()
            seen[frame.frame] = hash(link.tensor(frame)[0].tobytes())
            link.ring.give_back(frame)
        rig.process.kill()
    with CameraRig() as rig:
        rig.add("v", config, resume_after=killed_at)
        link = rig.attach("v", VIDEO_SPEC, slots=4)
        while rig.seen(CameraEnded) is None:
            frame = link.poll(0.05)
            if frame is not None:
                assert frame.frame not in seen
                seen[frame.frame] = hash(link.tensor(frame)[0].tobytes())
                link.ring.give_back(frame)
        ended = rig.seen(CameraEnded)
        assert ended is not None
        assert ended.frames == len(wanted)
    assert seen == dict(enumerate(wanted, 1))


@needs_video
def test_a_video_that_is_cut_short(rig: CameraRig, tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs ffmpeg (apt install ffmpeg)")
    clip = tmp_path / "clip.mp4"
    command = ["ffmpeg", "-v", "error", "-i", str(VIDEO), "-t", "10", "-c", "copy", "-movflags", "faststart", str(clip)]
    subprocess.run(command, check=True)
    os.truncate(clip, clip.stat().st_size // 2)
    rig.add("v", CameraConfig(source=str(clip), pace="every"))
    frames = rig.attach("v", slots=4).drain()
    assert 10 < len(frames) < 100
    assert "may be damaged" in rig.end()


@pytest.mark.parametrize("pace", ["every", "live"])
def test_nothing_about_one_file_stops_the_others(rig: CameraRig, tmp_path: Path, pace: str) -> None:
    """A name that is no UTF-8, a broken picture, a link that leads nowhere: read, or told and counted as lost."""
    for level, name in enumerate((b"a.png", b"b\xff.png", b"z.png")):
        data = bytes(cv2.imencode(".png", np.full((48, 64, 3), 80 * level, np.uint8))[1])
        (tmp_path / os.fsdecode(name)).write_bytes(data)
    (tmp_path / os.fsdecode(b"c\xfe.png")).write_bytes(b"broken")
    (tmp_path / "d.png").symlink_to("nowhere")
    rig.add("cam", CameraConfig(source=f"images:{tmp_path}", pace=pace, fps=50))  # type: ignore[arg-type]
    files = [frame.file for frame in rig.attach("cam", slots=4).drain()]
    assert files == ["a.png", "b\ufffd.png", "z.png"]
    ended = rig.seen(CameraEnded)
    assert ended is not None
    assert (ended.frames, ended.lost) == (5, 2)
