"""A real camera worker process with real rings; the test stands in for the hub and the detector."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from camera_rig import SPEC, CameraRig, RigLink
from vigild.camera.testcard import TestCard
from vigild.config.schema import CameraConfig
from vigild.ipc.messages import CameraEnded, CameraLane, CameraLost, CameraOpened, CameraStats, Overlay
from vigild.ipc.progress import Stage
from vigild.ipc.ring import RingClosed
from vigild.tensor import TensorSpec

MS = 1_000_000


@pytest.fixture
def rig() -> Iterator[CameraRig]:
    with CameraRig() as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pictures; the n-th (from 1) has level 20 n."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for n in range(1, 11):
        cv2.imwrite(str(pictures / f"p{n:02}.png"), np.full((48, 64, 3), 20 * n, np.uint8))
    return pictures


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """24 frames at 100 frames/s; the n-th (from 1) has level 8 n."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 100.0, (80, 64))
    for n in range(1, 25):
        writer.write(np.full((64, 80, 3), 8 * n, np.uint8))
    writer.release()
    return path


def every(folder: Path, **settings: object) -> CameraConfig:
    return CameraConfig(source=f"images:{folder}", pace="every", **settings)


def level(link: RigLink, frame: object) -> int:
    """Which picture of the folder a tensor shows."""
    values = np.unique(link.tensor(frame))
    assert len(values) == 1
    return int(values[0]) // 20


# ---- pictures


def test_the_tensor_is_the_picture_in_the_models_colours(rig: CameraRig) -> None:
    rig.add("front", CameraConfig(source="testcard", size=(80, 64), pace="every"))
    link = rig.attach("front", SPEC)
    opened = rig.until(CameraOpened)
    assert (opened.camera, opened.width, opened.height, opened.fps, opened.live) == ("front", 80, 64, 30.0, False)
    card = TestCard(80, 64)
    for n in (1, 2, 3):
        frame = link.next()
        assert frame.frame == n
        assert np.array_equal(link.tensor(frame)[0], card.render(n)[0][:, :, ::-1])
        link.ring.give_back(frame)


def test_live_frames_keep_their_time(rig: CameraRig) -> None:
    rig.add("front", CameraConfig(source="testcard", size=(80, 64), fps=50))
    frames = rig.attach("front").take(10)
    assert [f.frame for f in frames] == sorted({f.frame for f in frames})
    for frame in frames:
        assert frame.captured_ns <= frame.sent_ns <= time.monotonic_ns()
        assert abs(frame.wall_ns - time.time_ns()) < 60e9
    numbers = [f.frame for f in frames]
    spent_s = (frames[-1].captured_ns - frames[0].captured_ns) / 1e9
    # The numbers count frames of the source, at 50 a second, whether or not they were taken.
    assert numbers[-1] - numbers[0] == pytest.approx(50 * spent_s, abs=2 + 0.5 * 50)
    while not rig.until(CameraStats).grabbed:
        continue


def test_orientation_crop_and_size(rig: CameraRig) -> None:
    rig.add("front", CameraConfig(source="testcard", size=(80, 64), pace="every", rotate=90, crop=(0.0, 0.0, 0.5, 1.0)))
    link = rig.attach("front", TensorSpec(width=32, height=80, mean=SPEC.mean, std=SPEC.std))
    opened = rig.until(CameraOpened)
    assert (opened.width, opened.height) == (64, 80)
    frame = link.next()
    assert (frame.width, frame.height) == (64, 80)
    assert frame.view.to_frame((0.0, 0.0, 1.0, 1.0)) == (0.0, 0.0, 0.5, 1.0)
    upright = np.rot90(TestCard(80, 64).render(1)[0], k=-1)[:, :32, ::-1]
    assert np.array_equal(link.tensor(frame)[0], upright)


# ---- each frame exactly once


def test_a_folder_in_order_with_names(rig: CameraRig, folder: Path) -> None:
    rig.add("f", every(folder))
    link = rig.attach("f")
    frames = link.drain()
    assert [f.frame for f in frames] == list(range(1, 11))
    assert [f.file for f in frames] == [f"p{n:02}.png" for n in range(1, 11)]
    ended = rig.seen(CameraEnded)
    assert ended is not None
    assert ended.frames == 10
    assert rig.stage("f") is Stage.ENDED


def test_back_pressure_and_no_end_before_the_last_acknowledgement(rig: CameraRig, folder: Path) -> None:
    rig.add("f", every(folder))
    link = rig.attach("f", slots=2)
    link.take(8)
    last = [link.next(), link.next()]
    assert link.poll(0.3) is None
    link.ring.give_back(last[0])
    assert link.poll(0.3) is None
    assert rig.seen(CameraEnded) is None
    link.ring.give_back(last[1])
    assert rig.until(CameraEnded).frames == 10


def test_no_more_than_the_slots_are_on_the_way(rig: CameraRig, folder: Path) -> None:
    rig.add("f", every(folder))
    link = rig.attach("f", slots=3)
    frames = [link.next() for _ in range(3)]
    assert link.poll(0.3) is None
    assert [level(link, f) for f in frames] == [1, 2, 3]
    # Slots come back in any order.
    for frame in reversed(frames):
        link.ring.give_back(frame)
    assert [f.frame for f in link.take(7)] == [4, 5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize("acknowledged", [0, 1, 2, 3, 5, 10])
@pytest.mark.parametrize("told", [True, False], ids=["detached", "died"])
def test_a_new_detector_gets_what_the_old_one_owed(rig: CameraRig, folder: Path, acknowledged: int, told: bool) -> None:
    rig.add("f", every(folder))
    old = rig.attach("f", slots=3)
    assert [f.frame for f in old.take(acknowledged)] == list(range(1, acknowledged + 1))
    while old.poll(0.3) is not None:
        pass
    if told:
        rig.detach(old)
    else:
        old.close()
    new = rig.attach("f", slots=3)
    frames = []
    deadline_s = time.monotonic() + 90
    while rig.seen(CameraEnded) is None:
        assert time.monotonic() < deadline_s
        frame = new.poll(0.05)
        if frame is not None:
            frames.append((frame.frame, level(new, frame)))
            new.ring.give_back(frame)
    assert frames == [(n, n) for n in range(acknowledged + 1, 11)]


def test_the_ring_may_shrink_to_another_model(rig: CameraRig, folder: Path) -> None:
    rig.add("f", every(folder))
    old = rig.attach("f", slots=4)
    for _ in range(4):
        old.next()
    rig.detach(old)
    new = rig.attach("f", TensorSpec(width=8, height=8, dtype="float32", mean=(0.0,) * 3, std=(1.0,) * 3), slots=1)
    for n in range(1, 11):
        frame = new.next()
        assert (frame.frame, level(new, frame)) == (n, n)
        new.ring.give_back(frame)


def test_the_pixels_of_a_queued_frame_are_not_overwritten(rig: CameraRig, clip: Path) -> None:
    """A video's buffers are used again, but not those of frames that a new detector still has to get."""
    rig.add("c", CameraConfig(source=str(clip), pace="every"))
    done = 0
    while done < 20:
        link = rig.attach("c", slots=4)
        frames = [link.next() for _ in range(4)]
        for n, frame in enumerate(frames, done + 1):
            assert frame.frame == n
            assert abs(float(np.median(link.tensor(frame))) - 8 * n) < 4
        link.ring.give_back(frames[0])
        link.next()
        done += 1
        rig.detach(link)


def test_two_detectors_at_a_time_get_each_frame(rig: CameraRig, folder: Path) -> None:
    """As during a change of the model: neither may be left behind."""
    rig.add("f", every(folder))
    one = rig.attach("f", slots=2)
    one.take(3)
    two = rig.attach("f", TensorSpec(width=8, height=8, mean=(0.0,) * 3, std=(1.0,) * 3), slots=2)
    first = two.next()
    # The oldest that is not acknowledged as far as the worker knows: the last credits may still be on the way.
    assert 1 <= first.frame <= 6
    two.ring.give_back(first)
    seen_one, seen_two = [], [first.frame]
    deadline_s = time.monotonic() + 90
    while rig.seen(CameraEnded) is None:
        assert time.monotonic() < deadline_s
        for link, seen in ((one, seen_one), (two, seen_two)):
            frame = link.poll(0.02)
            if frame is not None:
                seen.append(frame.frame)
                link.ring.give_back(frame)
    assert seen_one == list(range(4, 11))
    assert seen_two == list(range(first.frame, 11))


def test_the_slower_detector_sets_the_pace_until_it_is_gone(rig: CameraRig, folder: Path) -> None:
    rig.add("f", every(folder))
    slow, fast = rig.attach("f", slots=2), rig.attach("f", slots=2)
    slow.next()
    seen = []
    while (frame := fast.poll(0.3)) is not None:
        seen.append(frame.frame)
        fast.ring.give_back(frame)
    assert seen == [1, 2, 3]
    rig.detach(slow)
    assert [f.frame for f in fast.drain()] == list(range(4, 11))


def test_a_new_worker_goes_on_behind_the_last_result(rig: CameraRig, folder: Path) -> None:
    rig.add("f", every(folder), resume_after=7)
    link = rig.attach("f")
    frame = link.next()
    assert (frame.frame, level(link, frame)) == (8, 8)
    link.ring.give_back(frame)
    assert [f.frame for f in link.drain()] == [9, 10]


def test_a_new_worker_behind_the_end(rig: CameraRig, folder: Path) -> None:
    rig.add("f", every(folder), resume_after=10)
    assert rig.until(CameraEnded).frames == 10


@pytest.mark.parametrize("resume_after", [0, 4, 10, 23, 1_000_000_007])
def test_loops_go_on_counting(rig: CameraRig, folder: Path, resume_after: int) -> None:
    rig.add("f", every(folder, loop=True), resume_after=resume_after)
    link = rig.attach("f")
    for n in range(resume_after + 1, resume_after + 26):
        frame = link.next()
        assert (frame.frame, level(link, frame)) == (n, (n - 1) % 10 + 1)
        link.ring.give_back(frame)


def test_broken_files_are_counted_and_passed(rig: CameraRig, folder: Path) -> None:
    (folder / "p03.png").write_bytes(b"broken")
    rig.add("f", every(folder))
    frames = rig.attach("f").drain()
    assert [f.frame for f in frames] == [1, 2, *range(4, 11)]
    stats = rig.until(CameraStats)
    assert (stats.grabbed, stats.delivered, stats.drops) == (10, 9, {"bad_frame": 1})
    assert rig.end().count("p03.png") == 1


def test_a_broken_file_is_counted_before_the_next_frame_is_there(rig: CameraRig, folder: Path) -> None:
    """A worker killed just then has told of it; the next one begins behind that frame and knows nothing."""
    (folder / "p03.png").write_bytes(b"broken")
    rig.add("f", every(folder))
    link = rig.attach("f")
    while (frame := link.next()).frame < 4:
        link.ring.give_back(frame)
    rig.process.kill()
    rig.process.wait()
    while not (drops := rig.until(CameraStats).drops):
        pass  # told before that; `until` fails where nothing is left
    assert drops == {"bad_frame": 1}


def test_a_folder_with_nothing_but_broken_files(rig: CameraRig, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"broken")
    rig.add("f", every(tmp_path))
    rig.attach("f")
    assert rig.until(CameraEnded).frames == 1


# ---- live


def test_nobody_attached_and_paused_are_counted(rig: CameraRig) -> None:
    rig.add("front", CameraConfig(source="testcard", size=(80, 64), fps=100))
    stats = rig.until(CameraStats)
    while not stats.drops.get("not_attached"):
        stats = rig.until(CameraStats)
    assert stats.delivered == 0
    link = rig.attach("front")
    link.take(3)
    rig.limit("front", holds=["client"])
    while (frame := link.poll(0.3)) is not None:
        link.ring.give_back(frame)
    stats = rig.until(CameraStats)
    while not stats.drops.get("paused"):
        stats = rig.until(CameraStats)
    rig.limit("front")
    link.take(3)
    assert sum(isinstance(m, CameraOpened) for m in rig.messages) == 1


@pytest.mark.parametrize(
    ("holds", "cause"),
    [(["governor"], "held_governor"), (["schedule", "gate"], "held_gate"), (["governor", "client"], "paused")],
)
def test_each_hold_counts_under_its_own_cause(rig: CameraRig, holds: list[str], cause: str) -> None:
    rig.add("front", CameraConfig(source="testcard", size=(80, 64), fps=100))
    rig.limit("front", holds=holds)
    link = rig.attach("front")
    stats = rig.until(CameraStats)
    while not stats.drops.get(cause):
        stats = rig.until(CameraStats)
    assert stats.delivered == 0
    assert set(stats.drops) - {cause} <= {"not_attached"}
    rig.limit("front")
    link.take(3)


def test_held_and_released_one_by_one(rig: CameraRig, folder: Path) -> None:
    rig.add("f", every(folder))
    rig.limit("f", holds=["client", "governor"])
    link = rig.attach("f")
    assert link.poll(0.3) is None
    rig.limit("f", holds=["governor"])
    assert link.poll(0.3) is None
    rig.limit("f")
    assert [f.frame for f in link.drain()] == list(range(1, 11))


def test_a_cap_slows_reading_one_by_one_and_costs_no_frame(rig: CameraRig, folder: Path) -> None:
    rig.add("f", every(folder))
    rig.limit("f", max_fps=20.0)
    frames = rig.attach("f", slots=4).drain()
    assert [f.frame for f in frames] == list(range(1, 11))
    # Nine times 50 ms, whatever else the machine does.
    assert (frames[-1].captured_ns - frames[0].captured_ns) / 1e9 >= 0.45
    stats = rig.until(CameraStats)
    assert (stats.grabbed, stats.drops) == (10, {})


def test_a_cap_can_be_lifted_while_it_waits(rig: CameraRig, folder: Path) -> None:
    rig.add("f", every(folder))
    # A frame in 1000 s, which nobody waits for.
    rig.limit("f", max_fps=0.001)
    link = rig.attach("f")
    link.take(1)
    assert link.poll(0.3) is None
    rig.limit("f")
    assert [f.frame for f in link.drain()] == list(range(2, 11))


def test_without_credit_frames_are_dropped_and_the_newest_comes_next(rig: CameraRig) -> None:
    rig.add("front", CameraConfig(source="testcard", size=(80, 64), fps=100))
    link = rig.attach("front", slots=2)
    held = [link.next(), link.next()]
    time.sleep(0.5)
    assert link.poll(0.0) is None
    for frame in held:
        link.ring.give_back(frame)
    assert link.next().frame > held[-1].frame + 10
    while rig.until(CameraStats).drops.get("no_credit", 0) <= 10:
        continue


def test_frames_a_detector_cannot_want_yet_are_not_prepared(rig: CameraRig) -> None:
    rig.add("front", CameraConfig(source="testcard", size=(80, 64), fps=100))
    link = rig.attach("front")
    while (frame := link.poll(0.05)) is None or frame.frame < 20:
        if frame is not None:
            link.ring.give_back(frame)
    ready_ns = time.monotonic_ns() + 500 * MS
    link.ring.give_back(frame, ready_ns)
    frame = link.next()
    while frame.captured_ns < ready_ns - 400 * MS:
        # Sent before the word about the half second arrived.
        link.ring.give_back(frame, ready_ns)
        frame = link.next()
    # The last one that can be ready in time: no more than two periods of 10 ms and a busy machine's hiccup old.
    assert frame.captured_ns > ready_ns - 300 * MS


def test_the_rate_is_capped(rig: CameraRig, clip: Path) -> None:
    rig.add("c", CameraConfig(source=str(clip), fps=20, loop=True))
    frames = rig.attach("c").take(10)
    gaps = [b.frame - a.frame for a, b in pairwise(frames)]
    assert 4 <= np.median(gaps) <= 6
    while not rig.until(CameraStats).drops.get("fps_cap"):
        continue


def test_the_lowest_cap_wins_and_is_taken_up_at_once(rig: CameraRig, clip: Path) -> None:
    rig.add("c", CameraConfig(source=str(clip), loop=True))
    link = rig.attach("c")
    link.take(3)
    # A frame in 1000 s is none: whatever comes behind it shows that the cap is gone. The source gives 100 a second.
    for max_fps, config_fps, lowest in ((10.0, None, 10), (0.0, 20, 20), (40.0, 10, 10), (10.0, 50, 10)):
        for hub_fps, own_fps in ((0.001, config_fps), (max_fps, 0.001)):
            rig.limit("c", max_fps=hub_fps)
            rig.add("c", CameraConfig(source=str(clip), fps=own_fps, loop=True))
            while (frame := link.poll(0.3)) is not None:
                link.ring.give_back(frame)
        rig.add("c", CameraConfig(source=str(clip), fps=config_fps, loop=True))
        frames = link.take(9)
        # Eight intervals, but for the one that a frame may be early.
        assert (frames[-1].captured_ns - frames[0].captured_ns) / 1e9 >= 7 / lowest
    assert sum(isinstance(m, CameraOpened) for m in rig.messages) == 1
    assert not any(isinstance(m, CameraLost) for m in rig.messages)


def test_the_test_card_takes_up_its_rate_while_it_waits_for_a_frame(rig: CameraRig) -> None:
    # Frames 1000 s apart: the next one is not waited for.
    rig.add("front", CameraConfig(source="testcard", size=(80, 64), fps=0.001))
    link = rig.attach("front")
    rig.until(CameraOpened, fps=0.001)
    rig.add("front", CameraConfig(source="testcard", size=(80, 64), fps=50))
    assert rig.until(CameraOpened, fps=50.0).detail == "test card, 80x64 at 50 frames/s"
    numbers = [f.frame for f in link.take(10)]
    assert numbers == sorted(set(numbers))
    # The numbers count on: it is the same opening.
    assert numbers[0] <= 3
    assert not any(isinstance(m, CameraLost) for m in rig.messages)


def test_a_file_played_live_starts_with_its_first_link_and_ends(rig: CameraRig, folder: Path) -> None:
    rig.add("f", CameraConfig(source=f"images:{folder}", fps=50))
    assert rig.until(CameraOpened).live is False
    # Longer than it plays.
    time.sleep(0.5)
    assert rig.seen(CameraEnded) is None
    frames = rig.attach("f").drain()
    assert frames[0].frame == 1
    ended = rig.seen(CameraEnded)
    assert ended is not None
    assert ended.frames == 10


def test_live_numbers_go_on_in_a_new_worker(rig: CameraRig) -> None:
    rig.add("front", CameraConfig(source="testcard", size=(80, 64)), resume_after=500)
    assert rig.attach("front").next().frame > 500


# ---- losing and finding


def test_a_missing_file_is_told_in_words_and_found_later(rig: CameraRig, tmp_path: Path, folder: Path) -> None:
    rig.add("f", every(tmp_path / "later"))
    lost = rig.until(CameraLost)
    assert (lost.camera, lost.cause) == ("f", "open")
    assert lost.reason == f"the folder {tmp_path}/later does not exist"
    assert 0 < lost.retry_s <= 0.25
    folder.rename(tmp_path / "later")
    rig.until(CameraOpened)
    assert [f.frame for f in rig.attach("f").drain()] == list(range(1, 11))


@pytest.mark.parametrize(
    ("contents", "words"),
    [(None, "does not exist"), (b"", "is empty"), (b"no video" * 100, "not a video that FFmpeg can decode")],
)
def test_what_is_wrong_with_a_video(rig: CameraRig, tmp_path: Path, contents: bytes | None, words: str) -> None:
    file = tmp_path / "clip.mp4"
    if contents is not None:
        file.write_bytes(contents)
    rig.add("f", CameraConfig(source=str(file)))
    lost = rig.until(CameraLost)
    assert words in lost.reason
    assert str(file) in lost.reason


def test_attempts_become_rarer(rig: CameraRig, tmp_path: Path) -> None:
    rig.add("f", every(tmp_path / "never", max_backoff=0.5))
    waits = [rig.until(CameraLost).retry_s for _ in range(4)]
    assert waits[0] <= 0.25
    assert all(0.375 <= wait <= 0.5 for wait in waits[1:])


# ---- snapshots


def test_snapshot_of_the_newest_inferred_frame(rig: CameraRig) -> None:
    rig.add("front", CameraConfig(source="testcard", size=(320, 240), pace="every"))
    link = rig.attach("front")
    link.take(5)
    results = [Overlay(frame=n, boxes=[((0.1, 0.1, 0.9, 0.9), "person", 0.9)]) for n in (3, 4, 5)]
    answer, data = rig.snapshot("front", results)
    assert (answer.request, answer.frame, answer.width, answer.height, answer.error) == (7, 5, 320, 240, "")
    plain = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(plain.astype(int) - TestCard(320, 240).render(5)[0]).mean() < 5
    answer, data = rig.snapshot("front", results, annotate=True)
    drawn = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(drawn.astype(int) - plain).max() > 50
    # The frame itself was not drawn on.
    answer, data = rig.snapshot("front", results)
    assert np.array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), plain)


def test_snapshot_after_the_end(rig: CameraRig, folder: Path) -> None:
    rig.add("f", every(folder))
    rig.attach("f").drain()
    answer, data = rig.snapshot("f", [Overlay(frame=10, boxes=[])])
    assert answer.frame == 10
    assert int(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).mean()) == pytest.approx(200, abs=2)


def test_no_snapshot_is_said_in_words(rig: CameraRig) -> None:
    rig.add("front", CameraConfig(source="testcard", size=(80, 64)))
    assert "holds no inferred frame" in rig.snapshot("front", [Overlay(frame=10**9, boxes=[])])[0].error
    assert rig.snapshot("back", [])[0].error == "there is no camera back"


# ---- the process


def test_several_cameras_in_one_process(rig: CameraRig, folder: Path) -> None:
    rig.add("a", every(folder))
    rig.add("b", CameraConfig(source="testcard", size=(80, 64), fps=50))
    rig.add("c", every(folder / "none"))
    a, b = rig.attach("a"), rig.attach("b")
    held = a.next()
    # Neither a detector that holds on to a's frames nor c's absence delays b.
    b.take(10)
    rig.until(CameraLost, camera="c")
    a.ring.give_back(held)
    assert [f.frame for f in a.take(9)] == list(range(2, 11))
    rig.until(CameraEnded, camera="a")
    assert len({rig.lane(camera) for camera in "abc"} | {0}) == 4
    assert rig.stage("a") is Stage.ENDED
    assert rig.stage("c") in (Stage.BACKOFF, Stage.OPEN)


def test_a_lane_is_used_again_only_when_its_thread_has_ended(rig: CameraRig) -> None:
    rig.add("a", CameraConfig(source="testcard", size=(80, 64)))
    rig.add("b", CameraConfig(source="testcard", size=(80, 64)))
    first = rig.lane("a")
    link = rig.attach("a")
    link.take(2)
    rig.remove("a")
    wait_for_close(link)
    # Its rings are the last that the thread closes; the lane is free once it is gone altogether.
    for n in range(100):
        rig.add(f"c{n}", CameraConfig(source="testcard", size=(80, 64)))
        lane = rig.until(CameraLane, camera=f"c{n}").lane
        assert lane != rig.lane("b")
        if lane == first:
            break
        rig.remove(f"c{n}")
    assert lane == first


def test_a_removed_camera_closes_its_rings(rig: CameraRig) -> None:
    rig.add("front", CameraConfig(source="testcard", size=(80, 64), fps=50))
    link = rig.attach("front")
    link.take(2)
    rig.remove("front")
    wait_for_close(link)
    rig.check()
    rig.add("front", CameraConfig(source="testcard", size=(80, 64), fps=50))
    rig.attach("front").take(2)


def wait_for_close(link: RigLink) -> None:
    with pytest.raises(RingClosed):
        for _ in range(1000):
            # Given back: a ring that is full of frames is not read, and its end not seen.
            frame = link.poll(0.1)
            if frame is not None:
                link.ring.give_back(frame)


def test_a_detached_ring_is_closed(rig: CameraRig) -> None:
    rig.add("front", CameraConfig(source="testcard", size=(80, 64), fps=50))
    link = rig.attach("front")
    link.take(2)
    rig.detach(link)
    wait_for_close(link)


def test_settings_that_concern_the_picture_reopen_the_camera(rig: CameraRig, folder: Path) -> None:
    rig.add("f", every(folder))
    link = rig.attach("f")
    rig.until(CameraOpened, width=64)
    link.take(4)
    rig.add("f", every(folder, rotate=90))
    rig.until(CameraOpened, width=48)
    assert [f.frame for f in link.drain()] == list(range(5, 11))


def test_settings_of_the_detector_do_not(rig: CameraRig) -> None:
    rig.add("front", CameraConfig(source="testcard", size=(80, 64), fps=50))
    link = rig.attach("front")
    link.take(2)
    rig.add("front", CameraConfig(source="testcard", size=(80, 64), fps=50, priority=3))
    link.take(10)
    rig.check()
    assert sum(isinstance(m, CameraOpened) for m in rig.messages) == 1


def test_exit(rig: CameraRig, folder: Path) -> None:
    rig.add("front", CameraConfig(source="testcard", size=(80, 64)))
    rig.add("f", every(folder))
    rig.attach("front").take(2)
    assert rig.exit() == 0


def test_the_hubs_end_is_the_workers(rig: CameraRig) -> None:
    rig.add("front", CameraConfig(source="testcard", size=(80, 64)))
    rig.attach("front").take(2)
    rig.channel.close()
    assert rig.process.wait(90) == 0


def test_the_main_thread_gives_signs_of_life(rig: CameraRig) -> None:
    rig.add("front", CameraConfig(source="testcard", size=(80, 64)))
    rig.until(CameraOpened)
    lane = rig.progress.lane(0)
    seen = set()
    deadline_s = time.monotonic() + 90
    while len(seen) < 4:
        stage, since_ns = lane.read()
        assert stage is Stage.WAIT
        seen.add(since_ns)
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_the_terminals_interrupt_is_not_the_workers(rig: CameraRig) -> None:
    rig.add("front", CameraConfig(source="testcard", size=(80, 64), fps=50))
    link = rig.attach("front")
    link.take(2)
    os.kill(rig.process.pid, signal.SIGINT)
    link.take(5)


def test_a_test_card_that_is_too_small(rig: CameraRig) -> None:
    rig.add("front", CameraConfig(source="testcard", size=(32, 32)))
    lost = rig.until(CameraLost)
    assert lost.cause == "open"
    assert "32x32" in lost.reason
