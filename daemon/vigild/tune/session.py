"""The command from end to end: what is there, measuring it, and everything that comes out.

status = measure(wanted)          # Wanted: what the command line says
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from vigild import files, runtimes, stdio, terminal
from vigild.catalogue import profile, store
from vigild.catalogue.choose import Choice, choose
from vigild.catalogue.choose import name as setting_name
from vigild.catalogue.profile import Budgets, ModelProfile, ProfileError, Row
from vigild.config.schema import Config
from vigild.decoding import encoded
from vigild.doctor.service import find_daemon
from vigild.learned import Learned
from vigild.sandbox import parent
from vigild.terminal import Screen
from vigild.tune import pareto, sustained, sustained_words, table, words
from vigild.tune.bar import Bar
from vigild.tune.candidates import Builds, builds, candidates, default_threads
from vigild.tune.daemon import paused
from vigild.tune.measure import MODULE, CannotMeasure, Measuring, alone
from vigild.tune.race import Settings
from vigild.tune.tasks import PngTask

EXIT_INTERRUPTED = 130
PARTIAL = ".part"


class Wanted(msgspec.Struct, kw_only=True, frozen=True):
    """What the command line says."""

    config: Config
    files: Sequence[str]
    """Models by file; empty: the one that `config` names."""
    budgets: Budgets
    threads: Sequence[int] | None
    delegates: Sequence[str] | None
    settings: Settings
    profile: Path | None
    pareto: Path | None
    anew: bool
    daemon: Literal["stop", "pause", "anyway"]
    """What to do when a daemon runs."""
    socket: str | None
    as_json: bool
    sustained_s: float | None = None
    """Measure what rate the board holds for ever, in so many seconds at the most."""


def measure(wanted: Wanted) -> int:
    """Exit status. Raises CannotMeasure, ManifestError, and what a client of the daemon raises."""
    found = builds(wanted.config.model, wanted.files)
    place = wanted.profile or profile.own_place()
    learned = Learned(wanted.settings.root)
    if (asked := _sustained_asked(wanted)) is not None:
        sustained.check(asked, learned)
        if not store.writable(place.parent):
            raise CannotMeasure(f"the profile cannot be kept in {place.parent}; name another place with --profile FILE")
        _no_daemon(wanted)
    model = _there(wanted, found, place) if asked is not None and not wanted.anew else None
    if model is None:
        model = _measured(wanted, found, place)
    if asked is None or model is None:
        return EXIT_INTERRUPTED if model is None else _tell(wanted, found.name, model, place, found.absent)
    return _sustain(wanted, asked, found, model, place, learned)


def _measured(wanted: Wanted, found: Builds, place: Path) -> ModelProfile | None:
    """All settings, measured and kept; None when it was stopped. Raises as `measure`."""
    threads = wanted.threads or default_threads(len(os.sched_getaffinity(0)))
    settings = wanted.settings
    todo = candidates(found.builds, threads, wanted.delegates, wanted.config.model.delegate, settings.root)
    if not todo:
        raise CannotMeasure(
            f"none of the variants of {found.name} that are here runs on what this board has; without an Edge TPU "
            "a variant for the CPU is needed: vigild models list"
        )
    board = profile.this_board()
    bar = Bar(sys.stderr)

    def say(sentence: str) -> None:
        bar.end()
        stdio.complain(f"vigild: {sentence}")

    run = Measuring(found, todo, settings, board, place.with_name(place.name + PARTIAL), bar.update, say)
    started_s = time.monotonic()
    try:
        with _quiet(wanted):
            run.measure(anew=wanted.anew)
    except KeyboardInterrupt:
        bar.end()
        _stopped(run, place)
        return None
    finally:
        bar.end()
    stdio.complain(f"vigild: Measured {len(todo)} settings in {time.monotonic() - started_s:.0f} s.")
    run.finished()
    rows = run.rows()
    if not any(row.works for row in rows):
        _print_table(rows)
        raise CannotMeasure(f"none of the {len(todo)} settings runs here, so the profile stays as it was")
    model = ModelProfile(
        preferred=run.state.subject.runtime,
        measured=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        budgets=wanted.budgets,
        rows=rows,
    )
    _keep(wanted, found, model, place)
    return model


def show(wanted: Wanted) -> int:
    """What is kept of the model, and whether it still holds."""
    found = builds(wanted.config.model, wanted.files)
    place = wanted.profile or profile.find()
    if place is None:
        looked = ", ".join(map(str, profile.places()))
        raise CannotMeasure(f"there is no profile (looked for {looked}); vigild tune makes one")
    try:
        kept = profile.load(place)
    except ProfileError as error:
        raise CannotMeasure(f"{error}; vigild tune makes a new one") from None
    model = kept.models.get(found.name)
    if model is None:
        there = ", ".join(kept.models) or "nothing"
        raise CannotMeasure(f"{place} holds {there}, but nothing of {found.name}; measure it with vigild tune")
    preferred = runtimes.preferred(wanted.config.model.runtime)
    if reason := profile.stale(kept, profile.this_board()) or profile.stale_runtime(model, preferred):
        stdio.complain(f"vigild: {place} is stale: {reason}; run vigild tune again.")
    return _tell(wanted, found.name, model, place, found.absent)


# ---- what is held for ever


def _sustained_asked(wanted: Wanted) -> sustained.Asked | None:
    celsius = wanted.budgets.temperature_celsius
    if wanted.sustained_s is None or celsius is None:
        return None
    return sustained.Asked(seconds=wanted.sustained_s, celsius=celsius, settings=wanted.settings)


def _no_daemon(wanted: Wanted) -> None:
    """Raises CannotMeasure: a daemon warms the board with work that is not counted, and would write what it learned
    over what is learned here."""
    daemon = find_daemon(wanted.config.daemon, wanted.socket)
    if daemon.hello is not None:
        raise CannotMeasure(
            f"a vigild daemon runs ({daemon.path}), warms the board and keeps what it learns of it in the same file; "
            "stop it for --sustained (--pause and --anyway do not do)"
        )


def _there(wanted: Wanted, found: Builds, place: Path) -> ModelProfile | None:
    """What was measured before, if it holds: then there is no need to measure it again."""
    try:
        kept = profile.load(place)
    except ProfileError:
        return None
    model = kept.models.get(found.name)
    preferred = runtimes.preferred(wanted.config.model.runtime)
    if model is None or profile.stale(kept, profile.this_board()) or profile.stale_runtime(model, preferred):
        return None
    return model if _to_sustain(wanted, found, model) is not None else None


def _to_sustain(wanted: Wanted, found: Builds, model: ModelProfile) -> Row | None:
    """The setting that the daemon would run, of those that the command line leaves; where none fits, the fastest."""
    here = {build.name for build in found.builds}
    rows = [
        row
        for row in model.rows
        if row.works
        and row.variant in here
        and (wanted.threads is None or row.threads in wanted.threads)
        and (wanted.delegates is None or row.delegate in wanted.delegates)
    ]
    chosen = choose(rows, model.budgets, len(os.sched_getaffinity(0))).row
    return chosen or min(rows, key=lambda row: row.p50_ms, default=None)


def _sustain(
    wanted: Wanted, asked: sustained.Asked, found: Builds, model: ModelProfile, place: Path, learned: Learned
) -> int:
    """The course, what came of it into the profile, and all of it told."""
    row = _to_sustain(wanted, found, model)
    assert row is not None
    build = next(build for build in found.builds if build.name == row.variant)
    bar = Bar(sys.stderr, sustained.LINE_EVERY_S)

    def say(sentence: str) -> None:
        bar.end()
        stdio.complain(f"vigild: {sentence}")

    run = sustained.Sustaining(asked, build, row, learned, bar, say)
    try:
        with alone(place.parent):
            result = run.run()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    if not result.sure:
        raise CannotMeasure(sustained_words.failed(result, asked.celsius, asked.seconds / 60, run.sensor))
    model = sustained.with_rates(model, row, result, asked.celsius)
    _keep(wanted, found, model, place)
    return _tell(wanted, found.name, model, place, found.absent)


@contextlib.contextmanager
def _quiet(wanted: Wanted) -> Iterator[None]:
    """No daemon works meanwhile, or that is said. Raises CannotMeasure when one does and nothing was said of it."""
    daemon = find_daemon(wanted.config.daemon, wanted.socket)
    if daemon.hello is None:
        yield
        return
    if wanted.daemon == "stop":
        raise CannotMeasure(
            f"a vigild daemon runs ({daemon.path}) and would disturb every measurement; stop it, let it pause "
            "meanwhile with --pause, or measure beside it with --anyway"
        )
    if wanted.daemon == "anyway":
        stdio.complain(f"vigild: A daemon runs beside this ({daemon.path}): the times say little.")
        yield
        return
    with paused(daemon.path):
        yield


def _stopped(run: Measuring, place: Path) -> None:
    """Ctrl-C: what is there so far, and how to go on."""
    rows = run.rows()
    _print_table(rows)
    if rows:
        stdio.complain(
            f"vigild: Stopped; what is measured is kept in {place}{PARTIAL}, and the same command goes on from there. "
            "The profile is written at the end."
        )


def _keep(wanted: Wanted, found: Builds, model: ModelProfile, place: Path) -> None:
    """Write the profile and the picture."""
    board = profile.this_board()
    old = None
    with contextlib.suppress(ProfileError):
        old = profile.load(place) if place.exists() else None
    choice = _choice(model)
    title = f"{found.name} on {board.model or board.processor or board.machine}, {model.preferred}"
    picture = wanted.pareto or place.with_suffix(".svg")
    try:
        profile.save(place, profile.merged(old, board, found.name, model))
        _draw(picture, pareto.draw(model.rows, choice.row, title))
    except OSError as error:
        raise CannotMeasure(str(files.cannot_write(error, place))) from None
    stdio.complain(f"vigild: The profile is {place}, its picture {picture}.")


def _draw(path: Path, shapes: list[pareto.AnyShape]) -> None:
    """SVG or, by the file's name, PNG. Raises OSError and CannotMeasure."""
    if path.suffix.lower() != ".png":
        files.write_whole(path, pareto.svg(shapes).encode())
        return
    result = parent.run(MODULE, "png", PngTask(shapes=shapes, path=str(path.absolute())))
    if result.answer is None or "refused" in result.answer:
        raise CannotMeasure(f"no picture was painted: {result.death or (result.answer or {})['refused']}")


def _print_table(rows: list[Row]) -> None:
    for line in table.lines(rows, Screen.of(sys.stdout).columns):
        print(line)


def _say(sentence: str) -> None:
    for line in terminal.wrap(sentence, Screen.of(sys.stdout).columns):
        print(line)


def _choice(model: ModelProfile) -> Choice:
    return choose(model.rows, model.budgets, len(os.sched_getaffinity(0)))


def _tell(wanted: Wanted, name: str, model: ModelProfile, place: Path, absent: list[str]) -> int:
    """The table and the sentence, or JSON; then all is well."""
    choice = _choice(model)
    if wanted.as_json:
        sys.stdout.write(encoded(msgspec.json.encode, model).decode() + os.linesep)
        return 0
    _print_table(model.rows)
    for warning in words.warnings(model.rows):
        _say(warning)
    if absent:
        _say(f"Not here, so not measured: {', '.join(absent)} (vigild models list).")
    _say(words.sentence(model.rows, choice, model.budgets))
    if (held := model.sustained) is not None:
        _say(sustained_words.held(held, setting_name(held)))
    if choice.row is None or wanted.files or wanted.config.model.path:
        return 0
    seen_by_daemon = place.absolute() in profile.places()
    if seen_by_daemon and choice.row.delegate in ("xnnpack", "edgetpu"):
        _say('The daemon takes this from the profile where model.variant is "auto" (the default).')
    else:
        print("In the daemon's configuration:\n  " + "\n  ".join(words.settings(choice.row, name)))
    return 0
