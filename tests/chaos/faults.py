"""What is done to the daemon. Each fault is begun, lasts for a while, and is undone.

    fault = chance.choice(FAULTS)
    with fault.inflict(rig, chance) as said: ...

The kinds are those of the design's table of faults, the calls of `injected.table`, and clients that misbehave.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from chaos.rig import CAMERAS, LIVE, Rig
from injected.table import CASES

DEADLY = (signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV)
CALLS = [case for case in CASES if case.call not in ("open:sys",) and case.provoke != "hang"]


class Fault(NamedTuple):
    """One kind."""

    name: str
    begin: Callable[[Rig, random.Random], contextlib.AbstractContextManager[str]]
    """Inflicts it; says in words what it did. At the end of the context it is over."""
    weight: int = 2
    kills: tuple[str, ...] = ()
    """Workers that may be said to have died of it ("detector", "camera"): nothing else may."""
    stops_hub: bool = False


def _worker(rig: Rig, chance: random.Random, kind: str = "") -> tuple[str, int]:
    workers = {name: pid for name, pid in rig.workers().items() if name.startswith(kind)}
    name = chance.choice(sorted(workers))
    return name, workers[name]


@contextlib.contextmanager
def _killed(rig: Rig, chance: random.Random) -> Iterator[str]:
    name, pid = _worker(rig, chance)
    number = chance.choice(DEADLY)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    yield f"{number.name} to {name}"


@contextlib.contextmanager
def _killed_again(rig: Rig, chance: random.Random) -> Iterator[str]:
    """The one that follows, too, as soon as it is there."""
    name, pid = _worker(rig, chance)
    times = chance.randint(2, 4)
    for _ in range(times):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        rig.crowd.pump(20, lambda pid=pid: rig.workers().get(name, pid) != pid)  # type: ignore[misc]
        pid = rig.workers().get(name, pid)
    yield f"SIGKILL to {name}, {times} times in a row"


@contextlib.contextmanager
def _all_killed(rig: Rig, chance: random.Random) -> Iterator[str]:
    workers = rig.workers()
    for pid in workers.values():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    yield f"SIGKILL to all {len(workers)} workers at once"


@contextlib.contextmanager
def _stopped(rig: Rig, chance: random.Random) -> Iterator[str]:
    name, pid = _worker(rig, chance)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    yield f"SIGSTOP to {name}"


@contextlib.contextmanager
def _hub_stopped(rig: Rig, chance: random.Random) -> Iterator[str]:
    seconds = chance.uniform(0.5, 4.0)
    rig.daemon.signal(signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        rig.daemon.signal(signal.SIGCONT)
    yield f"the hub stopped for {seconds:.1f} s"


@contextlib.contextmanager
def _call_fails(rig: Rig, chance: random.Random) -> Iterator[str]:
    case = chance.choice(CALLS)
    number, count = chance.choice(case.errnos), chance.randint(1, 6)
    workers = rig.workers()
    rig.faults.fail(case.call, number, count, case.skip)
    try:
        if case.provoke in ("detector", "camera"):
            name = "detector" if case.provoke == "detector" else f"camera.{chance.choice(CAMERAS)}"
            with contextlib.suppress(ProcessLookupError, KeyError):
                os.kill(workers[name], signal.SIGKILL)
        elif case.provoke in ("socket", "stale"):
            rig.daemon.socket.unlink(missing_ok=True)
            if case.provoke == "stale":
                with socket.socket(socket.AF_UNIX) as dead:
                    dead.bind(str(rig.daemon.socket))
        elif case.provoke == "request":
            rig.crowd.members[0].sock.send(b'{"type":"ping"}\n')
        elif case.provoke == "client":
            with socket.socket(socket.AF_UNIX) as guest, contextlib.suppress(OSError):
                guest.connect(str(rig.daemon.socket))
        rig.crowd.pump(chance.uniform(1.0, 4.0), lambda: rig.faults.hits() >= count)
        yield f"{case.call} failed {rig.faults.hits()} times with {os.strerror(number)} ({case.provoke})"
    finally:
        rig.faults.lift()


@contextlib.contextmanager
def _socket_deleted(rig: Rig, chance: random.Random) -> Iterator[str]:
    what = chance.choice(["deleted", "replaced by a text file", "replaced by a socket that nobody listens at"])
    rig.daemon.socket.unlink(missing_ok=True)
    if what.endswith("text file"):
        rig.daemon.socket.write_text("not a socket\n")
    elif what.endswith("listens at"):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(rig.daemon.socket))
    yield f"the socket file {what}"
    rig.crowd.pump(10, rig.daemon.answers)
    for aside in rig.folder.glob("*.aside-*"):
        aside.unlink()


@contextlib.contextmanager
def _pictures_gone(rig: Rig, chance: random.Random) -> Iterator[str]:
    away = rig.folder / "away"
    rig.pictures.rename(away)
    try:
        rig.crowd.pump(chance.uniform(1.0, 5.0))
        yield "the folder of pictures was moved away and came back"
    finally:
        away.rename(rig.pictures)


@contextlib.contextmanager
def _paused(rig: Rig, chance: random.Random) -> Iterator[str]:
    camera = chance.choice(list(LIVE))
    rig.ask(type="pause", camera=camera)
    rig.crowd.pump(chance.uniform(0.5, 3.0))
    rig.ask(type="resume", camera=camera)
    yield f"{camera} paused and resumed"


@contextlib.contextmanager
def _changed(rig: Rig, chance: random.Random) -> Iterator[str]:
    camera = chance.choice(list(LIVE))
    key, value = chance.choice(
        [
            (f"camera.{camera}.fps", LIVE[camera]),
            (f"camera.{camera}.size", chance.choice([[320, 240], [640, 480]])),
            ("model.threads", chance.choice([1, 2])),
            ("model.min_score", chance.choice([0.3, 0.5])),
            ("model.detectors", chance.choice([1, 2])),
        ]
    )
    answer = rig.ask(type="set", key=key, value=value)
    yield f"set {key} = {value}: {answer.get('message', answer)}"
    if key == "model.detectors":
        rig.ask(type="set", key=key, value=1)


@contextlib.contextmanager
def _reloaded(rig: Rig, chance: random.Random) -> Iterator[str]:
    good = rig.daemon.config.read_text()
    what = chance.choice(["as it was", "damaged", "gone"])
    if what == "damaged":
        rig.daemon.config.write_text(good[: chance.randrange(20, len(good))] + "\nnonsense = [")
    elif what == "gone":
        rig.daemon.config.unlink()
    try:
        rig.daemon.signal(signal.SIGHUP)
        rig.crowd.pump(chance.uniform(0.5, 1.5))
    finally:
        rig.daemon.config.write_text(good)
        rig.ask(type="reload")
    yield f"a reload with the configuration {what}"


@contextlib.contextmanager
def _rude_clients(rig: Rig, chance: random.Random) -> Iterator[str]:
    what = chance.choice(["flood", "garbage", "silent", "never read", "half closed", "come and go"])
    guests: list[socket.socket] = []
    with contextlib.suppress(OSError):
        for _ in range(chance.randint(1, 20)):
            guest = socket.socket(socket.AF_UNIX)
            guests.append(guest)
            guest.setblocking(False)
            guest.connect(str(rig.daemon.socket))
            with contextlib.suppress(BlockingIOError):
                if what == "flood":
                    for _ in range(500):
                        guest.send(b'{"type":"status"}\n{"type":"snapshot","camera":"front"}\n')
                elif what == "garbage":
                    guest.send(chance.randbytes(chance.randint(1, 100_000)))
                elif what == "never read":
                    guest.send(b'{"type":"watch","empty":true}\n')
                elif what == "half closed":
                    guest.send(b'{"type":"status"}')
                    guest.shutdown(socket.SHUT_WR)
                elif what == "come and go":
                    guest.close()
    rig.crowd.pump(chance.uniform(0.5, 4.0))
    for guest in guests:
        guest.close()
    yield f"{len(guests)} clients: {what}"


FAULTS = (
    Fault("worker killed", _killed, weight=6, kills=("detector", "camera")),
    Fault("killed again and again", _killed_again, kills=("detector", "camera")),
    Fault("all killed", _all_killed, kills=("detector", "camera")),
    Fault("worker stopped", _stopped, weight=4, kills=("detector", "camera")),
    Fault("hub stopped", _hub_stopped, weight=1, stops_hub=True),
    Fault("call fails", _call_fails, weight=8, kills=("detector", "camera")),
    Fault("socket file", _socket_deleted),
    Fault("pictures gone", _pictures_gone),
    Fault("paused", _paused),
    Fault("set", _changed),
    Fault("reload", _reloaded),
    Fault("rude clients", _rude_clients, weight=4),
)
