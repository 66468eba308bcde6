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
from typing import Literal, NamedTuple, get_args

import msgspec

Means = Literal["fps", "threads", "variant", "cameras", "pause"]
"""What may be given up."""

GIVE_UP: tuple[Means, ...] = get_args(Means)
"""All of it, in the order in which it hurts least."""

SAVES = 0.97
"""What takes more than this part of another's cost for a frame, or of its memory, saves nothing that shows."""


class OperatingPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One way of running the detector."""

    variant: str
    threads: int = 1
    delegate: str = "auto"
    cost: float = 1.0
    """What one frame takes (CPU time or energy), relative to the first point's."""
    capacity_fps: float = math.inf
    """Frames a second that it carries for long, all detectors together; inf while nothing is known."""
    cpu_s: float = 0.0
    """CPU seconds that a frame takes; 0 while nothing is known."""
    memory_bytes: int = 0
    """That a process with it holds; 0 while nothing is known."""
    model: str = ""
    """Its name: what was learned of one says nothing of another with variants of the same names."""

    @property
    def settings(self) -> tuple[str, int, str]:
        """What makes it this one, whatever is known of it."""
        return self.variant, self.threads, self.delegate

    def __str__(self) -> str:
        return f"{self.variant} on {self.threads} thread{'' if self.threads == 1 else 's'}"


class Camera(msgspec.Struct, frozen=True, kw_only=True):
    """What the governor has to know of a camera."""

    name: str
    priority: float = 1.0
    wanted_fps: float | None = None
    """The cap that the user set or the rate that the source says it has; None: as many as the detector carries."""
    asked_fps: float | None = None
    """The cap that the user set: no more is wanted, whatever the source gives."""
    given_fps: float | None = None
    """What the source gave of late, whatever was taken of it; None: a file, or not known."""
    measured_fps: float = 0.0
    """Frames a second of it that were inferred lately."""
    pace: Literal["live", "every"] = "live"
    size: tuple[int, int] | None = None
    """Width and height of its frames."""


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
    without: tuple[str, ...] = ()
    """The cameras that were given up."""

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
    points: Sequence[OperatingPoint],
    cameras: Sequence[Camera],
    give_up: Sequence[Means],
    min_fps: float,
    carried: float | None = None,
) -> Ladder:
    """The ladder for these points and cameras.

    `points`: the wanted one first, with cost 1; then what the user's floors allow, the better before the lesser.
    `cameras` may be empty. What is not in `give_up` is kept whatever the temperature: a camera that runs has the rate
    that is wanted until "fps" has its turn, and behind a pause nothing is left. `carried`: frames a second that the
    first point carries, where that was seen; it is believed more than what the point says.

    Raises ValueError without a point.
    """
    if not points:
        raise ValueError("a ladder needs at least one operating point")
    everything = tuple(camera.name for camera in cameras)
    steps = _steps(points, cameras, give_up)
    by_name = {camera.name: camera for camera in cameras}
    rungs: list[Rung] = []
    for step in steps:
        first = carried is not None and step.point is points[0]
        full = _full([by_name[name] for name in step.running], carried if first else step.point.capacity_fps)
        if step.means == "threads":
            full = min(full, rungs[-1].full_fps)  # fewer threads never do more
        rung = Rung(
            point=step.point,
            cameras=step.running,
            gives_up=step.means,
            stage=rungs[-1].stage + (step.means != "threads") if rungs else 0,
            floor_fps=min(min_fps * len(step.running), full) if step.slows else full,
            full_fps=full,
            without=tuple(name for name in everything if name not in step.running),
        )
        # One that cannot go below the one above it gives nothing up: its floors are what it can carry.
        if not rungs or rung.floor_load <= rungs[-1].floor_load:
            rungs.append(rung)
    return Ladder(rungs=tuple(rungs))


class _Step(NamedTuple):
    """A rung before it is known what it carries."""

    means: Means
    point: OperatingPoint
    running: tuple[str, ...]
    slows: bool = False
    """Its rate may be given up: "fps" has had its turn."""


def _steps(points: Sequence[OperatingPoint], cameras: Sequence[Camera], give_up: Sequence[Means]) -> list[_Step]:
    steps = [_Step("fps", points[0], tuple(camera.name for camera in cameras))]
    for means in give_up:
        last = steps[-1]
        if means == "fps":
            steps[-1] = last._replace(slows=True)
        elif means == "threads":
            steps += [last._replace(means=means, point=fewer) for fewer in _fewer_threads(points, last.point)]
        elif means == "variant":
            steps += [last._replace(means=means, point=lighter) for lighter in _lighter(points, last.point)]
        elif means == "cameras":
            for least in sorted(cameras, key=lambda camera: camera.priority)[: len(last.running) - 1]:
                running = tuple(name for name in steps[-1].running if name != least.name)
                steps.append(last._replace(means=means, running=running))
        elif last.running:
            return [*steps, last._replace(means=means, running=())]
    return steps


def place(ladder: Ladder, old: Rung, load: float) -> int:
    """Where on this ladder one is who was on `old` of another: at the same point, and without the same cameras of those
    that there still are. Where there is no such rung, on the first that goes down to `load`."""
    rungs = ladder.rungs
    if old.without and not old.cameras:
        found = [at for at, rung in enumerate(rungs) if rung.without and not rung.cameras]
    else:
        without = gone_still(ladder, old)
        found = [
            at
            for at, rung in enumerate(rungs)
            if rung.point.settings == old.point.settings and set(rung.without) == without and rung.cameras
        ]
    found += [at for at, rung in enumerate(rungs) if rung.floor_load <= load]
    return found[0] if found else len(rungs) - 1


def changes_place(ladder: Ladder, old: Rung, new: Rung) -> bool:
    """Whether something is given up on `new`, a rung of this ladder, that was not on `old`, or the other way round;
    cameras that have come or gone by themselves do not count."""
    return old.point.settings != new.point.settings or gone_still(ladder, old) != set(new.without)


def gone_still(ladder: Ladder, old: Rung) -> set[str]:
    """The cameras that were given up on `old`, of those of this ladder."""
    everything = ladder.rungs[0].cameras
    return set(everything) if old.without and not old.cameras else set(old.without).intersection(everything)


def memory_steps(points: Sequence[OperatingPoint]) -> list[int]:
    """Bytes of the wanted variant, and of those that take less, each less than the one before."""
    held = {point.variant: point.memory_bytes for point in reversed(points)}
    steps = [held[points[0].variant]] if points else []
    for size in sorted(held.values(), reverse=True):
        if 0 < size < SAVES * steps[-1]:
            steps.append(size)
    return steps


def within_memory(points: Sequence[OperatingPoint], down: int) -> Sequence[OperatingPoint]:
    """Without the variants that take more memory than the one `down` steps below the wanted one."""
    steps = memory_steps(points)
    if down <= 0 or len(steps) < 2:
        return points
    most = steps[min(down, len(steps) - 1)]
    held = {point.variant: point.memory_bytes for point in reversed(points)}
    return [point for point in points if 0 < held[point.variant] <= most]


UNKNOWN_FPS = 30.0
"""Of a camera whose rate nobody has said, on a detector whose speed nobody has measured."""


def _full(cameras: Sequence[Camera], carried: float | None) -> float:
    """The most frames a second that these cameras have and a point carries."""
    carried = math.inf if carried is None else carried
    if not cameras:
        return 0.0
    known = [camera.wanted_fps for camera in cameras if camera.wanted_fps is not None]
    if len(known) == len(cameras):
        return min(sum(known), carried)
    if math.isinf(carried):
        return sum(known) + UNKNOWN_FPS * (len(cameras) - len(known))
    return carried


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
