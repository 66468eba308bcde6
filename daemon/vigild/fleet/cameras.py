"""One camera as the hub sees it: settings, state, counters, the last results.

camera = Camera("front", CameraConfig(source="/dev/video0"))
camera.result(result, now_ns)
camera.status(now_ns, detector_ok=True)        # "ok", "degraded", "stale", "no_frame", "paused"
"""

from __future__ import annotations

from collections import Counter, deque
from pathlib import Path
from typing import Literal

from vigild.config.schema import CameraConfig
from vigild.config.source import parse_source
from vigild.fleet.metrics import Rate
from vigild.ipc.messages import CameraOpened, CameraStats, Result

Status = Literal["ok", "degraded", "stale", "no_frame", "paused"]

STALE_FLOOR_S = 1.0
STALE_PERIODS = 3.0
"""A result older than 3 frame periods, but at least 1 s, no longer says what is there now."""

WANTED_RATE_FRACTION = 0.8
"""Below this share of the frame rate that was asked for, a camera is degraded."""

HELD_RESULTS = 4
"""Results kept for drawing on a snapshot: as many as frames may be on the way."""


class Camera:
    """State of one camera. Times are monotonic nanoseconds given by the caller."""

    def __init__(self, name: str, config: CameraConfig) -> None:
        self.name = name
        self.config = config
        self.paused = False
        self.source: CameraOpened | None = None
        self.file = ""
        """The video file that is read; of a folder each result names its own."""
        self.reason = "not opened yet"
        self.ended = False
        self.last_frame = 0
        self.passed_over = 0
        """Number of the last frame before the present source began."""
        self.duplicates = 0
        self.superseded = 0
        """Frames that the detector passed over for a newer one."""
        self.last_result_ns = 0
        self.opened_ns = 0
        self.recent: deque[Result] = deque(maxlen=HELD_RESULTS)
        self.grabbed_rate = Rate()
        self.inferred_rate = Rate()
        self.inferred = 0
        self.told: Status | None = None
        """The status clients were told last."""
        self._counted: CameraStats | None = None
        self._before: Counter[str] = Counter()
        self._fps = 0.0
        self._fps_from: tuple[int, int] = (0, 0)

    # ---- what happens to it

    def opened(self, source: CameraOpened) -> None:
        self.source = source
        self.passed_over = source.passed_over
        parsed = parse_source(self.config.source)
        self.file = Path(parsed.target).name if parsed.kind == "file" else ""
        self.reason = ""
        self.ended = False

    def lost(self, reason: str) -> None:
        self.source = None
        self.reason = reason

    def moved(self, config: CameraConfig) -> None:
        """Another process takes over, with these settings."""
        self.worker_died()
        self.lost("is being opened by another process")
        self.config = config
        self.ended = False

    def worker_died(self) -> None:
        """Its process ended: counters of the next one start at zero."""
        if self._counted is not None:
            self._before.update(self._counted.drops)
            self._before["grabbed"] += self._counted.grabbed
            self._counted = None
        if self.source is not None:
            self.lost("its worker died")

    def stats(self, stats: CameraStats, now_ns: int) -> None:
        if self._counted is not None and now_ns > self._fps_from[1]:
            self._fps = (stats.grabbed - self._fps_from[0]) / ((now_ns - self._fps_from[1]) / 1e9)
        self._fps_from = (stats.grabbed, now_ns)
        self._counted = stats

    def result(self, result: Result, now_ns: int) -> bool:
        """Take in a result; False if this frame had one already (it was sent again after a fault)."""
        if result.frame <= self.last_frame:
            self.duplicates += 1
            return False
        self.superseded += result.superseded
        self.last_frame = result.frame
        self.last_result_ns = now_ns
        self.inferred += 1
        self.inferred_rate.tick(now_ns / 1e9)
        self.recent.append(result)
        return True

    # ---- what it is

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the upright frame, once known."""
        if self.source is not None:
            return self.source.width, self.source.height
        return (self.recent[-1].width, self.recent[-1].height) if self.recent else None

    @property
    def fps(self) -> float:
        """Frames per second that the source gives."""
        return self._fps

    def drops(self) -> dict[str, int]:
        """Frames that were not inferred, by cause, since the daemon started."""
        total = Counter(self._before)
        del total["grabbed"]
        if self._counted is not None:
            total.update(self._counted.drops)
        total["superseded"] += self.superseded
        return {cause: count for cause, count in total.items() if count}

    def stale_after_s(self) -> float:
        fps = self.config.fps or (self.source.fps if self.source else 0.0)
        return max(STALE_FLOOR_S, STALE_PERIODS / fps if fps > 0 else 0.0)

    def status(self, now_ns: int, detector_ok: bool) -> Status:
        """What a client may conclude from the last result."""
        if self.paused:
            return "paused"
        if self.source is None or self.ended:
            return "no_frame"
        if (now_ns - self.last_result_ns) / 1e9 > self.stale_after_s():
            return "stale"
        if not detector_ok:
            return "degraded"
        wanted, rate = self.config.fps, self.inferred_rate.between()
        if wanted and self.source.live and rate is not None and rate < WANTED_RATE_FRACTION * wanted:
            return "degraded"
        return "ok"
