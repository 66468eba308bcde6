"""`make cut-deploy EVERY=1`: the power is cut after each system call with which a deploy changes the board's disk.

Found by tracing whatever runs on the board for it: the installer with its children, the guard and what it does after a
start, and systemd where it makes links for them. After each cut a board starts from the disk as it was then, and must
get by itself to exactly one whole release that runs and that a client gets detections from:

    first     onto a board that has none, its release lying there already: then either none runs, or this one
    install   of a second release, until it is whole: the one before runs
    upgrade   to it; it has another installer, other units and a unit more, and an old one is swept away
    revert    of a release that crashes: the guard puts the one before back
    recover   the start of the board in the middle of that
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

import releases  # noqa: E402
import tracing  # noqa: E402
from board import Board, unavailable  # noqa: E402
from cuts import Picture, Pictures, comes_up, held, hold, journal  # noqa: E402
from tracing import changes, find_stopped, stopped  # noqa: E402

from cross import bundle as bundles  # noqa: E402
from cross import deploy, wheels  # noqa: E402
from cross.board.layout import GUARD_UNIT, RECOVER_UNIT  # noqa: E402
from cross.board.setup import OWN_UNITS, TOOL  # noqa: E402
from cross.bundle import Bundle  # noqa: E402
from cross.deploy import Job  # noqa: E402

WINDOW_S = 300
"""Standing still takes its time, and no release here needs to be waited for until the end."""

OTHER_UNIT = "[Unit]\nDescription=a unit that the releases before did not have\n[Service]\nExecStart=/bin/true\n"
TOLD = 20
"""Boards after which a line says how far it is."""


def newer() -> dict[str, bytes]:
    """What is beside the package in a bundle, all of it other than this tree's."""
    tool = io.BytesIO(bundles.tool())
    with zipfile.ZipFile(tool, "a") as archive:
        archive.writestr("newer", "")
    guard = {f"guard/{name}": (bundles.HERE / "guard" / name).read_bytes() + b"\n# newer\n" for name in OWN_UNITS}
    return {TOOL: tool.getvalue(), "systemd/vigild-other.service": OTHER_UNIT.encode(), **guard}


class Cutter:
    """Cuts deploys off, and has boards start from what is left meanwhile."""

    def __init__(self, folder: Path, jobs: int, seed: int) -> None:
        self._folder, self._seed = folder, seed
        self._pool = ThreadPoolExecutor(jobs)
        self._boards: list[Future[None]] = []
        self.faults: list[str] = []
        self.became: Counter[str] = Counter()
        self.lines: list[str] = []
        self._lock = threading.Lock()

    def pictures(self, board: Board, layers: Sequence[Path]) -> Pictures:
        return Pictures(board, layers, Path(tempfile.mkdtemp(dir=self._folder)), self._seed)

    def judge(
        self, scenario: str, picture: Picture, known: dict[str, str], *, first: bool = False, keep: bool = False
    ) -> None:
        """`known`: what may run then, by its name here."""
        number = len(self._boards) + 1

        def work() -> None:
            began = time.monotonic()
            fault, became = comes_up(number, picture, set(known), first=first)
            if not keep:
                shutil.rmtree(picture.layers[0])
            for name, shown in known.items():
                became = became.replace(name, shown)
            with self._lock:
                if fault:
                    self.faults.append(f"{scenario}, cut after {picture.after}: {fault}")
                    print(self.faults[-1], flush=True)
                self.became[f"{scenario}: {'FAULT' if fault else became}"] += 1
                done = sum(self.became.values())
                if done % TOLD == 0:
                    took_s = time.monotonic() - began
                    print(f"{done} boards of {len(self._boards)} so far; the last took {took_s:.0f} s", flush=True)

        self._boards.append(self._pool.submit(work))

    def told(self, scenario: str, pictures: Pictures, before: int) -> None:
        self.lines.append(
            f"{scenario}: {pictures.changes} system calls changed the disk (for {pictures.passed_over} of them "
            f"some stand that were drawn), and left {len(self._boards) - before} different disks"
        )
        print(self.lines[-1], flush=True)

    @property
    def judged(self) -> int:
        return len(self._boards)

    def wait(self) -> None:
        for each in self._boards:
            each.result()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def send(board: Board, bundle: Bundle, folder: Path) -> tuple[list[str], Path]:
    """As `cross.deploy` begins: the tool is there, and what it is to be given lies in a file."""
    with deploy.Remote(f"pi@{board.name}") as remote:
        missing = deploy._prepare(remote, bundle, lambda text: None)
    stream = folder / f"stream-{bundle.release_name()}"
    with stream.open("wb") as file:
        for piece in deploy._stream(bundle, missing, None):
            file.write(piece)
    command = ["/usr/bin/python3", "-I", "/run/vigild-deploy/tool", "receive", "--window", str(WINDOW_S)]
    return command, stream


def cut_install(board: Board, bundle: Bundle, pictures: Pictures, found: Callable[[list[Picture]], None]) -> None:
    """Traced until the release is whole, and cut off there."""
    whole = f"/opt/vigild/releases/{bundle.release_name()}/complete.json"
    with tempfile.TemporaryDirectory() as folder:
        command, stream = send(board, bundle, Path(folder))
        with stream.open("rb") as stdin, stopped(board, command, stdin=stdin) as pid:
            for change in changes(board, [pid]):
                found(pictures.take(change))
                if change.paths[-1:] == (whole,):
                    os.kill(pid, signal.SIGKILL)
                    return
    raise AssertionError(f"{bundle.path} was not installed")


def cut_deploy(board: Board, bundle: Bundle, pictures: Pictures, found: Callable[[list[Picture]], None]) -> None:
    """The deploy of a release that is whole, with everything that follows from it on the board."""
    name = bundle.release_name()
    with tempfile.TemporaryDirectory() as folder, held(board, GUARD_UNIT, "guard"):
        command, stream = send(board, bundle, Path(folder))
        with stream.open("rb") as stdin, stopped(board, command, stdin=stdin) as pid:
            for change in changes(board, [pid], [board.leader]):
                found(pictures.take(change))
        guard = board.wait_for(lambda: find_stopped(board, "vigild-deploy guard"), "the guard waits to be traced")
        came_back = ["/usr/bin/python3", "-I", "/opt/vigild/vigild-deploy", "came-back", name]
        with stopped(board, came_back) as pid:
            for change in changes(board, [pid], [board.leader]):
                found(pictures.take(change))
        for change in changes(board, [guard], [board.leader]):
            found(pictures.take(change))


def build(board: Board, bundle: Bundle) -> None:
    """Its release is whole, and nothing points at it."""
    board.push(bundle.path, "/root/bundle.tar")
    (board.root / "root/tool").write_bytes(bundle.read(TOOL))
    board.run("cd /root && python3 -I tool build bundle.tar && rm tool bundle.tar", timeout_s=300)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=(os.cpu_count() or 1) + 1, help="boards at a time")
    parser.add_argument("--only", nargs="*", default=["first", "install", "upgrade", "revert", "recover"])
    arguments = parser.parse_args()
    if reason := unavailable() or tracing.unavailable():
        print(f"cut-deploy: {reason}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # no board is left behind
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vigild-cuts-") as folder:
        cutter = Cutter(Path(folder), arguments.jobs, arguments.seed)
        try:
            cut(cutter, Path(folder), arguments.only)
            cutter.wait()
        finally:
            cutter.close()
    print("\n".join(cutter.lines))
    for what, count in sorted(cutter.became.items()):
        print(f"{count:4} x {what}")
    print(
        f"{cutter.judged} boards were started, {len(cutter.faults)} not as they had to be; "
        f"{time.monotonic() - began:.0f} s"
    )
    return 1 if cutter.faults else 0


def cut(cutter: Cutter, folder: Path, only: Sequence[str]) -> None:
    text = (wheels.REPOSITORY / "daemon/vigild/figures.py").read_text()

    def made(name: str, **how: object) -> Bundle:
        (folder / name).mkdir()
        return Bundle.open(releases.make(folder / name, **how))  # type: ignore[arg-type]

    old, good, new, bad = (
        made("old", figures=f"{text}\n# old\n"),
        made("good"),
        made("new", figures=f"{text}\n# new\n", beside=newer()),
        made("bad", cli__run=releases.CRASHES),
    )
    names = {each.release_name(): name for name, each in (("old", old), ("good", good), ("new", new), ("bad", bad))}

    def judging(scenario: str, *bundles: Bundle) -> Callable[[list[Picture]], None]:
        known = {each.release_name(): names[each.release_name()] for each in bundles}

        def found(taken: list[Picture]) -> None:
            for picture in taken if scenario in only else ():
                cutter.judge(scenario, picture, known, first=scenario == "first")

        return found

    layers: list[Path] = []

    @contextlib.contextmanager
    def scenario(name: str) -> Iterator[tuple[Board, Pictures]]:
        """A board on what was left by the ones before it; what it leaves is a layer for the next one."""
        with Board("cut", layers=layers) as board:
            os.environ["VIGILD_SSH"] = f"ssh -F {board.ssh_config}"
            pictures, before = cutter.pictures(board, layers), cutter.judged
            yield board, pictures
            if pictures.changes:
                cutter.told(name, pictures, before)
            layers.insert(0, board.keep(folder / f"{name}-layer"))

    with scenario("built") as (board, _):
        build(board, old)
    with scenario("first") as (board, pictures):
        cut_deploy(board, old, pictures, judging("first", old))
        board.write("/etc/vigild/vigild.toml", releases.CONFIGURATION)
        outcome = deploy.deploy(good, Job("pi@cut", window_s=WINDOW_S), lambda text: None)
        assert outcome.good, outcome.detail
    with scenario("install") as (board, pictures):
        cut_install(board, new, pictures, judging("install", good))
    with scenario("upgrade") as (board, pictures):
        cut_deploy(board, new, pictures, judging("upgrade", good, new))
        assert journal(board)["good"] == new.release_name(), journal(board)
    with scenario("bad") as (board, _):
        build(board, bad)

    reverting: list[Picture] = []
    with scenario("revert") as (board, pictures):

        def found(taken: list[Picture]) -> None:
            linked = (board.root / "opt/vigild/current").readlink().name
            for picture in taken:
                begins = not reverting and journal(board)["current"] != linked == bad.release_name()
                reverting.extend([picture] * begins)
                if "revert" in only:
                    cutter.judge("revert", picture, {new.release_name(): "new"}, keep=begins)

        cut_deploy(board, bad, pictures, found)
        assert journal(board)["current"] == new.release_name(), journal(board)

    if "recover" in only:
        cut_recover(cutter, folder, reverting[0], {new.release_name(): "new"})


def cut_recover(cutter: Cutter, folder: Path, picture: Picture, known: dict[str, str]) -> None:
    """From a disk where the journal says one release and the link another."""
    waits = folder / "waits"
    drop_in = waits / f"etc/systemd/system/{RECOVER_UNIT}.d/held.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text(hold("recover"))
    waits.chmod(0o755)
    board = Board("cut", layers=[waits, *picture.layers])
    starting = threading.Thread(target=board.__enter__)
    starting.start()
    try:
        recover = board.wait_for(lambda: board.leader and find_stopped(board, "vigild-deploy recover"), "it recovers")
        pictures, before = cutter.pictures(board, picture.layers), cutter.judged
        for change in changes(board, [recover], [board.leader]):
            for taken in pictures.take(change):
                cutter.judge("recover", taken, known)
        cutter.told("recover", pictures, before)
    finally:
        starting.join()
        board.__exit__(None, None, None)


if __name__ == "__main__":
    sys.exit(main())
