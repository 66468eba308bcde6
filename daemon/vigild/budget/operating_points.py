"""What the governor moves along: operating points, and the ladder of what is given up, in order.

    points = [OperatingPoint(variant="int8-300", threads=4, capacity_fps=18.0),
              OperatingPoint(variant="int8-300", threads=2, cost=0.88, capacity_fps=10.5)]
    ladder = build(points, [Camera(name="front", wanted_fps=15.0)], GIVE_UP, min_fps=1.0)
    ladder.rungs[0]                    # everything that is wanted
    ladder.rungs[-1].cameras           # (): pause

Load is counted in frames a second of the first point, "reference frames": a frame of another point counts
`cost` of them. It is what heats the board, so it stays the same when the governor goes from rung to rung, and
only what is made of it changes. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import msgspec

Means = Literal["fps", "threads", "variant", "cameras", "pause"]
"""What may be given up."""

GIVE_UP: tuple[Means, ...] = get_args(Means)
"""All of it, in the order in which it hurts least."""

SAVES = 0.97
"""A point that takes more than this part of another's cost for a frame saves nothing that shows."""


class OperatingPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One way of running the detector."""

    variant: str
    threads: int = 1
    delegate: str = "auto"
    cost: float = 1.0
    """What one frame takes (CPU time or energy), relative to the first point's."""
    capacity_fps: float = math.inf
    """Frames a second that it carries for long, all detectors together; inf while nothing is known."""
    model: str = ""
    """Its name: what was learned of one says nothing of another with variants of the same names."""

    def __str__(self) -> str:
        return f"{self.variant} on {self.threads} thread{'' if self.threads == 1 else 's'}"


class Camera(msgspec.Struct, frozen=True, kw_only=True):
    """What the governor has to know of a camera."""

    name: str
    priority: float = 1.0
    wanted_fps: float | None = None
    """The cap that the user set or the rate that the source gives; None: as many as the detector carries."""
    measured_fps: float = 0.0
    """Frames a second of it that were inferred lately."""
    pace: Literal["live", "every"] = "live"


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the ladder. On it the rate of all its cameras together lies between two bounds."""

    point: OperatingPoint
    cameras: tuple[str, ...]
    gives_up: Means
    """What this rung has less of than the one above it; "fps" on the first."""
    stage: int
    """Rungs that differ by threads alone are one stage: between them latency is given up, not frames."""
    floor_fps: float
    full_fps: float

    @property
    def floor_load(self) -> float:
        return self.floor_fps * self.point.cost

    @property
    def full_load(self) -> float:
        return self.full_fps * self.point.cost

    def rate(self, load: float) -> float:
        """The frames a second that `load` buys here, within the rung's bounds."""
        return min(max(load / self.point.cost, self.floor_fps), self.full_fps)


class Ladder(msgspec.Struct, frozen=True, kw_only=True):
    """From all that is wanted down to the least that may be left."""

    rungs: tuple[Rung, ...]

    @property
    def full_load(self) -> float:
        """Reference frames a second of all the work that is wanted."""
        return self.rungs[0].full_load

    def stage(self, number: int) -> range:
        """The rungs of a stage."""
        own = [index for index, rung in enumerate(self.rungs) if rung.stage == number]
        return range(own[0], own[-1] + 1)


def build(
    points: Sequence[OperatingPoint], cameras: Sequence[Camera], give_up: Sequence[Means], min_fps: float
) -> Ladder:
    """The ladder for these points and cameras.

    `points`: the wanted one first, with cost 1; then what the user's floors allow, the better before the lesser.
    `cameras` may be empty. What is not in `give_up` is kept whatever the temperature; without "fps" a camera that
    runs has the rate that is wanted.

    Raises ValueError without a point.
    """
    if not points:
        raise ValueError("a ladder needs at least one operating point")
    running = tuple(camera.name for camera in cameras)
    steps: list[tuple[Means, OperatingPoint, tuple[str, ...]]] = [("fps", points[0], running)]
    for means in give_up:
        _, point, running = steps[-1]
        if means == "threads":
            steps += [("threads", fewer, running) for fewer in _fewer_threads(points, point)]
        elif means == "variant":
            steps += [("variant", lighter, running) for lighter in _lighter(points, point)]
        elif means == "cameras":
            for last in sorted(cameras, key=lambda camera: camera.priority)[: len(running) - 1]:
                running = tuple(name for name in running if name != last.name)
                steps.append(("cameras", point, running))
        elif means == "pause" and running:
            steps.append(("pause", point, ()))
    by_name = {camera.name: camera for camera in cameras}
    rungs: list[Rung] = []
    for means, point, names in steps:
        full = _full([by_name[name] for name in names], point)
        floor = min(min_fps * len(names), full) if "fps" in give_up else full
        stage = rungs[-1].stage + (means != "threads") if rungs else 0
        rung = Rung(point=point, cameras=names, gives_up=means, stage=stage, floor_fps=floor, full_fps=full)
        # One that cannot go below the one above it gives nothing up: its floors are what it can carry.
        if not rungs or rung.floor_load <= rungs[-1].floor_load or "fps" not in give_up:
            rungs.append(rung)
    return Ladder(rungs=tuple(rungs))


UNKNOWN_FPS = 30.0
"""Of a camera whose rate nobody has said, on a detector whose speed nobody has measured."""


def _full(cameras: Sequence[Camera], point: OperatingPoint) -> float:
    """The most frames a second that these cameras have and the point carries."""
    if not cameras:
        return 0.0
    known = [camera.wanted_fps for camera in cameras if camera.wanted_fps is not None]
    if len(known) == len(cameras):
        return min(sum(known), point.capacity_fps)
    if math.isinf(point.capacity_fps):
        return sum(known) + UNKNOWN_FPS * (len(cameras) - len(known))
    return point.capacity_fps


def _fewer_threads(points: Iterable[OperatingPoint], of: OperatingPoint) -> list[OperatingPoint]:
    """Those of the same variant and delegate with fewer threads that take less for a frame, most threads first."""
    found: list[OperatingPoint] = []
    for point in sorted(points, key=lambda point: -point.threads):
        above = found[-1] if found else of
        same = (point.variant, point.delegate) == (of.variant, of.delegate)
        if same and point.threads < of.threads and point.cost <= above.cost * SAVES:
            found.append(point)
    return found


def _lighter(points: Iterable[OperatingPoint], of: OperatingPoint) -> list[OperatingPoint]:
    """Of each other variant, in their order, its cheapest point that takes less than the rung above it."""
    best: dict[str, OperatingPoint] = {}
    for point in points:
        known = best.get(point.variant)
        if point.variant != of.variant and (known is None or (point.cost, point.threads) < (known.cost, known.threads)):
            best[point.variant] = point
    found: list[OperatingPoint] = []
    for point in best.values():
        if point.cost <= (found[-1] if found else of).cost * SAVES:
            found.append(point)
    return found
