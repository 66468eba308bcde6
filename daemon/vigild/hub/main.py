"""The hub process from start to end: signals, socket, systemd, and the clock of everything."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from vigild import log
from vigild.board.sensors import Sensors
from vigild.config.schema import Config
from vigild.hub.api import Api
from vigild.hub.console import Console
from vigild.hub.health import Monitor
from vigild.hub.hub import Hub
from vigild.hub.listening import SocketInUse, SocketUnusable
from vigild.hub.server import Server
from vigild.hub.systemd import Notifier, passed_sockets
from vigild.ipc.worker import PR_SET_CHILD_SUBREAPER, prctl
from vigild.wire.address import default_listen_path
from vigild.wire.requests import RequestError

TICK_S = 0.25

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
) -> int:
    """Run the daemon; returns the exit status.

    `read_config` reads and validates the configuration again, for reload. `show`: print what runs
    and a line a second. `early_signals`: what arrived while modules were being imported.
    """
    daemon = _Daemon(config, read_config, config_file, sysfs_root, exit_at_end, show)
    return asyncio.run(daemon.run(early_signals))


class _Daemon:
    def __init__(
        self,
        config: Config,
        read_config: Callable[[], Config],
        config_file: Path | None,
        sysfs_root: Path,
        exit_at_end: bool,
        show: bool,
    ) -> None:
        self._config = config
        self._hub = Hub(config, exit_at_end=exit_at_end, sysfs_root=sysfs_root)
        self._monitor = Monitor(self._hub, Sensors(sysfs_root))
        self._api = Api(self._hub, self._monitor, read_config, config_file)
        self._notifier = Notifier()
        self._show = show
        self._console: Console | None = None
        self._ready = False
        self._next_watchdog_ns = 0
        self._results_at_watchdog = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, early_signals: Sequence[int]) -> int:
        loop = asyncio.get_running_loop()
        hub = self._hub
        # Whatever a dying worker leaves behind becomes our child, and is swept away.
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        server = Server(self._api, log.logger("server"))
        try:
            self._listen(server)
        except (SocketInUse, SocketUnusable) as error:
            print(f"vigild: {error}", file=sys.stderr)
            return 1
        hub.server = server
        server.on_socket = hub.socket_event
        if self._show:
            self._console = Console(hub, self._monitor, self._api.socket_path)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, hub.finish, 0, f"stopping ({signal.Signals(number).name})")
        loop.add_signal_handler(signal.SIGHUP, lambda: self._keep(self._reload()))
        if signal.SIGTERM in early_signals or signal.SIGINT in early_signals:
            loop.call_soon(hub.finish, 0, "stopping (asked while starting)")
        self._keep(self._tick_for_ever())
        try:
            return await hub.run()
        finally:
            self._notifier.stopping()
            for task in self._tasks:
                task.cancel()

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
        task.add_done_callback(self._tasks.discard)

    async def _reload(self) -> None:
        self._notifier.reloading()
        try:
            status = await self._api.reload()
        except RequestError as error:
            status = f"reload refused: {error.message}"
            _log.error("%s", status)
        self._notifier.ready(status)

    async def _tick_for_ever(self) -> None:
        while True:
            now_ns = time.monotonic_ns()
            self._monitor.tick(now_ns)
            if self._console is not None:
                self._console.tick(now_ns)
            self._tell_systemd(now_ns)
            await asyncio.sleep(TICK_S)

    def _tell_systemd(self, now_ns: int) -> None:
        hub, notifier = self._hub, self._notifier
        if not self._ready and hub.model is not None:
            self._ready = True
            notifier.ready(f"{hub.model.name} on {hub.model.delegate}, {len(hub.cameras)} camera(s)")
        if notifier.watchdog_s is None or now_ns < self._next_watchdog_ns:
            return
        self._next_watchdog_ns = now_ns + int(notifier.watchdog_s * 1e9)
        # A ping from a timer proves nothing: it is sent when inference advanced, or when there is
        # a reason that it did not, which clients are being told.
        if hub.results != self._results_at_watchdog or not hub.should_progress(now_ns):
            self._results_at_watchdog = hub.results
            notifier.watchdog()
