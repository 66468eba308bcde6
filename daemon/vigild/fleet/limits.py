"""How much of a camera is wanted: who holds it, and who caps its rate. Pure.

    limits = Limits()
    limits = limits.capped("governor", 8.0).held("client", "asked by a client")
    limits.max_fps, limits.holds            # 8.0, {"client": "asked by a client"}
    limits = limits.released("client")

A camera runs when nobody holds it; the lowest cap wins; each is undone only by who set it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Holder = Literal["client", "governor", "schedule", "gate"]
"""Who may hold or cap a camera: a client's `pause`, the budgets, the hours of a schedule, another camera's state."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Of one camera."""

    caps: dict[Holder, float] = {}
    """Frames a second at most, by who says so."""
    holds: dict[Holder, str] = {}
    """Who keeps the camera from running, and why."""

    @property
    def max_fps(self) -> float | None:
        """The lowest cap; None when there is none."""
        return min(self.caps.values()) if self.caps else None

    @property
    def runs(self) -> bool:
        return not self.holds

    def capped(self, who: Holder, max_fps: float | None) -> Limits:
        """With this cap of `who`, or with none of theirs."""
        caps = {holder: cap for holder, cap in self.caps.items() if holder != who}
        if max_fps is not None:
            caps[who] = max_fps
        return msgspec.structs.replace(self, caps=caps)

    def held(self, who: Holder, why: str) -> Limits:
        """Held by `who` (too)."""
        return msgspec.structs.replace(self, holds={**self.holds, who: why})

    def released(self, who: Holder) -> Limits:
        """No longer held by `who`; others' holds stay."""
        return msgspec.structs.replace(self, holds={h: why for h, why in self.holds.items() if h != who})
