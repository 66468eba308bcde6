"""The detector worker as a process, through real rings, as the hub and its cameras drive it."""

from __future__ import annotations

import select
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import modelkit
import numpy as np
import pytest
from detectorkit import EDGETPU_FACE, HANG_S, REPO, RUNTIME, Camera, Worker, normalised

from embedded_model import default_file
from vigild.catalogue import embedded
from vigild.config.schema import ModelConfig
from vigild.geometry import View
from vigild.ipc.channel import ChannelClosed
from vigild.ipc.messages import AttachDetector, Detach, ModelReady, ModelRefused, SetBounds
from vigild.ipc.progress import Stage

BLACK, GREEN, BLUE = (0, 0, 0), (0, 255, 0), (0, 0, 255)
SCENE = modelkit.image([GREEN, BLACK, BLACK, BLUE])
EMPTY = modelkit.image([BLACK] * 4)


@pytest.fixture
def config(tmp_path):
    return ModelConfig(path=str(modelkit.quadrants(tmp_path, dtype="int8")), runtime=RUNTIME)


@pytest.fixture
def worker():
    with Worker() as process:
        yield process


def wait_for(condition, what):
    deadline = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)


def test_a_frame_becomes_a_result(worker, config):
    ready = worker.ready(config)
    assert ready.spec.dtype == "int8"
    assert ready.first_invoke_ms > 0
    assert len(ready.notes) >= 3
    camera = worker.attach(ready.spec)
    view = View(0.5, 0.5, 1.0, 0.0)
    camera.send(normalised(SCENE, ready.spec), view, file="0001.jpg")
    result = worker.result()
    assert (result.camera, result.frame, result.file) == (camera.name, 1, "0001.jpg")
    assert (result.width, result.height) == (640, 480)
    assert {(d.label, d.box) for d in result.detections} == {
        ("class_0", (0.5, 0.0, 0.75, 0.5)),
        ("class_1", (0.75, 0.5, 1.0, 1.0)),
    }
    assert result.invoke_ns > 0
    assert result.wait_ns > 0
    assert worker.stop() == 0


def test_objects_then_an_empty_scene(worker, config):
    spec = worker.ready(config).spec
    camera = worker.attach(spec)
    counts = []
    for picture in (SCENE, EMPTY, SCENE, EMPTY):
        camera.send(normalised(picture, spec))
        counts.append(len(worker.result().detections))
    assert counts == [2, 0, 2, 0]


def test_a_refusal_and_its_exit_status(worker, tmp_path):
    answer = worker.load(ModelConfig(path=str(tmp_path / "none.tflite")))
    assert isinstance(answer, ModelRefused)
    assert answer.code == "missing"
    assert worker.process.wait(HANG_S) == 3
    assert "Traceback" not in worker.stderr()


@pytest.mark.skipif(not EDGETPU_FACE.exists(), reason="the shared models are not here")
def test_an_edgetpu_model_is_refused(worker):
    answer = worker.load(ModelConfig(path=str(EDGETPU_FACE)))
    assert isinstance(answer, ModelRefused)
    assert answer.code == "edgetpu_model"


def test_no_model_at_all_but_the_end(worker):
    assert worker.stop() == 0


def test_a_live_slot_comes_back_before_the_result_with_a_time(worker, config):
    spec = worker.ready(config).spec
    camera = worker.attach(spec, slots=1)
    before = time.monotonic_ns()
    camera.send(normalised(SCENE, spec))
    worker.result()
    credits = camera.ring.credits()
    assert [c.frame for c in credits] == [1]
    assert before < credits[0].ready_ns < time.monotonic_ns() + 10 * 10**9


def test_a_source_of_which_every_frame_counts(worker, config):
    """Slots come back only with the results; nothing is skipped, order is kept."""
    spec = worker.ready(config).spec
    camera = worker.attach(spec, slots=3, keep_every=True)
    pictures = [SCENE, EMPTY, SCENE, SCENE, EMPTY] * 8
    sent, back = 0, []
    for number in range(1, len(pictures) + 1):
        while sent < len(pictures) and camera.ring.free_slot() is not None:
            camera.send(normalised(pictures[sent], spec))
            sent += 1
        result = worker.result()
        assert (result.frame, len(result.detections)) == (number, 0 if pictures[number - 1] is EMPTY else 2)
        wait_for(lambda: back.extend(camera.ring.credits()) or len(back) >= number, "the slot")  # noqa: B023
    assert [credit.frame for credit in back] == list(range(1, len(pictures) + 1))


def test_of_a_live_camera_the_newest_frame_wins(worker, config):
    spec = worker.ready(config).spec
    camera = worker.attach(spec, slots=4)
    worker.process.send_signal(signal.SIGSTOP)
    for _ in range(4):
        camera.send(normalised(SCENE, spec))
    worker.process.send_signal(signal.SIGCONT)
    assert worker.result().frame == 4
    back = []
    wait_for(lambda: back.extend(camera.ring.credits()) or len(back) == 4, "all slots")
    camera.send(normalised(EMPTY, spec))
    assert worker.result().frame == 5


def test_low_scores_are_passed_on_whatever_is_reported(worker, config):
    """The hub reports; the steps before it may need what it leaves out."""
    spec = worker.ready(config).spec
    camera = worker.attach(spec)
    worker.channel.send(SetBounds(min_score=0.99, max_results=1))
    camera.send(normalised(SCENE, spec))
    result = worker.result()
    assert len(result.detections) > 1
    assert not result.truncated
    scores = [d.score for d in result.detections]
    assert scores == sorted(scores, reverse=True)


def test_cameras_get_their_share(worker, config):
    """While both have a frame waiting, priority 3 gets three turns for each of priority 1."""
    spec = worker.ready(config).spec
    cameras = [worker.attach(spec, slots=16, keep_every=True, priority=p) for p in (3.0, 1.0)]
    tensor = normalised(SCENE, spec)
    worker.process.send_signal(signal.SIGSTOP)  # it sees all of them at once
    for camera in cameras * 16:
        camera.send(tensor)
    worker.process.send_signal(signal.SIGCONT)
    order = [worker.result().camera for _ in range(32)]
    # After twenty turns of which three in four are its own, one frame of the first still waits.
    turns = [order[:20].count(camera.name) for camera in cameras]
    assert turns in ([14, 6], [15, 5], [16, 4])


def test_a_stalled_camera_delays_nobody(worker, config):
    spec = worker.ready(config).spec
    stalled, lively = worker.attach(spec), worker.attach(spec)
    stalled.send(normalised(SCENE, spec))
    worker.result()
    for _ in range(20):
        lively.send(normalised(EMPTY, spec))
        assert worker.result().camera == lively.name


def test_detaching(worker, config):
    spec = worker.ready(config).spec
    gone, stays = worker.attach(spec), worker.attach(spec)
    worker.channel.send(Detach(link=1))
    wait_for(lambda: select.select([gone.ring], [], [], 0)[0], "the end of the ring")
    stays.send(normalised(SCENE, spec))
    assert worker.result().camera == stays.name
    worker.channel.send(Detach(link=77))
    stays.send(normalised(SCENE, spec))
    assert worker.result().frame == 2


@pytest.mark.parametrize(
    "packet",
    [
        b"x",
        bytes(3),
        bytes(95),
        struct.pack("<HxxIIxxxxQQQQQQdddd", 9, 640, 480, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0),
        bytes(20_000),
    ],
    ids=["a byte", "short", "almost", "no such slot", "long"],
)
def test_a_malformed_ring_message_closes_that_link_only(worker, config, packet):
    spec = worker.ready(config).spec
    broken, sound = worker.attach(spec), worker.attach(spec)
    broken.ring.sock.send(packet)
    if packet != bytes(20_000):  # as a header this one is valid: slot 0, frame 0
        wait_for(lambda: select.select([broken.ring], [], [], 0)[0], "the end of the broken ring")
        assert broken.ring.sock.recv(100) == b""
    else:
        worker.result()
    sound.send(normalised(SCENE, spec))
    assert len(worker.result().detections) == 2


def test_a_slot_sent_twice_closes_the_link(worker, config):
    spec = worker.ready(config).spec
    broken, sound = worker.attach(spec, keep_every=True), worker.attach(spec)
    worker.process.send_signal(signal.SIGSTOP)
    for _ in range(2):
        broken.ring.sock.send(struct.pack("<HxxIIxxxxQQQQQQdddd", 0, 640, 480, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0))
    worker.process.send_signal(signal.SIGCONT)
    wait_for(lambda: select.select([broken.ring], [], [], 0)[0], "the end of the broken ring")
    sound.send(normalised(SCENE, spec))
    assert worker.result().camera == sound.name


def test_a_senseless_view_gives_no_boxes_and_no_harm(worker, config):
    spec = worker.ready(config).spec
    camera = worker.attach(spec)
    nan = float("nan")
    camera.send(normalised(SCENE, spec), View(nan, nan, nan, nan))
    assert worker.result().detections == []
    camera.send(normalised(SCENE, spec))
    assert len(worker.result().detections) == 2


def test_a_camera_that_dies_is_let_go(worker, config):
    spec = worker.ready(config).spec
    camera = worker.attach(spec, keep_every=True)
    camera.send(normalised(SCENE, spec))
    worker.result()
    before = _descriptors(worker.process.pid)
    camera.send(normalised(SCENE, spec))
    camera.ring.close()
    wait_for(lambda: _descriptors(worker.process.pid) < before, "the ring's descriptor to be closed")
    assert _mappings(worker.process.pid, camera.name) == 0


def _descriptors(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _mappings(pid, name):
    return Path(f"/proc/{pid}/maps").read_text().count(f"vigild-{name} ")


def test_many_links_leave_nothing_behind(worker, config):
    spec = worker.ready(config).spec
    worker.attach(spec)
    start = None
    for _ in range(30):
        camera = worker.attach(spec)
        camera.send(normalised(SCENE, spec))
        worker.result()
        worker.channel.send(Detach(link=worker._links))
        camera.ring.close()
        wait_for(lambda name=camera.name: _mappings(worker.process.pid, name) == 0, "the mapping to go")
        start = start or _descriptors(worker.process.pid)
    assert _descriptors(worker.process.pid) == start


@pytest.mark.parametrize("wrong", ["spec", "no descriptors", "small memory"])
def test_a_ring_that_does_not_fit_is_not_attached(worker, config, wrong):
    ready = worker.ready(config)
    spec = ready.spec
    if wrong == "spec":
        spec = type(spec)(width=64, height=64)
    other = Camera(spec, 2, 1)
    slots = 2000 if wrong == "small memory" else 2
    fds = [] if wrong == "no descriptors" else [other.theirs_memfd, other.theirs.fileno()]
    attach = AttachDetector(link=1, camera="wrong", spec=spec, slots=slots, keep_every=False)
    worker.channel.send(attach, fds=fds)
    other.handed_over()
    wait_for(lambda: select.select([other.ring], [], [], 0)[0], "the end of the ring that does not fit")
    good = worker.attach(ready.spec)
    good.send(normalised(SCENE, ready.spec))
    assert len(worker.result().detections) == 2


def test_an_unknown_message_is_ignored(worker, config):
    spec = worker.ready(config).spec
    worker.channel.sock.send(b"\x81\xa4type\xa7Nothing")
    worker.channel.sock.send(b"\xc1")
    camera = worker.attach(spec)
    camera.send(normalised(SCENE, spec))
    assert len(worker.result().detections) == 2


def test_idle_is_told_from_hung(worker, config):
    """WAIT is entered again and again, so an old time in any stage means that the worker hangs."""
    worker.ready(config)
    lane = worker.progress.lane(0)
    wait_for(lambda: lane.read()[0] is Stage.WAIT, "the worker to wait")
    entered = lane.read()[1]
    wait_for(lambda: lane.read()[1] > entered, "WAIT to be entered again")
    assert lane.read()[0] is Stage.WAIT


def test_a_hub_that_does_not_read_is_waited_for_and_the_end_still_obeyed(worker, config):
    spec = worker.ready(config).spec
    camera = worker.attach(spec, slots=4)
    lane = worker.progress.lane(0)
    worker.channel.sock.setblocking(False)
    deadline = time.monotonic() + HANG_S
    while lane.read()[0] is not Stage.PUBLISH or time.monotonic_ns() - lane.read()[1] < 200_000_000:
        camera.ring.credits()
        if camera.ring.free_slot() is not None:
            camera.send(normalised(SCENE, spec))
        assert time.monotonic() < deadline, "the worker never waited"
    assert worker.stop() == 0


def test_nothing_is_lost_while_the_hub_does_not_read(worker, config):
    spec = worker.ready(config).spec
    camera = worker.attach(spec, slots=2, keep_every=True)
    sent = 0
    while sent < 1500:
        camera.ring.credits()
        if camera.ring.free_slot() is None:
            if select.select([camera.ring], [], [], 0.5)[0]:
                continue
            break
        sent = camera.send(normalised(SCENE, spec))
    assert [worker.result().frame for _ in range(sent)] == list(range(1, sent + 1))


def test_the_hubs_end_is_the_workers(worker, config):
    worker.ready(config)
    worker.channel.sock.shutdown(socket.SHUT_RDWR)
    assert worker.process.wait(HANG_S) == 0


def test_a_killed_worker_is_seen_and_a_new_one_serves(config):
    with Worker() as first:
        spec = first.ready(config).spec
        camera = first.attach(spec, keep_every=True)
        camera.send(normalised(SCENE, spec))
        first.result()
        first.process.kill()
        with pytest.raises(ChannelClosed):
            first.receive()
    with Worker() as second:
        camera = second.attach(second.ready(config).spec)
        camera.send(normalised(SCENE, spec))
        assert len(second.result().detections) == 2


def test_opencv_is_never_loaded(worker, config):
    """It would cost tens of megabytes; pixels are the camera worker's business."""
    worker.ready(config)
    text = Path(f"/proc/{worker.process.pid}/maps").read_text()
    assert "cv2" not in text
    assert "numpy" in text


def test_results_come_for_the_frame_that_was_sent(worker, config):
    """Slots are reused at once; a tensor must never be read from a slot that was given back."""
    spec = worker.ready(config).spec
    camera = worker.attach(spec, slots=2)
    pictures = {}
    dice = np.random.default_rng(0)
    for _ in range(200):
        colors = [GREEN if on else BLACK for on in dice.integers(0, 2, 4)]
        number = camera.send(normalised(modelkit.image(colors), spec))
        pictures[number] = sum(color is GREEN for color in colors)
        if number % 2 == 0:
            result = worker.result()
            assert len(result.detections) == pictures[result.frame]
            while result.frame != number:
                result = worker.result()
                assert len(result.detections) == pictures[result.frame]


def test_ready_message_of_the_embedded_model():
    with Worker() as worker:
        ready = worker.ready(ModelConfig(runtime=RUNTIME))
        assert isinstance(ready, ModelReady)
        assert (ready.name, ready.path) == (embedded.ENTRY, str(default_file()))
        assert not any(label.startswith("class_") for label in ready.labels)


def test_no_orphan(config):
    """The worker dies with the process that started it, even when that is killed."""
    code = (
        "import sys, time; sys.path[:0] = sys.argv[1:3]; from detectorkit import *; w = Worker();"
        f"w.ready(ModelConfig(path={config.path!r})); print(w.process.pid, flush=True); time.sleep(600)"
    )
    hub = subprocess.Popen(
        [sys.executable, "-c", code, str(REPO / "daemon"), str(REPO / "tests" / "unit")], stdout=subprocess.PIPE
    )
    assert hub.stdout is not None
    pid = int(hub.stdout.readline())
    hub.kill()
    hub.wait()
    hub.stdout.close()
    wait_for(lambda: _gone(pid), "the worker to die with its hub")


def _gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
