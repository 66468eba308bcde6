"""The commands of vigild-deploy. Exit status: 0 done, 1 it did not work, 2 wrong usage."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .disk import Disk
from .guard import Guard, accept
from .journal import Allowance, Journal, JournalError
from .layout import GUARD_UNIT, UNIT, Layout
from .package import SIGNATURE, SUMS, Package, Refused, fits, receive
from .release import Builder, enough_room, sweep
from .setup import Setup, as_root, described
from .system import System

WINDOW_S = 60
"""To the first detection: seconds on a Pi 4; a board that makes .pyc files and warms up needs some more."""

WAIT_S = 0.5

SWEEP_S = 120
"""For the guard to end once it has decided: it takes away what no release needs, and nobody can deploy meanwhile."""


class Tool:
    """One command line's work."""

    def __init__(self, layout: Layout, disk: Disk, system: System) -> None:
        self.layout, self.disk, self.system = layout, disk, system
        self.guard = Guard(layout, disk, system)
        self.setup = Setup(layout, disk, system, self.say)

    @staticmethod
    def say(text: str) -> None:
        print(text, flush=True)

    # ---- deploying

    def missing(self, target: str) -> int:
        """Hashes on standard input, one a line; those that have to be sent on standard output. `target`: what the
        bundle is for, as its description says it, in JSON."""
        # Told before anything is sent.
        self.setup.not_packaged()
        fits(json.loads(target))
        for hash in sys.stdin.read().split():
            if not (self.layout.store / hash).is_file():
                print(hash)
        return 0

    def receive(self, allowance: Allowance) -> int:
        """A bundle's missing pieces on standard input: install, and begin to try it."""
        self.setup.not_packaged()
        with self.guard.locked():
            self._idle()
            others, _ = receive(sys.stdin.buffer, self.layout.store, self.disk)
            package = Package.read(others.get(SUMS, b""), others.get(SIGNATURE))
            self._install(package, others.get("allowed_signers"), allowance, others.get("configuration"))
        return 0

    def install(self, bundle: Path, window_s: int) -> int:
        """A bundle that lies on this board."""
        as_root()
        self.setup.not_packaged()
        with self.guard.locked():
            self._idle()
            package, signers = self._unpack(bundle)
            name = self._install(package, signers, Allowance(window_s, returning=False))
        return self.wait(name)

    def build(self, bundle: Path) -> int:
        """Its release alone: nothing points at it and nothing is started. For a root that is being put together."""
        package, _ = self._unpack(bundle)
        package.trusted(self.layout.key, self.system)
        name = Builder(self.layout, self.disk, self.system, self.say).build(package)
        self.say(f"built {self.layout.release(name)}")
        return 0

    def _idle(self) -> None:
        journal = self.guard.load()
        if journal.phase != "settled":
            raise JournalError(f"{journal.candidate} is being tried on this board; wait for the outcome")

    def _unpack(self, bundle: Path) -> tuple[Package, bytes | None]:
        try:
            with tarfile.open(bundle, "r:") as tar:
                members = {member.name: member for member in tar if member.isfile()}

                def data(name: str) -> bytes | None:
                    file = tar.extractfile(members[name]) if name in members else None
                    return file.read() if file else None

                package = Package.read(data(SUMS) or b"", data(SIGNATURE))
                enough_room(self.layout.home, sum(member.size for member in members.values()))
                self.disk.folder(self.layout.store)
                missing = set(package.missing(self.layout.store))
                for name, hash in package.files.items():
                    content = data(name) if hash in missing else None
                    if content is not None:
                        self.disk.write(self.layout.store / hash, content)
                return package, data("allowed_signers")
        except (tarfile.TarError, EOFError) as error:
            raise Refused(f"{bundle} is damaged, or no bundle: {error}") from None

    def _install(
        self, package: Package, signers: bytes | None, allowance: Allowance, configuration: bytes | None = None
    ) -> str:
        package.trusted(self.layout.key, self.system)
        builder = Builder(self.layout, self.disk, self.system, self.say)
        name = builder.build(package)
        self.setup.before(package, signers, configuration)
        self.setup.check(name)
        self.guard.begin(name, allowance)
        self._start(name)
        return name

    def _start(self, name: str) -> None:
        """The guard is a unit: it does not end with whoever started it."""
        self.say(f"release {name}")
        self.system.run(["systemctl", "start", "--no-block", GUARD_UNIT])

    def came_back(self, name: str) -> int:
        """What only a new connection can do."""
        journal = self.guard.load()
        if journal.candidate == name and journal.phase == "trying":
            self.disk.write(self.layout.returned, f"{name}\n".encode())
        return 0

    def wait(self, name: str) -> int:
        """Until the journal is settled and the guard has ended; tells what changes on the way."""
        told: dict[str, tuple[str, str]] = {}
        shown = ""
        looks_left = int(SWEEP_S / WAIT_S)
        while True:
            journal = self.guard.load()
            with contextlib.suppress(OSError, ValueError):
                progress = json.loads(self.layout.progress.read_bytes())
                if progress["current"] != shown:
                    shown, told = progress["current"], {}
                    self.say(f"{shown}:")
                for condition, state, detail in progress["verdicts"]:
                    # Waiting is told once; figures that go on moving while all is well are not.
                    key = (state, detail if state == "failed" else "")
                    if told.get(condition) != key:
                        told[condition] = key
                        self.say(f"  {state:8} {condition}: {detail}")
            if journal.phase == "settled":
                looks_left -= 1
                if looks_left < 0 or self.system.show(GUARD_UNIT).get("ActiveState") != "active":
                    return self._verdict(journal, name)
            self.system.sleep(WAIT_S)

    def _verdict(self, journal: Journal, name: str) -> int:
        if journal.good == name and journal.current == name and not journal.ailing:
            self.say(f"{name} runs and passed its gate")
            return 0
        self.say(f"{name} did not pass its gate: {journal.reason or 'another release is in force'}")
        self.say("what the journal says:")
        for line in self._lines("-n", "200", "--priority", "5")[-15:]:
            self.say(f"  {line}")
        if journal.current == name:
            self.say("there is no better release on this board: it goes on trying this one")
        elif journal.ailing:
            self.say(f"{journal.current} was put back, but does not pass its gate either; the board goes on trying it")
        else:
            self.say(f"{journal.current} was put back and passed its gate")
        return 1

    def rollback(self, allowance: Allowance) -> int:
        """Try the good release before this one, as a deploy would."""
        with self.guard.locked():
            journal = self.guard.load()
            here = journal.good if journal.current != journal.good else journal.previous
            if here is None or not self.layout.whole(here):
                raise Refused("there is no earlier good release on this board to go back to")
            self.setup.check(here)
            self.guard.begin(here, allowance)
            self._start(here)
        return 0

    def accept(self) -> int:
        with self.guard.locked():
            self.guard.save(accept(self.guard.load()))
        return 0

    # ---- looking

    def status(self, as_json: bool) -> int:
        journal, shown = self.guard.load(), self.system.show(UNIT)
        told: dict[str, Any] = {
            "journal": asdict(journal),
            "unit": {
                key: shown.get(key, "") for key in ("ActiveState", "SubState", "Result", "NRestarts", "StatusText")
            },
            "releases": self.layout.whole_releases(),
            "version": described(self.layout, journal.current or "").get("version", ""),
            "target": described(self.layout, journal.current or "").get("target", ""),
        }
        if as_json:
            print(json.dumps(told))
            return 0
        unit = told["unit"]
        self.say(f"release   {journal.current or 'none'} ({told['target'] or 'no target'})")
        state = {"settled": "settled", "trying": "being tried", "reverting": "put back, being judged"}[journal.phase]
        self.say(f"journal   {state}{', ailing: ' + journal.reason if journal.ailing else ''}")
        if journal.failed and not journal.ailing:
            self.say(f"failed    {journal.failed}: {journal.reason}")
        self.say(f"before    {journal.previous or 'none'}")
        self.say(f"unit      {unit['ActiveState']} ({unit['SubState']}): {unit['StatusText'] or unit['Result']}")
        return 0

    def logs(self, lines: int) -> int:
        for line in self._lines("-n", str(lines)):
            print(line)
        return 0

    def _lines(self, *more: str) -> list[str]:
        command = ["journalctl", "--no-pager", "--output=short-iso", "-u", UNIT, "-u", GUARD_UNIT, *more]
        return self.system.run(command).output.splitlines()

    def doctor(self) -> int:
        program = self.layout.current / "bin/vigild"
        if not program.exists():
            raise Refused("no release runs on this board yet: deploy one first")
        done = self.system.run([str(program), "doctor", "--config", str(self.layout.config)], timeout_s=180)
        print(done.output, end="")
        return done.status

    # ---- what the units run

    def run_guard(self) -> int:
        self.guard.run()
        return 0

    def recover(self) -> int:
        self.guard.recover()
        return 0

    def undeploy(self, purge: bool) -> int:
        self.setup.undeploy(purge)
        left = "nothing is left" if purge else f"{self.layout.etc} and {self.layout.data} are left"
        self.say(f"vigild was taken off this board; {left}")
        return 0

    def sweep(self) -> int:
        with self.guard.locked():
            sweep(self.layout, self.disk, self.guard.load().needs())
        return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="vigild-deploy", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("/"), help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    install = commands.add_parser("install", help="install a bundle that lies on this board, and try it")
    install.add_argument("bundle", type=Path)
    building = commands.add_parser("build", help="make a bundle's release, and start nothing")
    building.add_argument("bundle", type=Path)
    receiving = commands.add_parser("receive", help="install the bundle that comes on standard input, and try it")
    rollback = commands.add_parser("rollback", help="try the good release before this one")
    for each in (install, receiving, rollback):
        each.add_argument("--window", type=int, default=WINDOW_S, metavar="S", help=f"default {WINDOW_S}")
    for each in (receiving, rollback):
        each.add_argument(
            "--returning", action="store_true", help="whoever asks has to come back over a new connection"
        )
    for name, text in (("came-back", "say so, over a new connection"), ("wait", "tell how the trial goes and ends")):
        commands.add_parser(name, help=text).add_argument("release")
    missing = commands.add_parser("missing", help="of the hashes on standard input, those that are not here")
    missing.add_argument("--target", required=True, metavar="JSON", help="what the bundle is for")
    commands.add_parser("status", help="what runs here").add_argument("--json", action="store_true")
    commands.add_parser("logs", help="the last lines of the journal").add_argument("-n", type=int, default=50)
    commands.add_parser("doctor", help="vigild doctor, of the release that runs")
    commands.add_parser("accept", help="take the release that runs for good, although it did not pass")
    commands.add_parser("recover", help="what the board does first when it starts")
    commands.add_parser("guard", help="what the board does while a release is tried")
    commands.add_parser("sweep", help="remove what no release needs")
    commands.add_parser("undeploy", help="take vigild off this board").add_argument("--purge", action="store_true")
    args = parser.parse_args(argv)
    tool = Tool(Layout(args.root), Disk(), System())
    try:
        return _run(tool, args)
    except (Refused, JournalError) as error:
        print(f"vigild-deploy: {error}", file=sys.stderr)
    except OSError as error:
        print(f"vigild-deploy: {error.filename or 'the disk'}: {error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 1


def _run(tool: Tool, args: argparse.Namespace) -> int:
    if args.command in ("receive", "rollback", "came-back", "accept", "undeploy", "sweep", "guard", "recover", "build"):
        as_root()
    match args.command:
        case "install":
            return tool.install(args.bundle, args.window)
        case "build":
            return tool.build(args.bundle)
        case "receive":
            return tool.receive(Allowance(args.window, args.returning))
        case "rollback":
            return tool.rollback(Allowance(args.window, args.returning))
        case "came-back":
            return tool.came_back(args.release)
        case "wait":
            return tool.wait(args.release)
        case "missing":
            return tool.missing(args.target)
        case "status":
            return tool.status(args.json)
        case "logs":
            return tool.logs(args.n)
        case "doctor":
            return tool.doctor()
        case "accept":
            return tool.accept()
        case "recover":
            return tool.recover()
        case "guard":
            return tool.run_guard()
        case "sweep":
            return tool.sweep()
        case _:
            return tool.undeploy(args.purge)
