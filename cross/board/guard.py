"""Carries out the journal on the board: switch, restart, watch, and put back what did not pass.

    guard = Guard(layout, disk, system)
    guard.recover()       # at the start of the board, before the service: `current` as the journal says
    guard.run()           # until the journal is settled

It runs as a unit of the board (vigild-confirm.service), so nobody has to be connected. Killed at any point it is
started again and goes on where the journal says; everything it does can be done twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from . import journal as states
from .disk import Disk
from .gate import Demands, Verdict, judge, outcome, why
from .journal import Allowance, Journal, JournalError
from .layout import GUARD_UNIT, SOCKET_UNIT, UNIT, Layout
from .observe import Baseline, Observer
from .release import sweep
from .system import System

LOOK_S = 0.5
NOTIFY_RELOAD = "optional/notify-reload.conf"


class Guard:
    def __init__(
        self,
        layout: Layout,
        disk: Disk,
        system: System,
        observe: Callable[[Layout, System, str, Baseline], Observer] = Observer,
    ) -> None:
        self._layout, self._disk, self._system, self._observe = layout, disk, system, observe

    # ---- the journal

    def load(self) -> Journal:
        """What the journal says; where it is damaged, what the link says, which is one whole release all the same."""
        try:
            return states.decode(self._layout.journal.read_bytes())
        except FileNotFoundError:
            return Journal()
        except JournalError as error:
            linked = self._layout.linked()
            good = linked if linked and self._layout.whole(linked) else None
            self.say(f"{self._layout.journal} cannot be used: {error}; going on with {good or 'no release'}", "3")
            return Journal(current=good, good=good, ailing=True, reason=str(error))

    def save(self, journal: Journal) -> None:
        self._disk.folder(self._layout.home)
        self._disk.write(self._layout.journal, states.encode(journal))

    def begin(self, release: str, allowance: Allowance) -> None:
        """From here on the board decides, whatever becomes of who asked. Under `locked`. Raises JournalError."""
        if not self._layout.whole(release):
            here = ", ".join(self._layout.whole_releases()) or "none"
            raise JournalError(f"there is no whole release {release} on this board; there are: {here}")
        begun = states.begin(self.load(), release, allowance, self._system.now())
        self._disk.remove(self._layout.returned)
        self._layout.progress.unlink(missing_ok=True)
        Baseline.take(self._layout, self._system, self._disk)
        self.save(begun)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One at a time changes the journal. Raises JournalError while another does."""
        self._disk.folder(self._layout.home)
        fd = os.open(self._layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                journal = self.load()
                doing = f"tries {journal.candidate}" if journal.candidate else "is at work"
                raise JournalError(f"another vigild-deploy {doing} on this board; wait until it is done") from None
            yield
        finally:
            os.close(fd)

    # ---- making the board fit it

    def recover(self) -> None:
        """Before the service starts with the board: the link fits the journal, and the release is whole."""
        journal = states.resumed(self.load(), self._system.now())
        if journal.current is not None and not self._layout.whole(journal.current):
            journal = self._without(journal, journal.current)
        self.save(journal)
        if journal.current is not None and self.point(journal.current):
            self._system.run(["systemctl", "daemon-reload"])
        if journal.phase != "settled":
            self.say(f"{journal.candidate} was being tried when the board went down: {_next(journal)}", "5")
            self._system.run(["systemctl", "start", "--no-block", GUARD_UNIT])

    def _without(self, journal: Journal, lost: str) -> Journal:
        """A file system check may take what was written: then any whole release is better than none."""
        others = [name for name in (journal.good, journal.previous) if name and self._layout.whole(name)]
        others += reversed(self._layout.whole_releases())
        chosen = others[0] if others else None
        reason = f"{lost} is not whole any more; going on with {chosen or 'none'}"
        self.say(reason, "3")
        return Journal(current=chosen, good=chosen, ailing=True, reason=reason, failed=lost)

    def point(self, release: str) -> bool:
        """`current` and the units point at that release; whether anything had to be changed."""
        before = (self._layout.linked(), linked_units(self._layout))
        self._disk.folder(self._layout.units)
        self._disk.link(self._layout.current, f"releases/{release}")
        wanted = unit_links(self._layout.release(release) / "systemd", self._newer_reload())
        for name, file in wanted.items():
            path = self._layout.units / name
            self._disk.folder(path.parent)
            self._disk.link(path, f"/opt/vigild/current/systemd/{file}")
        for path in linked_units(self._layout):
            if str(path.relative_to(self._layout.units)) not in wanted:
                self._disk.remove(path)
        return before != (self._layout.linked(), linked_units(self._layout))

    def _newer_reload(self) -> bool:
        """systemd 253 knows Type=notify-reload; 252 silently takes it for simple."""
        words = self._system.run(["systemctl", "--version"]).output.split()
        return len(words) > 1 and words[1].isdigit() and int(words[1]) >= 253

    def switch(self, release: str) -> None:
        """Point at a release and have it started, without waiting for what becomes of it."""
        units = self._layout.release(release) / "systemd" / SOCKET_UNIT
        linked = self._layout.linked()
        before = self._layout.release(linked) / "systemd" / SOCKET_UNIT if linked else None
        same = before is not None and before.is_file() and before.read_bytes() == units.read_bytes()
        self.point(release)
        run = self._system.run
        run(["systemctl", "daemon-reload"])
        if not same:
            run(["systemctl", "stop", UNIT, SOCKET_UNIT])
        run(["systemctl", "reset-failed", UNIT, SOCKET_UNIT])
        run(["systemctl", "enable", "--quiet", UNIT, SOCKET_UNIT])
        run(["systemctl", "start", SOCKET_UNIT])
        run(["systemctl", "restart", "--no-block", UNIT])

    # ---- the watch

    def run(self) -> Journal:
        """Go on until the journal is settled. Raises JournalError while another guard runs."""
        with self.locked():
            journal = states.resumed(self.load(), self._system.now())
            if journal.phase == "settled":
                return journal
            self.save(journal)
            while True:
                journal = self._try(journal)
                if journal.phase == "settled":
                    break
            self._disk.remove(self._layout.returned)
            sweep(self._layout, self._disk, journal.needs())
            return journal

    def _try(self, journal: Journal) -> Journal:
        """Run what the journal says should run, and judge it; returns what the journal says then."""
        release = journal.current
        if release is None or not self._layout.whole(release):
            after = self._without(journal, release or "the release")
            self.save(after)
            return after
        if not self._runs(release):
            self.say(f"switching to {release}", "5")
            self.switch(release)
        demands = Demands(release, journal.returning)
        observer = self._observe(self._layout, self._system, release, Baseline.load(self._layout))
        try:
            passed, reason, verdicts = self._watch(journal, observer, demands)
        finally:
            observer.close()
        now = self._system.now()
        after = states.passed(journal) if passed else states.failed(journal, reason, now)
        self._tell(after, verdicts, release, passed, reason)
        if after.phase == "reverting":
            # Errors of what failed are not errors of what is put back.
            Baseline.take(self._layout, self._system, self._disk)
        self.save(after)
        return after

    def _runs(self, release: str) -> bool:
        """Whether the switch was made already: by a guard that was killed after it."""
        pid = self._system.show(UNIT).get("MainPID", "0")
        return (
            self._layout.linked() == release
            and pid.isdigit()
            and self._system.release_of(int(pid), self._layout.releases) == release
        )

    def _watch(self, journal: Journal, observer: Observer, demands: Demands) -> tuple[bool, str, list[Verdict]]:
        while True:
            verdicts = judge(observer.look(LOOK_S), demands)
            self._progress(journal, verdicts)
            match outcome(verdicts):
                case "passed":
                    return True, "", verdicts
                case "failed":
                    return False, why(verdicts), verdicts
            if journal.expired(self._system.now()):
                window_s = journal.window_s or states.REVERT_WINDOW_S
                return False, f"not within {window_s} s: {why(verdicts)}", verdicts

    def _tell(self, after: Journal, verdicts: list[Verdict], release: str, passed: bool, reason: str) -> None:
        self._progress(after, verdicts)
        if passed:
            self.say(f"{release} passed its gate", "5")
        else:
            self.say(f"{release} did not pass its gate: {reason}", "3")
        if after.phase == "settled" and after.ailing:
            self.say(f"no release here passes its gate: going on with {after.current} all the same", "2")

    def _progress(self, journal: Journal, verdicts: list[Verdict]) -> None:
        """For whoever waits; below /run, so it costs no flash memory."""
        told = {"phase": journal.phase, "current": journal.current, "verdicts": [list(each) for each in verdicts]}
        self._layout.run.mkdir(parents=True, exist_ok=True)
        new = self._layout.progress.with_suffix(".new")
        new.write_text(json.dumps(told))
        new.replace(self._layout.progress)

    def say(self, text: str, priority: str) -> None:
        """On standard error, which is the journal when this is a unit."""
        prefix = f"<{priority}>" if os.environ.get("JOURNAL_STREAM") else "vigild-deploy: "
        os.write(2, f"{prefix}{text}\n".encode())


def accept(journal: Journal) -> Journal:
    """The ailing release that runs is taken for good: by a person who looked, never by the board."""
    return replace(journal, good=journal.current, ailing=False, reason="")


def unit_links(units: Path, newer_reload: bool) -> dict[str, str]:
    """What of a release's systemd/ is taken up: by its place below /etc/systemd/system, its place in the release."""
    names = sorted(path.name for path in units.iterdir() if path.suffix in (".service", ".socket", ".timer"))
    links = {name: name for name in names}
    if newer_reload and (units / NOTIFY_RELOAD).is_file():
        for name in names:
            if name in (UNIT, "vigild@.service"):
                links[f"{name}.d/notify-reload.conf"] = NOTIFY_RELOAD
    return links


def linked_units(layout: Layout) -> list[Path]:
    """Links among systemd's units that point into `current`."""
    if not layout.units.is_dir():
        return []
    return [
        path
        for path in sorted([*layout.units.glob("vigild*"), *layout.units.glob("vigild*.d/*")])
        if path.is_symlink() and str(path.readlink()).startswith("/opt/vigild/current/")
    ]


def _next(journal: Journal) -> str:
    if journal.phase == "reverting":
        return f"going on with putting {journal.current} back"
    return f"it gets another {journal.window_s} s"
