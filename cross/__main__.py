"""`python -m cross COMMAND`: what the Makefile calls. Exit status: 0 done, 1 it did not work, 2 wrong usage."""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cross import bundle as bundles
from cross import deb, deploy, fleet, inventory, lock, sign, target
from cross.board.layout import Layout
from cross.board.package import Refused
from cross.board.setup import TOOL
from cross.bundle import Bundle
from cross.deploy import Job, Outcome
from cross.emulation import machine
from cross.emulation.emulate import emulate
from cross.errors import CrossError
from cross.rollout import Rollout
from cross.target import HERE, REPOSITORY, Target

SYSTEM_PYTHON = "/usr/bin/python3"
"""What releases on a board run on, whatever environment this one is."""


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        return int(args.run(args))
    except (CrossError, Refused) as error:
        fleet.complain(str(error))
        return 1
    except KeyboardInterrupt:
        fleet.complain("interrupted; a board that was trying a release goes on deciding by itself")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cross", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text)
        added.set_defaults(run=run)
        return added

    for name, run, text in (
        ("lock", _lock, "resolve a target's wheels anew"),
        ("bundle", _bundle, "make the bundle of a target"),
        ("emulate", _emulate, "make the bundle of a target, and install and try it on an emulated processor"),
        ("install", _install, "make a bundle for this machine and install it here"),
        ("deploy", _deploy, "deploy to boards"),
    ):
        added = command(name, run, text)
        added.add_argument("--target", default="")
        added.add_argument("--key", type=Path, help="signs the bundle (default: where make signing-key puts it)")
        added.add_argument("--window", type=int, metavar="S", help="to pass the gate in (default: 60, or hosts.toml)")
        if name == "deploy":
            added.add_argument("--bundle", type=Path, help="this one, instead of making it")
            added.add_argument("--canary", type=int)
            added.add_argument("--wave", type=int)
            added.add_argument("--max-failed", type=int)
            _boards(added)
    for name, run, text in (
        ("rollback", _rollback, "try the good release before this one"),
        ("status", _status, "what runs on boards"),
        ("logs", _tell, "the last lines of boards' journals"),
        ("doctor", _tell, "vigild doctor, on boards"),
        ("undeploy", _tell, "take vigild off boards; configuration and data stay"),
        ("accept", _tell, "take a release for good that did not pass its gate"),
    ):
        added = command(name, run, text)
        added.set_defaults(name=name)
        added.add_argument("--window", type=int)
        if name == "logs":
            added.add_argument("-n", type=int, default=50)
        _boards(added)
    packing = command("deb", _deb, "make the Debian package of a target, or of this machine")
    packing.add_argument("--target", default="")
    command("board", _board, "an emulated board, on this terminal").add_argument("--arch", default=platform.machine())
    command("uninstall", _uninstall, "take vigild off this machine; configuration and data stay")
    command("signing-key", _signing_key, "make a key that signs bundles").add_argument("--key", type=Path)
    return parser


def _boards(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", action="append", default=[], help="user@board; may be repeated")
    parser.add_argument("--group", default="", help="of the inventory; all: every board")
    parser.add_argument("--hosts", type=Path, default=HERE / "hosts.toml", help="the inventory")


def _key(args: argparse.Namespace) -> Path | None:
    if args.key is not None:
        if not args.key.is_file():
            raise CrossError(f"the signing key {args.key} is not there; make one with: make signing-key SIGN_KEY=...")
        return Path(args.key)
    return sign.default_key() if sign.default_key().is_file() else None


def _lock(args: argparse.Namespace) -> int:
    chosen = [args.target] if args.target else target.names()
    for each in map(target.load, chosen):
        wheels = lock.resolve(each)
        lock.write(each, wheels)
        print(f"{each.lock_file()}: {len(wheels)} wheels")
    return 0


def _bundle(args: argparse.Namespace) -> int:
    key = _key(args)
    path = bundles.make(_target(args.target), key)
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB, {'signed' if key else 'not signed'}")
    return 0


def _deb(args: argparse.Namespace) -> int:
    path = deb.make(_target(args.target or _this_machine()))
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB; on the board: sudo apt-get install ./{path.name}")
    return 0


def _emulate(args: argparse.Namespace) -> int:
    chosen = _target(args.target)
    return emulate(chosen, bundles.make(chosen, _key(args)))


def _board(args: argparse.Namespace) -> int:
    machine.console(args.arch, REPOSITORY / "build/boards")


def _target(name: str) -> Target:
    if not name:
        raise CrossError(f"which board? TARGET is one of {', '.join(target.names())}")
    return target.load(name)


def _this_machine() -> str:
    """The target that this machine is."""
    version = subprocess.run(
        [SYSTEM_PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    machine = platform.machine()
    for name in target.names():
        each = target.load(name)
        if machine in each.machines and version == each.python:
            return name
    raise CrossError(
        f"no target is like this machine ({machine}, Python {version or 'missing'} at {SYSTEM_PYTHON}): name one with "
        f"TARGET, of {', '.join(target.names())}, or add one to {target.TARGETS}"
    )


def _install(args: argparse.Namespace) -> int:
    _not_packaged()  # the installer says so too, but only when the bundle is made
    path = bundles.make(_target(args.target or _this_machine()), _key(args))
    with tempfile.TemporaryDirectory() as folder:
        tool = Path(folder) / TOOL
        tool.write_bytes(bundles.tool())
        window = ["--window", str(args.window)] if args.window else []
        return subprocess.run([SYSTEM_PYTHON, "-I", str(tool), "install", str(path), *window], check=False).returncode


def _not_packaged() -> None:
    if Layout().packaged.exists():
        raise CrossError("vigild is installed here as a Debian package: sudo apt-get remove vigild")


def _uninstall(args: argparse.Namespace) -> int:
    _not_packaged()
    layout = Layout()
    if not layout.tool.is_file():
        raise CrossError("vigild is not installed here")
    return subprocess.run([SYSTEM_PYTHON, "-I", str(layout.tool), "undeploy"], check=False).returncode


def _signing_key(args: argparse.Namespace) -> int:
    path = args.key or sign.default_key()
    sign.make_key(path)
    print(f"{path}: keep it; boards that were deployed to with it take no other")
    return 0


class _Chosen:
    """The boards of a command line, and what stands in the inventory about rolling out."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.targets: dict[str, str] = {}
        self.jobs: dict[str, Job] = {}
        self.canary, self.wave, self.max_failed = 1, 5, 0
        hosts = [host for text in args.host for host in text.split()]
        if bool(hosts) == bool(args.group):
            raise CrossError("which boards? Either HOST=user@board, or GROUP= of the inventory (all: every board)")
        if args.group:
            found = inventory.load(args.hosts)
            self.canary, self.wave, self.max_failed = found.canary, found.wave, found.max_failed
            for board in found.group(args.group):
                self.jobs[board.name] = board.job
                self.targets[board.name] = board.target
        for host in hosts:
            self.jobs[host] = Job(host)
        if args.window:
            self.jobs = {
                name: Job(job.host, job.name, args.window, job.configuration) for name, job in self.jobs.items()
            }
        for name in ("canary", "wave", "max_failed"):
            if getattr(args, name, None) is not None:
                setattr(self, name, getattr(args, name))

    def rollout(self) -> Rollout:
        try:
            return Rollout(list(self.jobs), canary=self.canary, wave=self.wave, max_failed=self.max_failed)
        except ValueError as error:
            raise CrossError(str(error)) from None


def _deploy(args: argparse.Namespace) -> int:
    chosen = _Chosen(args)
    key = _key(args)
    made: dict[str, Bundle] = {}
    for name in chosen.jobs:
        kind = args.target or chosen.targets.get(name, "")
        if args.bundle:
            made.setdefault(kind, Bundle.open(args.bundle))
        elif kind not in made:
            made[kind] = Bundle.open(bundles.make(_target(kind), key))
    alone = len(chosen.jobs) == 1

    def work(name: str) -> Outcome:
        bundle = made[args.target or chosen.targets.get(name, "")]
        return deploy.deploy(bundle, chosen.jobs[name], fleet.say_for(name, alone))

    return _rolled(chosen, work)


def _rollback(args: argparse.Namespace) -> int:
    chosen = _Chosen(args)
    alone = len(chosen.jobs) == 1
    return _rolled(chosen, lambda name: deploy.rollback(chosen.jobs[name], fleet.say_for(name, alone)))


def _rolled(chosen: _Chosen, work: object) -> int:
    assert callable(work)
    rollout = chosen.rollout()
    outcomes = fleet.roll(rollout, work)
    for each in outcomes:
        if not each.good:
            fleet.complain(f"{each.board}: {each.detail}")
    print(fleet.table(outcomes, rollout.untouched))
    if rollout.stopped and rollout.untouched:
        fleet.complain(f"{rollout.stopped}; {len(rollout.untouched)} boards were left as they were")
    return 0 if outcomes and all(each.good for each in outcomes) and not rollout.untouched else 1


def _status(args: argparse.Namespace) -> int:
    text, well = fleet.status(list(_Chosen(args).jobs.values()))
    print(text)
    return 0 if well else 1


def _tell(args: argparse.Namespace) -> int:
    chosen = _Chosen(args)
    alone, status = len(chosen.jobs) == 1, 0
    arguments = f"logs -n {args.n}" if args.name == "logs" else args.name
    for name, job in chosen.jobs.items():
        try:
            deploy.ask(job, arguments, fleet.say_for(name, alone))
        except CrossError as error:
            status = 1
            # What the tool said was shown already, line by line.
            if not alone or "\n" not in str(error):
                fleet.complain(f"{name}: {str(error).splitlines()[0]}")
    return status


if __name__ == "__main__":
    sys.exit(main())
