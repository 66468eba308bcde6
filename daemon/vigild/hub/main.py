"""The hub process from start to end: signals, socket, systemd, and the clock of everything."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import logging
import os
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from vigild import log, stdio
from vigild.board.board import Board
from vigild.board.budgets import InForce
from vigild.board.pressure import PressureWatch
from vigild.board.reader import BoardReader
from vigild.config.schema import Config
from vigild.fleet import events, orphans
from vigild.fleet.clock import LoopClock
from vigild.fleet.process import Processes, running_pids
from vigild.hub.api import Api
from vigild.hub.console import Console
from vigild.hub.hub import TICK_S, Hub
from vigild.hub.listening import SocketInUse, SocketUnusable
from vigild.hub.model_files import LOOK_S
from vigild.hub.progress import figures, progress
from vigild.hub.server import Server
from vigild.hub.systemd import Service, passed_sockets, status_line
from vigild.ipc.worker import PR_SET_CHILD_SUBREAPER, one_heap, prctl
from vigild.learned import Learned
from vigild.stdio import Terminal
from vigild.wire.address import default_listen_path
from vigild.wire.requests import RequestError

SWEEP_S = 0.5
"""Between looks for orphans, which cost a walk through /proc; they are given a second anyway."""

SAVE_S = 600.0
"""Between two writings of what was learned: an SD card wears out."""

SETTLE_S = 6.0
"""After the start, when the workers have come up and the model's files were read."""

SERVICE_S = 0.5
"""Between looks at what systemd is to be told; the watchdog's time-out is ten seconds and more."""

STOP_S = 1.5
"""SIGTERM to exit takes at most 2 s; workers get this much of it."""

LAST_WORDS_S = 0.3
"""For clients to take what waits for them when the daemon is told to stop."""

LAST_RESULTS_S = 3.0
"""The same when the sources have ended: nobody waits for the daemon, and the last results are the point."""

FAULT_AGAIN_S = 60.0
"""A fault of the daemon's own that goes on is said again so often."""

ORPHANS_S = 0.3
"""For killed orphans to end, and for theirs."""

_log = log.logger("hub")


def main(
    config: Config,
    read_config: Callable[[], Config],
    *,
    config_file: Path | None,
    sysfs_root: Path,
    exit_at_end: bool,
    show: bool,
    early_signals: Sequence[int],
    terminal: Terminal,
) -> int:
    """Run the daemon; returns the exit status.

    `read_config` reads and validates the configuration again, for reload. `show`: print what runs
    and a line a second. `early_signals`: what arrived while modules were being imported. `terminal`: with its own
    terminal gone the daemon ends; a SIGHUP from elsewhere means reload.
    """
    # systemd's watchdog ends a daemon that hangs with SIGABRT: it says where it hung.
    faulthandler.enable()
    one_heap()
    daemon = _Daemon(config, read_config, config_file, sysfs_root, exit_at_end, show, terminal)
    return asyncio.run(daemon.run(early_signals))


class _Daemon:
    """The hub in its event loop, with the socket, the sensors and systemd."""

    def __init__(
        self,
        config: Config,
        read_config: Callable[[], Config],
        config_file: Path | None,
        sysfs_root: Path,
        exit_at_end: bool,
        show: bool,
        terminal: Terminal,
    ) -> None:
        self._terminal = terminal
        self._config = config
        self._read_config = read_config
        self._config_file = config_file
        self._root = sysfs_root
        self._exit_at_end = exit_at_end
        self._show = show
        self._service = Service(os.environ)
        self._board = Board(sysfs_root)
        self._reader = BoardReader(self._board)
        self._pressure = PressureWatch.of(os.environ)
        self._budgets = InForce(self._board)
        self._orphans = orphans.Orphans()
        self._tasks: set[asyncio.Task[None]] = set()
        self._learned = Learned(sysfs_root)
        self._faults: dict[str, tuple[str, float]] = {}
        """What failed in which part, and when that was said."""
        self._next_save_ns = 0
        self._next_look_ns = 0
        self._settle_ns: int | None = time.monotonic_ns() + round(SETTLE_S * 1e9)
        """When the garbage collector is told what stays; None: it has been."""
        self._next_sweep_ns = 0
        self._next_service_ns = 0

    async def run(self, early_signals: Sequence[int]) -> int:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._failed_in_the_loop)
        # Whatever a dying worker leaves behind becomes our child, and is swept away.
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        finished: asyncio.Future[int] = loop.create_future()

        def finish(status: int, why: str) -> None:
            if not finished.done():
                if why:
                    _log.log(logging.ERROR if status else logging.INFO, "%s", why)
                finished.set_result(status)

        hub = self._hub = Hub(
            self._config,
            LoopClock(loop),
            Processes(),
            lambda message: server.publish(message),
            finish,
            exit_at_end=self._exit_at_end,
            root=self._root,
            kept=self._learned.load(),
        )
        self._api = Api(hub, self._read_config, self._config_file)
        hub.model_taken = lambda ready: self._api.files.taken(hub.config.model, ready)
        server = Server(self._api, log.logger("server"))
        hub.clients_health = server.clients_health
        hub.unsent = self._unsent
        hub.changed = server.invalidate
        server.on_socket = lambda kind, reason: hub.happened(events.Noticed(kind=kind, reason=reason))
        self._server = server
        try:
            self._listen(server)
        except (SocketInUse, SocketUnusable) as error:
            stdio.complain(f"vigild: {error}")
            return 1
        self._console = Console(hub.state, self._api.socket_path, self._end_with_terminal) if self._show else None
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, hub.finish, 0, f"stopping ({signal.Signals(number).name})")
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)
        if signal.SIGTERM in early_signals or signal.SIGINT in early_signals:
            loop.call_soon(hub.finish, 0, "stopping (asked while starting)")
        if self._pressure is not None:
            loop.add_reader(self._pressure.fileno(), self._memory_is_short, loop, self._pressure)
        hub.start()
        ticking = asyncio.ensure_future(self._tick_for_ever())
        try:
            return await finished
        finally:
            self._service.stopping()
            ticking.cancel()
            await self._stop(server, LAST_RESULTS_S if hub.ended else LAST_WORDS_S)
            for task in self._tasks:
                task.cancel()

    async def _stop(self, server: Server, grace_s: float) -> None:
        if self._pressure is not None:
            self._let_pressure_go(asyncio.get_running_loop(), self._pressure)
        self._hub.stop()
        self._reader.close()
        if (model := self._hub.keeper.learned) is not None:
            self._learned.save(model)
        deadline_s = time.monotonic() + STOP_S
        while running_pids() and time.monotonic() < deadline_s:
            await asyncio.sleep(0.01)
        for pid in running_pids():
            # In uninterruptible sleep, or it would have ended when it was killed.
            _log.warning("worker %d does not end; it is left behind", pid)
        while not orphans.end(running_pids()) and time.monotonic() < deadline_s + ORPHANS_S:
            await asyncio.sleep(0.01)
        await server.close(grace_s)

    def _listen(self, server: Server) -> None:
        """On the sockets systemd passed, or else on the configured path. Raises SocketInUse, SocketUnusable."""
        passed = passed_sockets()
        for sock in passed:
            server.adopt(sock)
        if passed:
            self._api.socket_path = str(passed[0].getsockname())
            return
        path = default_listen_path(self._config.daemon.socket)
        server.listen(path, int(self._config.daemon.socket_mode, 8))
        self._api.socket_path = str(path)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Run beside everything else; kept here, because the loop holds tasks only weakly."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._kept_until_now)

    def _kept_until_now(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._fault("beside", error)

    def _hung_up(self) -> None:
        """SIGHUP: its own terminal went away, or somebody asks for a reload."""
        if not self._end_with_terminal():
            self._keep(self._reload())

    def _end_with_terminal(self) -> bool:
        """Whether the daemon ends because the terminal that it was typed in is gone."""
        gone = self._terminal.gone()
        if gone:
            self._hub.finish(0, "stopping (the terminal is gone)")
        return gone

    async def _reload(self) -> None:
        self._service.reloading(time.monotonic_ns())
        try:
            status = await self._api.reload()
        except RequestError as error:
            status = f"reload refused: {error.message}"
            _log.error("%s", status)
        except Exception as error:  # systemd waits for the end of a reload, whatever came of it
            status = f"reload failed: {error!r}"
            self._fault("reload", error)
        self._service.reloaded(time.monotonic_ns(), status)

    # ---- the clock

    async def _tick_for_ever(self) -> None:
        while True:
            now_ns = time.monotonic_ns()
            # Each by itself, so that a fault in one of them stops neither the others nor the clock.
            for part in (
                self._serve,
                self._read,
                self._hub.tick,
                self._keep_learned,
                self._look_at_files,
                self._settle,
                self._sweep,
                self._print,
                self._tell_systemd,
            ):
                try:
                    part(now_ns)
                except Exception as error:
                    self._fault(part.__name__.lstrip("_"), error)
            await asyncio.sleep(TICK_S)

    def _failed_in_the_loop(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What no callback caught itself; the loop goes on."""
        error = context.get("exception")
        if isinstance(error, OSError) and "_read_from_self" in repr(context.get("handle")):
            # The pipe that wakes the loop for signals: what could not be read is still there, and read next.
            _log.warning("the event loop's own pipe cannot be read (%s); trying again", error.strerror)
        elif isinstance(error, Exception):
            self._fault("event loop", error)
        else:
            loop.default_exception_handler(context)

    def _fault(self, where: str, error: Exception) -> None:
        # What fails in each tick is said once, and again when it is another or some time has passed.
        said, now_s = repr(error), time.monotonic()
        before, told_s = self._faults.get(where, ("", 0.0))
        if said == before and now_s - told_s < FAULT_AGAIN_S:
            return
        self._faults[where] = said, now_s
        _log.error("a fault of the daemon's own (%s)", where, exc_info=error)
        with contextlib.suppress(Exception):
            self._hub.happened(events.FaultOfOurs(where=where, error=repr(error)))

    def _read(self, now_ns: int) -> None:
        """The board, each of its sensors at its own pace."""
        budgets, changed = self._budgets.follow(self._hub.config.budget, self._hub.readings)
        self._reader.budgets = budgets = self._hub.in_force(budgets)
        readings = self._reader.read(now_ns, {"hub": os.getpid(), **self._hub.fleet.processes()})
        if readings is not self._hub.readings or budgets != self._hub.budgets:
            self._hub.read(readings, budgets)
        for sentence in changed:
            self._hub.happened(events.Noticed(kind="budget", reason=sentence))

    def _memory_is_short(self, loop: asyncio.AbstractEventLoop, watch: PressureWatch) -> None:
        """systemd's watch woke us: count now, not when it would be due."""
        try:
            if watch.woken():
                self._reader.memory_is_short()
                return
        except OSError as error:
            _log.warning("the watch on memory pressure (%s) failed and is given up: %s", watch.path, error)
        # The control group has gone, or the watch has: left in the loop, it would be readable for ever.
        self._let_pressure_go(loop, watch)

    def _let_pressure_go(self, loop: asyncio.AbstractEventLoop, watch: PressureWatch) -> None:
        loop.remove_reader(watch.fileno())
        watch.close()
        self._pressure = None

    def _serve(self, now_ns: int) -> None:
        self._server.tick(now_ns / 1e9)

    def _look_at_files(self, now_ns: int) -> None:
        """A file may change under the path it was loaded from: what runs is what was loaded, and that is said."""
        if now_ns >= self._next_look_ns and not self._api.files.busy:
            self._next_look_ns = now_ns + round(LOOK_S * 1e9)
            self._keep(self._tell_of_files())

    async def _tell_of_files(self) -> None:
        for sentence in await self._api.files.look():
            self._hub.happened(events.Noticed(kind="model_file", reason=sentence))

    def _settle(self, now_ns: int) -> None:
        """Once, soon after the start: let the garbage collector leave alone what stays.

        Else it walks through all modules now and then, a tenth of a second long on a small board. What the start took
        is not given back to the kernel: within half an hour it would have been taken again, page by page.
        """
        if self._settle_ns is not None and now_ns >= self._settle_ns:
            self._settle_ns = None
            gc.collect()
            gc.freeze()

    def _keep_learned(self, now_ns: int) -> None:
        """What was learned of the board survives a power cut, but for the last minutes."""
        if now_ns >= self._next_save_ns:
            if self._next_save_ns and (model := self._hub.keeper.learned) is not None:
                self._learned.save(model)
            self._next_save_ns = now_ns + round(SAVE_S * 1e9)

    def _sweep(self, now_ns: int) -> None:
        """End what nobody owns any more."""
        if now_ns >= self._next_sweep_ns:
            self._next_sweep_ns = now_ns + int(SWEEP_S * 1e9)
            self._orphans.sweep(running_pids(), now_ns / 1e9)

    def _print(self, now_ns: int) -> None:
        if self._console is not None:
            self._console.tick(now_ns)

    def _tell_systemd(self, now_ns: int) -> None:
        service = self._service
        # Until it is ready that is what everybody waits for; then nothing of it is so urgent.
        if not service.wanted or (service.herald.ready and now_ns < self._next_service_ns):
            return
        self._next_service_ns = now_ns + round(SERVICE_S * 1e9)
        state = self._hub.state()
        service.tick(now_ns, progress(state), status_line(figures(state)))

    def _unsent(self) -> dict[str, int]:
        counts = {"journal": log.dropped(), "systemd": self._service.dropped}
        return {name: count for name, count in counts.items() if count}
