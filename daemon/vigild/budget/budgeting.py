"""Everything about budgets in one call: readings in, what is to be done out. Pure; the clock comes from outside.

    state = begin(kept_model)
    state, actions = step(state, settings, cameras, points, readings, minute_of_day, now)   # once a second
    state, actions = glance(state, settings, readings, now)        # in between, whenever there are new readings
    for action in actions: ...          # see `actions`

Two governors decide, of heat (`governor`) and of memory (`memory_governor`), within what the schedule leaves
(`schedule`). This module shows each what concerns it, divides the rate among the cameras, and says only what has
changed: `Limits` and `UsePoint` come when they differ from the last ones, and each replaces them whole. `summary` makes
of the state what health and status tell; `state.heat.model` is for the state folder.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from vigild.board.readings import Readings
from vigild.budget import carried, governor, memory_governor, schedule, shares
from vigild.budget.actions import Action, CameraLimit, Holder, Limits, Move, UsePoint
from vigild.budget.carried import Carried, Given
from vigild.budget.deciding import Deciding, decide
from vigild.budget.operating_points import (
    GIVE_UP,
    Camera,
    Means,
    OperatingPoint,
    build,
    memory_steps,
    within_memory,
)
from vigild.budget.schedule import Quiet
from vigild.budget.thermal_model import ThermalModel
from vigild.figures import mebibytes

LEAST_CORES, FRAMES_SHARE = 0.05, 0.1
"""Where no profile tells what a frame takes of the processor it is measured while at least so much of a core works, and
moved by this part a reading: the load of other programs is told in frames."""

ASK_AGAIN_S, MOST_ASK_AGAIN_S = 10.0, 6 * 3600.0
"""What was asked for and does not run is asked for again (another takeover was under way, a reload came between), after
twice as long each time: its file may be gone."""

HUB = "hub"
"""The process that cannot be recycled, by its name in the memory readings."""
CAMERA, NEXT = "camera.", ".next"
"""How the process of one camera begins and that of a detector's successor ends (`Fleet.processes`)."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What is in force: `[budget]`, with the defaults of this board filled in."""

    temperature: float | None
    """°C; None: there is no sensor whose temperature could be held."""
    memory: int | None
    """Bytes of all processes together; None: no limit."""
    hysteresis: float = 5.0
    dwell: float = 10.0
    min_fps: float = 1.0
    give_up: tuple[Means, ...] = GIVE_UP
    quiet: Quiet | None = None


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is remembered."""

    heat: governor.State | None = None
    plan: governor.Plan | None = None
    """Of the last step, for glances after it; and"""
    wanted: tuple[Camera, ...] = ()
    """the cameras that it was for."""
    memory: memory_governor.State = memory_governor.State()
    kept: ThermalModel | None = None
    """Of an earlier run, until it is known whether it is of this unit."""
    limits: Limits | None = None
    point: OperatingPoint | None = None
    fitting: int = 0
    """Points that memory had room for."""
    ask_at: float = -math.inf
    """When `point` is asked for again, should it not run; and"""
    ask_again_s: float = 0.0
    """how long after that the next time."""
    quiet: bool = False
    deciding: Deciding = Deciding()
    given: Mapping[str, Given] = msgspec.field(default_factory=dict)
    """By camera; and"""
    carried: Carried = Carried()
    """of the first point: how much work there really is."""
    frames_a_core: float = 0.0
    """Reference frames a second that keep one core busy, as measured; 0: not yet."""
    read_at_ns: int = -1
    counts: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Moves by kind, since the start."""


def begin(kept: ThermalModel | None = None) -> State:
    """`kept`: what was learned in an earlier run."""
    return State(kept=kept)


def step(
    state: State,
    settings: Settings,
    cameras: Sequence[Camera],
    points: Sequence[OperatingPoint],
    readings: Readings,
    minute_of_day: int,
    now: float,
    running: OperatingPoint | None = None,
) -> tuple[State, tuple[Action, ...]]:
    """One round.

    `cameras`: those that nobody but the budgets may keep from running. `points`: the wanted one first (see
    `operating_points.build`). `readings`: the newest; the same ones again count as none. `minute_of_day`: of the
    wall clock, for the schedule alone. `now`: monotonic seconds. `running`: the point that really runs; None: the one
    that was asked for, or it is on its way.
    """
    actions: list[Action] = []
    fresh = readings.at_ns != state.read_at_ns
    quiet = settings.quiet if schedule.active(settings.quiet, minute_of_day) else None
    if (quiet is not None) != state.quiet:
        actions.append(_quiet_told(settings.quiet, quiet, settings.temperature))
    state = msgspec.structs.replace(state, quiet=quiet is not None, read_at_ns=readings.at_ns)
    if fresh and settings.memory is not None:
        usage = _usage(readings, cameras)
        variants = len(memory_steps(points)) if "variant" in settings.give_up else 1
        memory, of_memory = memory_governor.step(state.memory, usage, settings.memory, now, variants)
        state = msgspec.structs.replace(state, memory=memory)
        actions += of_memory
    if cameras and points:
        state, of_heat = _heat(state, settings, quiet, cameras, points, readings, fresh, now, running)
        actions += of_heat
    return _counted(state, actions), tuple(actions)


def _quiet_told(known: Quiet | None, now_active: Quiet | None, usual: float | None) -> Move:
    if now_active is None:
        until = f" ({schedule.told(known.end)})" if known is not None else ""
        return Move(kind="quiet_ends", reason=f"the quiet hours are over{until}")
    parts = []
    if now_active.pause:
        parts.append("pause")
    if now_active.temperature is not None and (usual is None or now_active.temperature <= usual):
        parts.append(f"budget {now_active.temperature:g} °C")
    if now_active.max_fps is not None:
        parts.append(f"at most {now_active.max_fps:g} fps a camera")
    what = ", ".join(parts) or "nothing that is not so anyway"
    return Move(kind="quiet_begins", reason=f"quiet hours until {schedule.told(now_active.end)}: {what}")


def _usage(readings: Readings, cameras: Sequence[Camera]) -> memory_governor.Usage:
    memory = readings.memory
    events = memory.events
    workers = {name: held for name, held in memory.processes.items() if name != HUB and not _is_next(name)}
    opened = {camera.name: camera.size for camera in cameras}
    # Detectors take a ring from each camera; and all cameras may share one process.
    sources = {
        name: {own: opened[own]} if (own := name.removeprefix(CAMERA)) in opened and name.startswith(CAMERA) else opened
        for name in workers
    }
    return memory_governor.Usage(
        used_bytes=memory.used_bytes,
        workers=workers,
        pids=memory.pids,
        sources=sources,
        available_bytes=memory.available_bytes,
        total_bytes=memory.total_bytes,
        stall_percent=memory.pressure_percent,
        woken=memory.woken,
        high_events=events.high if events is not None else None,
        max_events=events.max if events is not None else None,
    )


def _is_next(name: str) -> bool:
    """One that is not yet in service cannot be recycled: it takes the other's place, or is ended, by itself."""
    return not name.startswith(CAMERA) and name.endswith(NEXT)


def unit(point: OperatingPoint) -> str:
    """What a reference frame is, for the thermal model: one of another point heats differently."""
    model = f"{point.model} " if point.model else ""
    return f"{model}{point.variant}, {point.threads} threads, {point.delegate}"


def _heat(
    state: State,
    settings: Settings,
    quiet: Quiet | None,
    cameras: Sequence[Camera],
    points: Sequence[OperatingPoint],
    readings: Readings,
    fresh: bool,
    now: float,
    running: OperatingPoint | None,
) -> tuple[State, list[Action]]:
    heat_state = state.heat
    if heat_state is None or heat_state.unit != unit(points[0]):
        # Another model: what was learned of the old one says nothing, what was kept of this one may.
        heat_state = governor.begin(unit(points[0]), state.kept)
    point = running or state.point or points[0]
    measured = sum(camera.measured_fps for camera in cameras)
    if fresh:
        state = msgspec.structs.replace(state, given={camera.name: _given(state, camera) for camera in cameras})
    wanted = [_within(_believed(state, camera), quiet) for camera in cameras]
    if fresh:
        state = msgspec.structs.replace(state, carried=_carried(state, wanted, point, points[0], measured))
    fitting = within_memory(points, state.memory.lighter)
    whole = ladder = build(points, wanted, settings.give_up, settings.min_fps, state.carried.fps)
    if fitting[0] is not points[0]:
        ladder = build(fitting, wanted, settings.give_up, settings.min_fps)
    celsius = _least(settings.temperature, quiet.temperature if quiet is not None else None)
    actions: list[Action] = []
    seen = stand_in = None
    if fresh:
        deciding, seen, lost = decide(state.deciding, readings, celsius, now)
        if seen is not None and seen.sensor != deciding.sensor:
            seen, stand_in = None, seen
        state = msgspec.structs.replace(state, deciding=deciding)
        actions += lost if celsius is not None else ()
    blind = readings.hottest is None and not readings.lost and not readings.counted
    plan = governor.Plan(
        ladder=ladder,
        celsius=None if blind else celsius,
        hysteresis=settings.hysteresis,
        dwell=settings.dwell,
        wanted=None if whole is ladder else whole.rungs[0],
        because="" if whole is ladder else "the memory budget leaves no room for more",
        refit=_memory_told(readings, settings) if len(fitting) != state.fitting else "",
    )
    frames_a_core = _frames_a_core(state, points[0], readings, measured * point.cost) if fresh else state.frames_a_core
    heat = governor.Heat(
        celsius=seen.celsius if seen is not None else None,
        sensor=state.deciding.sensor or "the temperature sensor",
        stand_in=stand_in,
        flags=frozenset(readings.flags),
        measured_fps=measured,
        cost=point.cost,
        foreign=(readings.foreign_cores or 0.0) * frames_a_core,
    )
    heat_state, decided = governor.step(heat_state, plan, heat, now)
    limits = _limits(decided, wanted, quiet, settings.min_fps)
    actions += decided.moves
    if state.limits is None or limits.cameras != state.limits.cameras:
        actions.append(limits)
    most = settings.memory if state.memory.lighter or plan.refit else None
    state, use = _use(state, decided.point, points[0], running, most, readings, now)
    actions += use
    state = msgspec.structs.replace(
        state,
        heat=heat_state,
        plan=plan,
        fitting=len(fitting),
        wanted=tuple(wanted),
        limits=limits,
        point=decided.point,
        frames_a_core=frames_a_core,
    )
    return state, actions


def _use(
    state: State,
    point: OperatingPoint,
    first: OperatingPoint,
    running: OperatingPoint | None,
    most: int | None,
    readings: Readings,
    now: float,
) -> tuple[State, list[UsePoint]]:
    """Ask for another point; and again where the one that was asked for does not run. `most`: bytes, where it is for
    want of memory; for heat's sake both may be there for a moment, below the kernel's own limit."""
    asked = state.point or first
    anew = point.settings != asked.settings
    astray = not anew and running is not None and running.settings != point.settings
    if not anew and not astray:
        there = running is not None
        return (msgspec.structs.replace(state, ask_again_s=0.0) if there and state.ask_again_s else state), []
    if astray and now < state.ask_at:
        return state, []
    wait = ASK_AGAIN_S if anew or not state.ask_again_s else min(2 * state.ask_again_s, MOST_ASK_AGAIN_S)
    both = readings.memory.used_bytes + point.memory_bytes
    room = all(both < limit for limit in (most, readings.memory.limit_bytes) if limit is not None)
    state = msgspec.structs.replace(state, ask_at=now + wait, ask_again_s=wait)
    return state, [UsePoint(point=point, beside=room)]


def glance(state: State, settings: Settings, readings: Readings, now: float) -> tuple[State, tuple[Action, ...]]:
    """Between two steps: whether other programs suddenly take so much that work is to be given up at once.

    `settings`: those of the last step. `readings`: newer ones; the same ones again change nothing.
    """
    cores = readings.foreign_cores_lately
    if cores is None or state.heat is None or state.plan is None:
        return state, ()
    heat = governor.Heat(celsius=None, sensor=state.deciding.sensor, foreign=cores * state.frames_a_core)
    heat_state, decided = governor.glance(state.heat, state.plan, heat, now)
    if heat_state is state.heat:
        return state, ()
    state = msgspec.structs.replace(state, heat=heat_state)
    if not decided.moves:
        return state, ()
    limits = _limits(decided, state.wanted, settings.quiet if state.quiet else None, settings.min_fps)
    actions: list[Action] = [*decided.moves, limits]
    return _counted(msgspec.structs.replace(state, limits=limits), actions), tuple(actions)


def _given(state: State, camera: Camera) -> Given:
    """What a camera gives. Where its source does not tell, that it gave more than it says is all that can be seen."""
    given = state.given.get(camera.name, Given())
    of = (camera.name, camera.wanted_fps, camera.asked_fps)
    said = None if camera.asked_fps is not None else camera.wanted_fps
    gives = camera.given_fps
    if gives is None:
        if camera.wanted_fps is None or camera.asked_fps is not None:
            return Given(of=of)
        gives = max(camera.measured_fps, given.fps or camera.wanted_fps)
    return carried.follow_given(given, of, said, gives)


def _believed(state: State, camera: Camera) -> Camera:
    """With the rate that is really there to be inferred."""
    given = state.given[camera.name].fps if camera.name in state.given else None
    if given is None:
        return camera
    wanted = given if camera.asked_fps is None else min(given, camera.asked_fps)
    return msgspec.structs.replace(camera, wanted_fps=wanted)


def _carried(
    state: State, wanted: Sequence[Camera], point: OperatingPoint, first: OperatingPoint, measured: float
) -> Carried:
    """What the first point carries, while it runs."""
    of = (first.model, first.settings)
    if point.settings != first.settings:
        return state.carried if of == state.carried.of else Carried(of=of)
    limits = {limit.camera: limit for limit in state.limits.cameras} if state.limits is not None else {}
    offered, running = 0.0, 0
    for camera in wanted:
        limit = limits.get(camera.name)
        if limit is not None and limit.holds:
            continue
        running += 1
        cap = math.inf if limit is None or limit.max_fps is None else limit.max_fps
        offered += min(math.inf if camera.wanted_fps is None else camera.wanted_fps, cap)
    return carried.follow_carried(state.carried, of, first.capacity_fps, offered, measured, running)


def _frames_a_core(state: State, point: OperatingPoint, readings: Readings, ran: float) -> float:
    """Reference frames a second that keep one core busy; 0 while that is not known. `ran`: so many did, of late."""
    if point.cpu_s > 0:
        return 1 / point.cpu_s
    if math.isfinite(point.capacity_fps):
        # At its capacity a point keeps all its threads busy.
        return point.capacity_fps * point.cost / max(point.threads, 1)
    own = readings.own_cores
    if own is None or own < LEAST_CORES or ran <= 0:
        return state.frames_a_core
    now = ran / own
    return state.frames_a_core + (now - state.frames_a_core) * FRAMES_SHARE if state.frames_a_core else now


def _within(camera: Camera, quiet: Quiet | None) -> Camera:
    if quiet is None or quiet.max_fps is None:
        return camera
    most = quiet.max_fps if camera.wanted_fps is None else min(camera.wanted_fps, quiet.max_fps)
    return msgspec.structs.replace(camera, wanted_fps=most)


def _memory_told(readings: Readings, settings: Settings) -> str:
    return f"memory {mebibytes(readings.memory.used_bytes)}, budget {mebibytes(settings.memory or 0)}"


def _least(*limits: float | None) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _limits(decided: governor.Action, cameras: Sequence[Camera], quiet: Quiet | None, min_fps: float) -> Limits:
    running = [camera for camera in cameras if camera.name in decided.cameras]
    given = shares.divide(decided.rate, running, min_fps) if decided.limited else {}
    found = []
    for camera in cameras:
        cap = given.get(camera.name)
        if cap is None and quiet is not None:
            cap = quiet.max_fps
        holds: tuple[Holder, ...] = () if camera.name in decided.cameras else ("governor",)
        if quiet is not None and quiet.pause:
            holds += ("schedule",)
        found.append(CameraLimit(camera=camera.name, max_fps=None if holds else cap, holds=holds))
    degraded = decided.degraded
    if quiet is not None and quiet.pause:
        degraded = f"paused: quiet hours until {schedule.told(quiet.end)}"
    return Limits(cameras=tuple(found), degraded=degraded)


def _counted(state: State, actions: Sequence[Action]) -> State:
    counts = dict(state.counts)
    for action in actions:
        if isinstance(action, Move):
            counts[action.kind] = counts.get(action.kind, 0) + 1
    return msgspec.structs.replace(state, counts=counts)
