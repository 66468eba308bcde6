"""What keeps a camera's frames back: holds, and caps on their rate.

    limits = Limits()
    limits.hold(["client"]); limits.cap("hub", 5.0)
    if not limits.held and limits.due(now_ns, period_ns):
        limits.passed(now_ns, period_ns)             # a frame went

A camera delivers when nobody holds it, and the lowest cap wins. Pure: no clock. Times are
monotonic nanoseconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

HOLD_CAUSES = {"client": "paused"}
"""The causes under which frames are counted that a hold keeps back. Any other hold NAME counts as held_NAME."""


class Limits:
    """The holds and caps of one camera, and when its next frame is due."""

    def __init__(self) -> None:
        self._holds: tuple[str, ...] = ()
        self._caps: dict[str, float] = {}
        self._last_ns = -math.inf
        """When the last frame went, or should have gone to keep the rate."""

    # ---- what is asked for

    def hold(self, names: Iterable[str]) -> None:
        """Exactly these hold it from now on; none: it delivers."""
        # What a client asked for is what a client wants to read, whoever else holds the camera too.
        self._holds = tuple(sorted(names, key=lambda name: (name != "client", name)))

    def cap(self, name: str, fps: float) -> None:
        """`name` allows at most `fps` frames a second from now on; 0: it sets no cap."""
        if fps > 0:
            self._caps[name] = fps
        else:
            self._caps.pop(name, None)

    # ---- what follows

    @property
    def held(self) -> bool:
        """Whether nothing may go at all."""
        return bool(self._holds)

    @property
    def hold_cause(self) -> str | None:
        """The cause of drops that the holds make; None without one."""
        if not self._holds:
            return None
        return HOLD_CAUSES.get(self._holds[0], f"held_{self._holds[0]}")

    @property
    def interval_ns(self) -> float:
        """The least time between two frames on average; 0 without a cap."""
        return 1e9 / min(self._caps.values()) if self._caps else 0.0

    def due_in_s(self, now_ns: int) -> float:
        """Seconds until the caps let the next frame go; 0 or less: now."""
        interval_ns = self.interval_ns
        return (self._last_ns + interval_ns - now_ns) / 1e9 if interval_ns else 0.0

    def due(self, now_ns: int, period_ns: float) -> bool:
        """Whether the caps let a frame of now go, if the source gives one every `period_ns`."""
        # Half a period early is on time: the next frame would be half a period late.
        return self.due_in_s(now_ns) <= period_ns / 2e9

    def passed(self, now_ns: int, period_ns: float) -> None:
        """A frame went."""
        # A frame that was late does not move the next one, but a pause is not caught up with.
        self._last_ns = max(self._last_ns + self.interval_ns, now_ns - period_ns / 2)
