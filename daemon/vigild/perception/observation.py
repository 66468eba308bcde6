"""One inferred frame on its way through the chain."""

from __future__ import annotations

import msgspec

from vigild.ipc.messages import RawDetection, Result


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen on one frame, as far as the steps so far leave it."""

    camera: str
    frame: int
    captured_ns: int
    """CLOCK_MONOTONIC."""
    wall_ns: int
    """CLOCK_REALTIME, for people."""
    width: int
    height: int
    """Of the upright frame, in pixels."""
    detections: list[RawDetection]
    """Best first."""
    truncated: bool = False
    """There were more than are kept."""


def observed(result: Result) -> Observation:
    """As it comes from the detector: everything above the model's own threshold, bounded."""
    return Observation(
        camera=result.camera,
        frame=result.frame,
        captured_ns=result.captured_ns,
        wall_ns=result.wall_ns,
        width=result.width,
        height=result.height,
        detections=result.detections,
        truncated=result.truncated,
    )
