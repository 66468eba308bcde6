"""`vigild sensors`: what can be read of this board, live, and the budgets in force with their reasons.

A daemon that answers says which processes are its own and what its configuration is; without one `--config` does.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from vigild import stdio, terminal
from vigild.board.board import Board, Cooler
from vigild.board.budgets import Budgets, resolve
from vigild.board.reader import BoardReader
from vigild.board.readings import Frequency, Readings
from vigild.board.thermal import Trip
from vigild.budget import schedule, summary, thermal_model
from vigild.cli.talk import EXIT_FAILED, EXIT_NO_DAEMON, add_socket_argument
from vigild.client import Client, NoDaemon, ProtocolError, Refused, StatusAnswer
from vigild.config.load import from_command_line
from vigild.config.schema import BudgetConfig
from vigild.config.units import UnitError, parse_size, parse_temperature
from vigild.decoding import encoded
from vigild.figures import mebibytes
from vigild.plain import name as plain
from vigild.terminal import Screen
from vigild.wire.messages import Warming

EVERY_S = 1.0
FIRMWARE_S = 1.0
"""The longest that one table waits for a Raspberry Pi's firmware."""

_HOME_AND_CLEAR = "\x1b[H\x1b[J"


class Process(msgspec.Struct, frozen=True):
    """Whose memory is shown, and its budgets."""

    pids: dict[str, int]
    configured: BudgetConfig
    words: str
    budgets: Budgets | None = None
    """In force in a running daemon; None: `configured` decides."""
    learned: str = ""
    """What a running daemon says that this board could hold for ever."""
    warming: Warming | None = None


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """All that is shown of one moment; `--json` prints it as it is."""

    board: str
    daemon: str
    readings: Readings
    budgets: Budgets
    trips: dict[str, list[Trip]]
    coolers: list[Cooler]
    firmware: str
    """How a Raspberry Pi's firmware is asked; empty: it is not, or does not answer."""
    model: str = ""
    """With --model: the rate that the board holds for ever, in words."""
    warming: Warming | None = None
    """With --model: how it warms, as far as it is learned."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="one table, not one each second")
    how.add_argument("--json", action="store_true", help="one JSON object, for programs")
    parser.add_argument(
        "--model", action="store_true", help="also what was learned of how the board warms: the rate it holds for ever"
    )
    parser.add_argument("--config", metavar="FILE", help="budgets of this configuration, not of a running daemon")
    parser.add_argument(
        "-o",
        "--override",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="set a key, as for vigild run, e.g. -o 'budget.temperature=70 °C' (may be repeated)",
    )
    add_socket_argument(parser)
    parser.add_argument("--sysfs-root", metavar="DIR", default="/", help="read the files below DIR (for tests)")


def run(args: argparse.Namespace) -> int:
    try:
        process = _process(args)  # ConfigError is main's to print
    except NoDaemon as error:
        stdio.complain(f"vigild: {error}")
        return EXIT_NO_DAEMON
    except (Refused, ProtocolError, OSError) as error:
        stdio.complain(f"vigild: {error}")
        return EXIT_FAILED
    board = Board(Path(args.sysfs_root), process.pids.get("hub"))
    reader = BoardReader(board)
    configured: tuple[BudgetConfig, Budgets] | None = None

    def look(process: Process) -> Shown:
        nonlocal configured
        if configured is None or configured[0] != process.configured:
            configured = process.configured, resolve(process.configured, board)
        reader.budgets = budgets = process.budgets or _now(*configured)
        words, warming = process.learned, process.warming
        if args.model and not words:
            words, warming = _kept(Path(args.sysfs_root), budgets)
        return Shown(
            board=board.model,
            daemon=process.words,
            readings=reader.read(time.monotonic_ns(), process.pids),
            budgets=budgets,
            trips=board.trips(),
            coolers=board.coolers(),
            firmware=board.firmware.way,
            model=words if args.model else "",
            warming=warming if args.model else None,
        )

    _settle(board)
    try:
        if args.json:
            print(encoded(msgspec.json.encode, look(process)).decode())
        elif args.once:
            print(table(look(process), Screen.of(sys.stdout)))
        elif sys.stdout.isatty():
            while True:
                sys.stdout.write(f"{_HOME_AND_CLEAR}{table(look(process), Screen.of(sys.stdout))}\n")
                sys.stdout.flush()
                time.sleep(EVERY_S)
                process = _again(args, process)
        else:
            while True:
                shown = look(process)
                print(time.strftime("%H:%M:%S"), line(shown.readings, [shown.model, *_warming(shown)]), flush=True)
                time.sleep(EVERY_S)
                process = _again(args, process)
    finally:
        reader.close()
    return 0


def _process(args: argparse.Namespace) -> Process:
    """The running daemon, unless a configuration is named; what a daemon sets holds for its own budgets only."""
    if not (args.config or args.overrides):
        try:
            return _of_daemon(Client(args.socket).status())
        except (NoDaemon, Refused, ProtocolError, OSError):
            if args.socket:
                raise
    config = from_command_line(config=args.config, source=None, model=None, overrides=args.overrides)
    words = f"the budgets are those of {args.config}" if args.config else "none answers; the budgets are the defaults"
    return Process({}, config.budget, words)


def _again(args: argparse.Namespace, before: Process) -> Process:
    """A daemon a second later: a worker may be another one, quiet hours may have begun, more may be learned."""
    if not before.pids:
        return before
    try:
        return _of_daemon(Client(args.socket).status())
    except (NoDaemon, Refused, ProtocolError, OSError) as error:
        return msgspec.structs.replace(before, words=f"does not answer any more: {error}")


def _of_daemon(answer: StatusAnswer) -> Process:
    health, budget = answer.health, answer.health.budget
    in_force = None
    if budget is not None and health.temperature_budget is not None and budget.temperature_why:
        in_force = Budgets(
            temperature=health.temperature_budget,
            memory=health.memory.budget_bytes,
            temperature_why=budget.temperature_why,
            memory_why=budget.memory_why,
        )
    return Process(
        pids={"hub": answer.pid, **{worker.name: worker.pid for worker in health.workers if worker.pid}},
        configured=_configured(answer.config),
        words=f"answers at {answer.socket}",
        budgets=in_force,
        learned=budget.board if budget is not None else "",
        warming=budget.warming if budget is not None else None,
    )


def _configured(settings: Mapping[str, object]) -> BudgetConfig:
    """From the daemon's settings in force, which have a key only where it is set."""
    try:
        return BudgetConfig(
            temperature=parse_temperature(text) if (text := str(settings.get("budget.temperature", ""))) else None,
            memory=parse_size(text) if (text := str(settings.get("budget.memory", ""))) else None,
        )
    except UnitError:
        return BudgetConfig()  # of a later release, which writes them differently


def _now(configured: BudgetConfig, budgets: Budgets) -> Budgets:
    """As a daemon with this configuration would hold them at this time of the day."""
    quiet, local = schedule.of(configured.quiet), time.localtime()
    return schedule.in_force(budgets, quiet if schedule.active(quiet, 60 * local.tm_hour + local.tm_min) else None)


def _kept(root: Path, budgets: Budgets) -> tuple[str, Warming | None]:
    """What an earlier run learned of this board, against the budget of now."""
    from vigild.learned import Learned

    model = Learned(root).load()
    if model is None:
        nothing = (
            "nothing was learned of this board yet: let vigild run with a temperature sensor for some minutes, or "
            "measure it with vigild tune --sustained"
        )
        return nothing, None
    belief = thermal_model.believe(model)
    words = thermal_model.describe(belief, budgets.temperature, 1.0, model.unit, model.full_load)
    return words, Warming(**msgspec.structs.asdict(summary.warming(belief)))


def _settle(board: Board) -> None:
    """Ask the firmware, and wait for its first answer: vcgencmd is a process."""
    until = time.monotonic() + FIRMWARE_S
    board.firmware.poll(time.monotonic_ns())
    while board.firmware.pending and time.monotonic() < until:
        time.sleep(0.02)
        board.firmware.poll(time.monotonic_ns())


# ---- in words


def table(shown: Shown, screen: Screen = Screen()) -> str:  # noqa: B008 - a tuple
    """One screen. A further section is a further line here."""
    sections: tuple[tuple[str, Iterator[str]], ...] = (
        ("board", iter([shown.board or "it does not say what it is"])),
        ("daemon", iter([shown.daemon])),
        ("temperature", _temperatures(shown)),
        ("coolers", _coolers(shown.coolers)),
        ("flags", _flags(shown)),
        ("frequency", iter([_frequency(shown.readings.frequency)])),
        ("others", _others(shown)),
        ("memory", _memory(shown)),
        ("budgets", _budgets(shown.budgets)),
        ("model", iter([*filter(None, [shown.model]), *_warming(shown)])),
    )
    lines: list[str] = []
    for head, rows in sections:
        for row in rows:
            lines += terminal.wrap(f"{head:12} {plain(row)}".rstrip(), screen.columns, indent=15)
            head = ""
    return "\n".join(lines)


def line(readings: Readings, more: Iterable[str] = ()) -> str:
    """The same in one line: for a file, or another program's pipe. `more`: what is empty is left out."""
    parts = [f"{name} {celsius:.1f} °C" for name, celsius in readings.temperatures.items()] or ["no temperature"]
    parts += [f"lost {name}" for name in readings.lost]
    parts.append(" ".join(readings.flags) or "no flag")
    if readings.frequency is not None:
        parts.append(f"{readings.frequency.now_hz / 1e6:.0f} MHz")
    if readings.foreign_cores is not None:
        parts.append(f"others {readings.foreign_cores:.2f} cores")
    memory = readings.memory
    if memory.processes:
        parts.append(f"{mebibytes(memory.used_bytes)} used")
    if memory.available_bytes is not None:
        parts.append(f"{mebibytes(memory.available_bytes)} available")
    if memory.pressure_percent is not None:
        parts.append(f"pressure {memory.pressure_percent:.2f} %")
    return plain("; ".join([", ".join(parts), *filter(None, more)]))


def _temperatures(shown: Shown) -> Iterator[str]:
    readings = shown.readings
    names = [*readings.temperatures, *(name for name in readings.counted if name not in readings.temperatures)]
    width = max(map(len, names), default=0)
    for name in names:
        value = readings.temperatures.get(name)
        told = "lost" if name in readings.lost else "cannot be read now"
        parts = [f"{name:{width}}  {f'{value:5.1f} °C' if value is not None else told}"]
        if name not in readings.counted:
            parts.append("the budget is not for it")
        parts += [_trip(trip) for trip in shown.trips.get(name, [])]
        yield "; ".join(parts)
    if not names:
        yield "no sensor found: the temperature budget is not held"


def _trip(trip: Trip) -> str:
    by = f" ({', '.join(sorted(set(trip.coolers)))})" if trip.coolers else ""
    return f"{trip.kind or 'trip'} {trip.celsius:g} °C{by}"


def _coolers(coolers: list[Cooler]) -> Iterator[str]:
    texts = [f"{cooler.kind} {cooler.state}" + (f" of {cooler.most}" if cooler.most else "") for cooler in coolers]
    counts = Counter(texts)  # a PC has a Processor for each thread
    yield ", ".join(text if count == 1 else f"{count} x {text}" for text, count in counts.items()) or "none"


def _flags(shown: Shown) -> Iterator[str]:
    flags = shown.readings.flags
    asked = f"; asked: the kernel and {shown.firmware}" if shown.firmware else "; asked: the kernel"
    yield (", ".join(flags) if flags else "none is raised") + asked
    if shown.readings.remembered:
        yield f"since the board's start: {', '.join(shown.readings.remembered)}"


def _frequency(frequency: Frequency | None) -> str:
    if frequency is None:
        return "the kernel does not tell"
    how = "counted by the firmware" if frequency.measured else "what the kernel asks for; believe a flag before it"
    return f"{frequency.now_hz / 1e6:.0f} of {frequency.max_hz / 1e6:.0f} MHz ({how})"


def _others(shown: Shown) -> Iterator[str]:
    cores = shown.readings.foreign_cores
    if cores is not None:
        whose = "programs other than vigild" if shown.readings.memory.processes else "programs"
        yield f"{cores:.2f} cores are kept busy by {whose}"


def _memory(shown: Shown) -> Iterator[str]:
    memory = shown.readings.memory
    if memory.processes:
        each = ", ".join(f"{name} {mebibytes(size)}" for name, size in memory.processes.items())
        yield f"{mebibytes(memory.used_bytes)} of {mebibytes(shown.budgets.memory)}: {each}"
    parts = []
    if memory.limit_bytes is not None:
        parts.append(f"limit of the control group {mebibytes(memory.limit_bytes)}")
    if memory.available_bytes is not None:
        parts.append(f"{mebibytes(memory.available_bytes)} available on the board")
    if memory.swap_bytes:
        parts.append(f"{mebibytes(memory.swap_bytes)} swapped out")
    if memory.pressure_percent is not None:
        parts.append(f"waited for {memory.pressure_percent:.2f} % of the last ten seconds")
    if memory.events is not None:
        parts.append(f"slowed {memory.events.high} times, at the limit {memory.events.max} times")
    yield "; ".join(parts) or "nothing can be read"
    yield f"from {memory.words}" if memory.processes else f"a daemon would be watched by {memory.words}"


def _warming(shown: Shown) -> Iterator[str]:
    """The thermal resistance and both time constants. The resistance is not in K/W, for nobody knows the watts."""
    warming = shown.warming
    if warming is None:
        return
    die, board = warming.die_celsius_per_fps, warming.board_celsius_per_fps
    text = (
        f"each frame/s warms it by {die + board:.2f} ± {warming.celsius_per_fps_deviation:.2f} °C: "
        f"{die:.2f} with a time constant of {_duration(warming.die_seconds)} (die), "
        f"{board:.2f} with one of {_duration(warming.board_seconds)} (board); "
        f"{warming.rest_celsius:.1f} °C without this work"
    )
    yield text if warming.sure else f"{text} (not learned well yet)"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _budgets(budgets: Budgets) -> Iterator[str]:
    yield f"temperature {budgets.temperature:g} °C: {budgets.temperature_why}"
    yield f"memory {mebibytes(budgets.memory)}: {budgets.memory_why}"
