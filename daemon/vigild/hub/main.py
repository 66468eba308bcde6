"""The hub process from start to end: signals, socket, systemd, and the clock of everything."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from vigild import log
from vigild.board.sensors import Sensors
from vigild.config.schema import Config
from vigild.fleet.cameras import Camera
from vigild.hub.api import Api
from vigild.hub.console import Console
from vigild.hub.health import Monitor
from vigild.hub.hub import Hub
from vigild.hub.listening import SocketInUse, SocketUnusable
from vigild.hub.server import Server
from vigild.hub.systemd import Figures, Progress, Service, passed_sockets, status_line
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
    # systemd's watchdog ends a daemon that hangs with SIGABRT: it says where it hung.
    faulthandler.enable()
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
        self._service = Service(os.environ)
        self._show = show
        self._console: Console | None = None
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
            self._service.stopping()
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
        self._service.reloading(time.monotonic_ns())
        try:
            status = await self._api.reload()
        except RequestError as error:
            status = f"reload refused: {error.message}"
            _log.error("%s", status)
        self._service.reloaded(time.monotonic_ns(), status)

    async def _tick_for_ever(self) -> None:
        while True:
            now_ns = time.monotonic_ns()
            self._monitor.tick(now_ns)
            if self._console is not None:
                self._console.tick(now_ns)
            self._service.tick(now_ns, self._progress(now_ns), self._status_line(now_ns))
            await asyncio.sleep(TICK_S)

    def _progress(self, now_ns: int) -> Progress:
        hub = self._hub
        idle = {name: why for name, camera in hub.cameras.items() if (why := _idle(camera))}
        rates = [camera.config.fps or 0.0 for name, camera in hub.cameras.items() if name not in idle]
        return Progress(
            results=hub.results,
            idle=None if rates else "; ".join(f"{name}: {why}" for name, why in idle.items()) or "no camera",
            repair=None if not rates or hub.should_progress(now_ns) else hub.service.last_reason or "no detector yet",
            period_s=1 / max(rates) if rates and all(rates) else 0.0,
        )

    def _status_line(self, now_ns: int) -> str:
        hub, model = self._hub, self._hub.model
        return status_line(
            Figures(
                cameras={
                    name: camera.inferred_rate.per_second(now_ns / 1e9)
                    if not _idle(camera)
                    else camera.told or "no_frame"
                    for name, camera in hub.cameras.items()
                },
                celsius=self._monitor.hottest_celsius,
                used_bytes=self._monitor.memory.total_bytes,
                budget_bytes=hub.config.budget.memory,
                operating_point=f"{model.name} {model.variant} on {model.delegate}" if model else "",
            )
        )


def _idle(camera: Camera) -> str:
    """Why this camera gives nothing that could be inferred; empty when it does."""
    if camera.paused:
        return "paused"
    return camera.reason or "no frame" if camera.source is None or camera.ended else ""
