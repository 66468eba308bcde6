"""One camera as the fleet sees it: settings, limits, state, counters.

camera = Camera("front", CameraConfig(source="/dev/video0"))
camera.result(result, now_ns)
camera.status(now_ns, detectors_ok=True)       # "ok", "degraded", "stale", "no_frame", "paused"
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Literal

from vigild.config.schema import CameraConfig
from vigild.config.source import parse_source
from vigild.fleet.limits import Limits
from vigild.fleet.metrics import Rate
from vigild.ipc.messages import CameraOpened, CameraStats, Result

Status = Literal["ok", "degraded", "stale", "no_frame", "paused"]

STALE_FLOOR_S = 1.0
STALE_PERIODS = 3.0
"""A result older than 3 frame periods, but at least 1 s, no longer says what is there now."""

WANTED_RATE_FRACTION = 0.8
"""Below this share of the frame rate that was asked for, a camera is degraded."""


class Camera:
    """State of one camera. Times are monotonic nanoseconds given by the caller."""

    def __init__(self, name: str, config: CameraConfig) -> None:
        self.name = name
        self.config = config
        self.limits = Limits()
        self.source: CameraOpened | None = None
        self.file = ""
        """The video file that is read; of a folder each result names its own."""
        self.reason = "is being opened"
        self.ended = False
        self.last_frame = 0
        self.passed_over = 0
        """Number of the last frame before the present source began."""
        self.duplicates = 0
        self.superseded = 0
        """Frames that the detector passed over for a newer one."""
        self.last_result_ns = 0
        self._lost_ns = 0
        self._delivers = False
        """A frame taken after the last loss was inferred: its source is open, though "opened" is still unread."""
        self._seen_size: tuple[int, int] | None = None
        self.grabbed_rate = Rate()
        self.inferred_rate = Rate()
        self.inferred = 0
        self.bad_outputs = 0
        """Frames that the network ran on in vain: its outputs had no meaning."""
        self.lost_files = 0
        """Pictures of the source that could not be read."""
        self._counted: CameraStats | None = None
        self._before: Counter[str] = Counter()
        self._fps = 0.0
        self._fps_from: tuple[int, int] = (0, 0)

    # ---- what happens to it

    def opened(self, source: CameraOpened, now_ns: int) -> None:
        self.source = source
        # Its first result may take a moment: until then it is not stale.
        self.last_result_ns = max(self.last_result_ns, now_ns)
        self.passed_over = source.passed_over
        parsed = parse_source(self.config.source)
        self.file = Path(parsed.target).name if parsed.kind == "file" else ""
        self.reason = ""
        self.ended = False

    def lost(self, reason: str, now_ns: int) -> None:
        self.source = None
        self.reason = reason
        self._lost_ns = now_ns
        self._delivers = False

    def moved(self, config: CameraConfig, now_ns: int) -> None:
        """Another process takes over, with these settings."""
        self.worker_died(now_ns)
        self.lost("is being opened by another process", now_ns)
        self.config = config
        self.ended = False

    def worker_died(self, now_ns: int) -> None:
        """Its process ended: counters of the next one start at zero."""
        if self._counted is not None:
            self._before.update(self._counted.drops)
            self._before["grabbed"] += self._counted.grabbed
            self._counted = None
        if self.source is not None or self._delivers:
            self.lost("its worker died", now_ns)

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
        self._delivers = result.captured_ns > self._lost_ns
        self.inferred += 1
        self.inferred_rate.tick(now_ns / 1e9)
        self._seen_size = result.width, result.height
        return True

    def inferred_in_vain(self, result: Result) -> None:
        """The network ran, but nothing can be said of the frame: it counts as not looked at."""
        self.last_frame = max(self.last_frame, result.frame)
        self.bad_outputs += 1
        self.reason = result.fault

    # ---- what it is

    def why(self) -> str:
        """Why it is not what it should be; empty when nothing is known against it."""
        if self.limits.holds:
            return "; ".join(f"held by {who}: {why}" for who, why in self.limits.holds.items())
        if self.reason:
            return self.reason
        felt = {who: cap for who, cap in self.limits.caps.items() if cap < self._offered_fps()}
        return "; ".join(f"capped at {cap:.3g} fps by {who}" for who, cap in felt.items())

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the upright frame, once known."""
        if self.source is not None:
            return self.source.width, self.source.height
        return self._seen_size

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
        total["bad_output"] += self.bad_outputs
        return {cause: count for cause, count in total.items() if count}

    def wanted_fps(self) -> float:
        """Frames a second that are to be inferred: as configured or as the source gives, capped; 0: unknown."""
        fps = self.config.fps or (self.source.fps if self.source else 0.0)
        cap = self.limits.max_fps
        return fps if cap is None else min(fps or cap, cap)

    def _offered_fps(self) -> float:
        """Frames a second that could be inferred if nothing capped them; endless where nobody has said or seen how many
        there are, and of a file, which is read as fast as the detector goes."""
        if self.config.fps:
            return self.config.fps
        if self.source is None or not self.source.live:
            return math.inf
        return self.source.fps or self._fps or math.inf

    def stale_after_s(self) -> float:
        fps = self.wanted_fps()
        return max(STALE_FLOOR_S, STALE_PERIODS / fps if fps > 0 else 0.0)

    def status(self, now_ns: int, detectors_ok: bool) -> Status:
        """What a client may conclude from the last result."""
        if not self.limits.runs:
            return "paused"
        if self.ended or (self.source is None and not self._delivers):
            return "no_frame"
        age_s = (now_ns - self.last_result_ns) / 1e9
        if age_s > STALE_FLOOR_S and age_s > self.stale_after_s():
            return "stale"
        if not detectors_ok or self._below_what_is_wanted():
            return "degraded"
        return "ok"

    def _below_what_is_wanted(self) -> bool:
        cap, source = self.limits.max_fps, self.source
        if cap is not None and cap < self._offered_fps():
            return True
        if not self.config.fps or source is None or not source.live:
            return False
        rate = self.inferred_rate.between()
        return rate is not None and rate < WANTED_RATE_FRACTION * self.wanted_fps()
