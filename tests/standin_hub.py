"""The real server with a hub that has no cameras and no model: it answers, and publishes what it is told.

    python tests/standin_hub.py SOCKET [RATE [CLIENTS]]     # publishes RATE frames/s until it is killed

In a test: `with running(path) as hub: hub.call(hub.server.publish, detections(1))`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vigild.hub.places import Maker
from vigild.hub.server import Server
from vigild.hub.turns import TICK_S
from vigild.wire import messages as m
from vigild.wire import requests
from vigild.wire.requests import RequestError

LABELS = ["person", "cat", "dog"]
JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffd9")

log = logging.getLogger("vigild.server")


def detections(
    frame: int = 1, camera: str = "front", scores: dict[str, float] | None = None, **other: Any
) -> m.Detections:
    found = [
        m.Detection(label=label, class_=LABELS.index(label), score=score, box=(0.1, 0.2, 0.3, 0.4))
        for label, score in ({"person": 0.9, "cat": 0.6} if scores is None else scores).items()
    ]
    fields: dict[str, Any] = {
        "camera": camera,
        "frame": frame,
        "size": (640, 480),
        "time": m.wall_time(time.time_ns()),
        "captured_ns": time.monotonic_ns(),
        "age_ms": 18.5,
        "infer_ms": 14.25,
        "model": "testcard",
        "variant": "int8",
        "status": "ok",
        "detections": found,
    }
    return m.Detections(**(fields | other))


def health(uptime_s: float = 1.0) -> m.Health:
    return m.Health(
        time=m.wall_time(time.time_ns()),
        uptime_s=uptime_s,
        temperatures={"cpu-thermal": 54.5},
        flags=[],
        memory=m.Memory(used_bytes=100 * 2**20, budget_bytes=256 * 2**20, source="pss", processes={"hub": 20 * 2**20}),
        workers=[m.WorkerHealth(name="detector", kind="detector", pid=1, state="running", restarts=0)],
        cameras={"front": m.CameraHealth(status="ok", fps=30.0, inferred_fps=29.5, frame=7, drops={"no_credit": 3})},
        latency_ms={"invoke": m.Quantiles(p50=14.0, p95=15.0, p99=17.0)},
        clients=[],
        operating_point=m.OperatingPoint(
            model="testcard",
            variant="int8",
            runtime="litert",
            runtime_version="2.3.0",
            delegate="xnnpack",
            delegate_nodes=60,
            total_nodes=64,
            threads=1,
        ),
    )


class StandIn:
    """A HubApi. What it is asked to do is noted in `orders`."""

    def __init__(self) -> None:
        self.names = ["front", "back"]
        self.model_labels: list[str] | None = LABELS
        self.group = "no-such-group"
        self.most = 64
        self.orders: list[tuple[str, Any]] = []
        self.gate: asyncio.Event | None = None
        """Snapshots and orders wait for it, when there is one."""
        self.jpeg = JPEG
        self.instance = os.urandom(4).hex()

    def _model(self) -> m.ModelInfo:
        return m.ModelInfo(name="testcard", variant="int8", sha256="0" * 64, labels=LABELS)

    def _cameras(self) -> list[m.CameraInfo]:
        return [m.CameraInfo(name="front", size=(640, 480)), m.CameraInfo(name="back")]

    def hello(self) -> m.Hello:
        return m.Hello(
            protocol=m.PROTOCOL, version="0.1.0", instance=self.instance, cameras=self._cameras(), model=self._model()
        )

    def cameras(self) -> list[str]:
        return self.names

    def labels(self) -> list[str] | None:
        return self.model_labels

    def status(self) -> m.StatusAnswer:
        return m.StatusAnswer(
            version="0.1.0",
            instance=self.instance,
            pid=os.getpid(),
            socket="here",
            cameras=self._cameras(),
            health=health(),
            model=self._model(),
            config={"model.min_score": 0.5, "camera.front.source": "testcard"},
        )

    def privileged_group(self) -> str:
        return self.group

    def max_clients(self) -> int:
        return self.most

    async def _order(self, name: str, value: Any) -> str:
        if self.gate is not None:
            await self.gate.wait()
        self.orders.append((name, value))
        return f"{name}: {value}"

    async def snapshot(self, camera: str | None, annotate: bool) -> m.SnapshotAnswer:
        if self.gate is not None:
            await self.gate.wait()
        if camera is not None and camera not in self.names:
            raise requests.unknown("unknown_camera", "camera", camera, self.names)
        return m.SnapshotAnswer(
            camera=camera or "front", frame=7, size=(1, 1), format="jpeg", data=base64.b64encode(self.jpeg).decode()
        )

    async def set(self, key: str, value: Any, maker: Maker) -> str:
        if key == "bug":
            raise ZeroDivisionError("a bug")
        if not key.startswith("model."):
            raise RequestError("bad_value", f"there is no key {key}")
        return await self._order(key, value)

    async def swap(self, request: requests.Swap) -> str:
        return await self._order("swap", request.path)

    async def pause(self, camera: str | None) -> str:
        return await self._order("pause", camera)

    async def resume(self, camera: str | None) -> str:
        return await self._order("resume", camera)

    async def reload(self) -> str:
        return await self._order("reload", None)


async def tick_for_ever(server: Server) -> None:
    """What the hub does."""
    while True:
        server.tick(asyncio.get_running_loop().time())
        await asyncio.sleep(TICK_S)


class Running:
    """A server in a thread with an event loop of its own."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        server: Server,
        api: StandIn,
        path: Path,
        ticking: asyncio.Task[None],
    ) -> None:
        self.loop = loop
        self.server = server
        self.api = api
        self.path = path
        self._ticking = ticking

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call it in the server's loop and wait for what it returns."""

        async def inside() -> Any:
            return function(*args)

        return asyncio.run_coroutine_threadsafe(inside(), self.loop).result(30)

    def publish(self, *messages: Any) -> None:
        self.call(lambda: [self.server.publish(message) for message in messages])

    def clients(self) -> list[m.ClientHealth]:
        answer: list[m.ClientHealth] = self.call(self.server.clients_health)
        return answer

    def stop_ticking(self) -> None:
        """From now on time passes when the test says so: `tick`, `sweep`."""
        self.call(self._ticking.cancel)

    def tick(self, ahead_s: float = 0.0) -> None:
        """The server's tick, as it will be `ahead_s` from now."""
        self.call(self.server.tick, self.loop.time() + ahead_s)

    def sweep(self, ahead_s: float) -> None:
        """The once-a-second look at the clients, as it will be `ahead_s` from now."""
        self.call(self.server.sweep, self.loop.time() + ahead_s)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until it holds, in the server's loop; TimeoutError after 30 s."""
        give_up = time.monotonic() + 30
        while not self.call(condition):
            if time.monotonic() > give_up:
                raise TimeoutError("the server never came to that state")
            time.sleep(0.005)


@contextlib.contextmanager
def running(path: Path, api: StandIn | None = None) -> Iterator[Running]:
    api = api or StandIn()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="server")
    thread.start()

    async def start() -> tuple[Server, asyncio.Task[None]]:
        server = Server(api, log)
        server.listen(path, 0o660)
        return server, asyncio.ensure_future(tick_for_ever(server))

    async def stop() -> None:
        ticking.cancel()
        await server.close(grace_s=0.1)

    try:
        server, ticking = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
        try:
            yield Running(loop, server, api, path, ticking)
        finally:
            asyncio.run_coroutine_threadsafe(stop(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(90)
        loop.close()


async def _serve(path: Path, rate: float, most: int) -> None:
    api = StandIn()
    api.most = most
    server = Server(api, log)
    server.listen(path, 0o660)
    print("listening", flush=True)
    ticking = asyncio.ensure_future(tick_for_ever(server))
    frame = 0
    while not ticking.done():
        frame += 1
        server.publish(detections(frame))
        if frame % max(1, round(rate)) == 1:
            server.publish(m.Heartbeat(camera="front", status="ok", frame=frame))
            server.publish(m.Heartbeat(camera="back", status="no_frame", frame=0))
            server.publish(health(frame / rate))
        await asyncio.sleep(1 / rate)


if __name__ == "__main__":
    given = sys.argv[1:]
    asyncio.run(
        _serve(Path(given[0]), float(given[1]) if len(given) > 1 else 10.0, int(given[2]) if len(given) > 2 else 64)
    )
