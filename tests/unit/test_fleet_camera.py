"""The status of a camera: "nothing there" and "did not look" are never confused."""

from __future__ import annotations

import msgspec

from vigild.config.schema import CameraConfig
from vigild.fleet.camera import Camera
from vigild.ipc.messages import CameraOpened, CameraStats, Result

SECOND_NS = 1_000_000_000


def opened(fps: float = 30.0, live: bool = True) -> CameraOpened:
    return CameraOpened(camera="front", width=640, height=480, fps=fps, live=live, detail="")


def result(frame: int) -> Result:
    return Result(
        link=1, camera="front", frame=frame, captured_ns=0, wall_ns=0, width=640, height=480, decode_ns=0,
        convert_ns=0, wait_ns=0, copy_ns=0, invoke_ns=0, post_ns=0, detections=[],
    )  # fmt: skip


def looking(now_s: float = 100.0, **config: object) -> Camera:
    camera = Camera("front", CameraConfig(source="/dev/video0", **config))  # type: ignore[arg-type]
    camera.opened(opened(), 0)
    for i in range(10):
        camera.result(result(i + 1), int((now_s - (9 - i) / 30) * SECOND_NS))
    return camera


def status(camera: Camera, now_s: float, detectors_ok: bool = True) -> str:
    return camera.status(int(now_s * SECOND_NS), detectors_ok)


def test_before_it_was_opened_there_is_no_frame() -> None:
    assert status(Camera("front", CameraConfig(source="x")), 100) == "no_frame"


def test_each_state() -> None:
    camera = looking()
    assert status(camera, 100) == "ok"
    assert status(camera, 100, detectors_ok=False) == "degraded"
    assert status(camera, 101.1) == "stale"
    camera.limits = camera.limits.held("client", "asked")
    assert status(camera, 101.1) == "paused"
    camera.limits = camera.limits.released("client")
    camera.lost("unplugged", 0)
    assert status(camera, 100) == "no_frame"
    camera.opened(opened(), 0)
    camera.ended = True
    assert status(camera, 100) == "no_frame"


def test_stale_is_three_periods_of_a_slow_camera() -> None:
    camera = looking()
    camera.opened(opened(fps=0.5), 0)
    assert status(camera, 105) == "ok"
    assert status(camera, 106.1) == "stale"


def test_below_the_rate_that_was_asked_for_is_degraded() -> None:
    assert status(looking(fps=30), 100) == "ok"
    assert status(looking(fps=60), 100) == "degraded"


def test_a_rate_is_judged_only_once_there_is_one() -> None:
    camera = Camera("front", CameraConfig(source="/dev/video0", fps=0.5))
    camera.opened(opened(fps=0.5), 0)
    for second in (100, 102, 104):
        camera.result(result(second), second * SECOND_NS)
        assert status(camera, second) == "ok"
        assert status(camera, second + 1.9) == "ok", "the next frame is not due yet"


def test_a_frame_that_was_sent_again_counts_once() -> None:
    camera = looking()
    assert not camera.result(result(10), 101 * SECOND_NS)
    assert camera.result(result(11), 101 * SECOND_NS)
    assert camera.duplicates == 1


def test_counters_survive_the_death_of_the_worker() -> None:
    camera = looking()
    camera.stats(CameraStats(camera="front", grabbed=100, delivered=60, drops={"no_credit": 40}), SECOND_NS)
    camera.worker_died(0)
    camera.stats(CameraStats(camera="front", grabbed=10, delivered=8, drops={"no_credit": 2}), 2 * SECOND_NS)
    assert camera.drops() == {"no_credit": 42}
    camera.worker_died(0)
    assert camera.drops() == {"no_credit": 42}
    camera.result(msgspec.structs.replace(result(11), superseded=3), 101 * SECOND_NS)
    assert camera.drops() == {"no_credit": 42, "superseded": 3}


def test_the_rate_of_the_source_comes_from_its_counter() -> None:
    camera = looking()
    for second in range(1, 4):
        camera.stats(CameraStats(camera="front", grabbed=25 * second, delivered=0, drops={}), second * SECOND_NS)
    assert camera.fps == 25.0


def test_a_cap_below_what_the_source_may_give_is_degraded_also_where_nobody_has_said_how_much_that_is() -> None:
    camera = looking()
    camera.opened(opened(fps=0.0), 0)
    assert status(camera, 100) == "ok"
    camera.limits = camera.limits.capped("governor", 2.0)
    assert status(camera, 100) == "degraded"
    for second in range(1, 4):
        camera.stats(CameraStats(camera="front", grabbed=25 * second, delivered=0, drops={}), second * SECOND_NS)
    assert status(camera, 100) == "degraded"
    camera.limits = camera.limits.capped("governor", 30.0)
    assert status(camera, 100) == "ok", "by its counter it gives 25"


def test_a_file_that_is_read_at_full_speed_may_give_more_than_any_cap() -> None:
    camera = looking()
    camera.opened(opened(fps=25.0, live=False), 0)
    camera.limits = camera.limits.capped("governor", 30.0)
    assert status(camera, 100) == "degraded"
    camera.config = msgspec.structs.replace(camera.config, fps=25.0)
    assert status(camera, 100) == "ok"
