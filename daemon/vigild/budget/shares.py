"""A rate of all cameras together, divided among them.

    divide(12.0, [Camera(name="front", priority=2, wanted_fps=15), Camera(name="back", wanted_fps=15)], min_fps=1.0)
    # {"front": 7.7, "back": 4.3}

Each gets the floor, the rest by priority; what one does not want goes to the others, as the kernel's power allocator
gives surplus back. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from vigild.budget.operating_points import Camera

FPS_STEP = 0.1
"""Caps are rounded down to this: finer ones are not seen and not read."""


def divide(rate: float, cameras: Sequence[Camera], min_fps: float) -> dict[str, float]:
    """Frames a second for each camera; their sum is at most `rate`, unless the floors alone are more."""
    wanted = {camera.name: math.inf if camera.wanted_fps is None else camera.wanted_fps for camera in cameras}
    given = {name: min(min_fps, most) for name, most in wanted.items()}
    left = rate - sum(given.values())
    open_ = [camera for camera in cameras if given[camera.name] < wanted[camera.name]]
    while left > 1e-9 and open_:
        weight = sum(camera.priority for camera in open_)
        share = {camera.name: left * camera.priority / weight for camera in open_}
        filled = [camera for camera in open_ if wanted[camera.name] - given[camera.name] <= share[camera.name]]
        if not filled:
            for camera in open_:
                given[camera.name] += share[camera.name]
            break
        for camera in filled:
            left -= wanted[camera.name] - given[camera.name]
            given[camera.name] = wanted[camera.name]
        open_ = [camera for camera in open_ if camera not in filled]
    floors = {name: min(min_fps, most) for name, most in wanted.items()}
    return {name: max(math.floor(fps / FPS_STEP + 1e-6) * FPS_STEP, floors[name]) for name, fps in given.items()}
