"""A hub without processes, in a time of its own: what Fleet, Slot and Hub are driven with through days of faults.

world = World(camera={"front": {"source": "/dev/video0"}})
world.hub.start()
world.run(10)                          # seconds, in milliseconds
world.detector().dies(-6)              # SIGABRT
world.told("worker_died")
"""

from __future__ import annotations

import errno
import heapq
import itertools
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from vigild.config.schema import CameraConfig, Config, ModelConfig
from vigild.fleet.process import RingEnds
from vigild.hub.hub import TICK_S, Hub
from vigild.ipc import messages as ipc
from vigild.ipc.progress import STAGE_TEXT, Stage
from vigild.tensor import TensorSpec
from vigild.wire import messages as wire

SPEC = TensorSpec(width=8, height=8, dtype="uint8")
START_NS = 1_000_000_000_000


class FakeTimer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock:
    """Time passes when `run` is told to."""

    def __init__(self) -> None:
        self.ns = START_NS
        self.wall_offset_ns = 1_700_000_000_000_000_000
        self._order = itertools.count()
        self._due: list[tuple[int, int, FakeTimer, Callable[[], object]]] = []

    def now_ns(self) -> int:
        return self.ns

    def wall_ns(self) -> int:
        return self.ns + self.wall_offset_ns

    def call_later(self, delay_s: float, call: Callable[[], object]) -> FakeTimer:
        timer = FakeTimer()
        heapq.heappush(self._due, (self.ns + round(delay_s * 1e9), next(self._order), timer, call))
        return timer

    def run_until(self, ns: int) -> None:
        while self._due and self._due[0][0] <= ns:
            due_ns, _, timer, call = heapq.heappop(self._due)
            self.ns = max(self.ns, due_ns)
            if not timer.cancelled:
                call()
        self.ns = ns


class FakeWorker:
    """A process that does what the test says."""

    _pids = itertools.count(1000)

    def __init__(
        self,
        clock: FakeClock,
        name: str,
        module: str,
        on_message: Callable[[Any, list[int]], None],
        on_exit: Callable[[str], None],
    ) -> None:
        self.name = name
        self.module = module
        self.pid = next(self._pids)
        self.exit_status: int | None = None
        self.ended_in = Stage.START
        self.sent: list[Any] = []
        self.stages: dict[int, tuple[Stage, int]] = {}
        self.killed_because: str | None = None
        self._clock = clock
        self._on_message, self._on_exit = on_message, on_exit
        self.at(Stage.START)

    # ---- what the fleet asks

    def send(self, message: msgspec.Struct, fds: Sequence[int] = ()) -> bool:
        if self.exit_status is not None:
            return False
        self.sent.append(message)
        if isinstance(message, ipc.Exit):
            self._clock.call_later(0.01, lambda: self.dies(0))
        return True

    def drain(self) -> None:
        pass

    def stage(self, lane: int = 0) -> tuple[Stage, int]:
        return self.stages.get(lane, (Stage.START, 0))

    @property
    def killed_from_outside(self) -> bool:
        return self.killed_because is None and self.exit_status in (-signal.SIGKILL, -signal.SIGTERM)

    def kill(self, because: str) -> None:
        if self.exit_status is None and self.killed_because is None:
            self.killed_because = because
            self._clock.call_later(0.001, lambda: self.dies(-signal.SIGKILL))

    # ---- what the test makes it do

    @property
    def alive(self) -> bool:
        return self.exit_status is None

    def at(self, stage: Stage, lane: int = 0) -> None:
        self.stages[lane] = (stage, self._clock.ns)

    def says(self, message: Any) -> None:
        if self.alive:
            self._on_message(message, [])

    def dies(self, status: int) -> None:
        if not self.alive:
            return
        self.exit_status = status
        self.ended_in = self.stages[0][0]
        words = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
        doing = STAGE_TEXT[self.ended_in]
        self._on_exit(f"{self.killed_because}; killed" if self.killed_because else f"{words} {doing}")

    def last(self, kind: type) -> Any:
        return next((message for message in reversed(self.sent) if isinstance(message, kind)), None)


class FakeStarter:
    """Starts fakes; `refuses` makes the next calls fail, as the kernel does."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.workers: list[FakeWorker] = []
        self.rings = 0
        self.refuses: Callable[[str], int | None] = lambda what: None
        """Gets "detector", a camera worker's name, or "ring"; returns an errno or None."""

    def _check(self, what: str) -> None:
        number = self.refuses(what)
        if number is not None:
            raise OSError(number, os.strerror(number))

    def start(
        self,
        name: str,
        module: str,
        decode: Any,
        on_message: Callable[[Any, list[int]], None],
        on_exit: Callable[[str], None],
    ) -> FakeWorker:
        self._check(name)
        worker = FakeWorker(self._clock, name, module, on_message, on_exit)
        # Those that ended are forgotten now and then, or a day of crashes would be a day's work to look through.
        if len(self.workers) > 50:
            self.workers = [worker for worker in self.workers if worker.alive]
        self.workers.append(worker)
        return worker

    def ring(self, name: str, slot_bytes: int, slots: int) -> RingEnds:
        self._check("ring")
        self.rings += 1
        return NoFds(-1, -1, -1)

    def alive(self, module: str) -> list[FakeWorker]:
        return [worker for worker in self.workers if worker.alive and worker.module == module]


class NoFds(RingEnds):
    def close(self) -> None:
        pass


def ready(config: ModelConfig, delegate: str = "xnnpack", sha256: str = "a" * 64) -> ipc.ModelReady:
    return ipc.ModelReady(
        name=config.name or "model", variant="int8" if config.variant == "auto" else config.variant,
        path="/m.tflite", sha256=sha256, labels=["person", "car"],
        spec=SPEC, runtime="litert", runtime_version="2", delegate=delegate, delegate_nodes=1, total_nodes=1,
        threads=config.threads, load_ms=10, first_invoke_ms=5, notes=[], warnings=[],
    )  # fmt: skip


class World:
    """The hub, its clock, its workers, and everything it told."""

    def __init__(self, *, exit_at_end: bool = False, random: float = 0.0, **config: Any) -> None:
        cameras = {name: CameraConfig(**values) for name, values in config.pop("camera", _ONE_CAMERA).items()}
        self.config = Config(model=ModelConfig(path="/m.tflite", **config.pop("model", {})), camera=cameras, **config)
        self.clock = FakeClock()
        self.starter = FakeStarter(self.clock)
        self.messages: list[Any] = []
        self.ended: tuple[int, str] | None = None
        self.hub = Hub(
            self.config, self.clock, self.starter, self.messages.append, self._finish, exit_at_end=exit_at_end,
            random=lambda: random,
        )  # fmt: skip
        self.behave = True
        """Workers that start do what workers do: load, open, and keep saying that they wait."""
        self._frame: dict[str, int] = {}
        self._seen: set[int] = set()

    def _finish(self, status: int, why: str) -> None:
        self.ended = self.ended or (status, why)

    # ---- time

    def run(self, seconds: float, each: Callable[[], None] | None = None) -> None:
        """Let time pass in ticks; `each` is called before each of them."""
        end_ns = self.clock.ns + round(seconds * 1e9)
        while self.clock.ns < end_ns:
            self.clock.run_until(min(self.clock.ns + round(TICK_S * 1e9), end_ns))
            if self.behave:
                self._behave()
            if each is not None:
                each()
            self.hub.tick(self.clock.ns)

    def _behave(self) -> None:
        for worker in self.starter.workers:
            if not worker.alive:
                continue
            if worker.pid not in self._seen:
                self._seen.add(worker.pid)
                self.works(worker)
            if worker.stages[0][0] is Stage.WAIT:
                worker.at(Stage.WAIT)

    def works(self, worker: FakeWorker) -> None:
        """It starts as a sound one does."""
        worker.at(Stage.WAIT)
        if worker.module == "vigild.detector":
            load = worker.last(ipc.LoadModel)
            worker.says(ready(load.config, load.delegate))
        else:
            for message in [m for m in worker.sent if isinstance(m, ipc.AddCamera)]:
                self.opens(worker, message.camera)

    def opens(self, worker: FakeWorker, camera: str) -> None:
        worker.says(ipc.CameraLane(camera=camera, lane=1))
        worker.says(ipc.CameraOpened(camera=camera, width=640, height=480, fps=10, live=True, detail="640x480"))

    # ---- workers

    def detectors(self) -> list[FakeWorker]:
        return self.starter.alive("vigild.detector")

    def detector(self) -> FakeWorker:
        return self.detectors()[0]

    def camera(self, name: str = "front") -> FakeWorker:
        return next(w for w in self.starter.alive("vigild.camera") if w.name in (f"camera.{name}", "cameras"))

    def gives(self, camera: str = "front", detector: FakeWorker | None = None, score: float = 0.9) -> int:
        """A result; returns its frame's number."""
        number = self._frame[camera] = self._frame.get(camera, 0) + 1
        worker = detector or self.detector()
        link = worker.last(ipc.AttachDetector)
        worker.says(
            ipc.Result(
                link=link.link if link else 0, camera=camera, frame=number, after=number - 1,
                captured_ns=self.clock.ns - 20_000_000, wall_ns=self.clock.wall_ns(), width=640, height=480,
                decode_ns=1, convert_ns=1, wait_ns=1, copy_ns=1, invoke_ns=5_000_000, post_ns=1,
                detections=[ipc.RawDetection("person", 0, score, (0.1, 0.1, 0.2, 0.2))],
            )
        )  # fmt: skip
        return number

    # ---- what was told

    def told(self, kind: str) -> list[wire.Event]:
        return [m for m in self.messages if isinstance(m, wire.Event) and m.kind == kind]

    def results(self, camera: str = "front") -> list[int]:
        return [m.frame for m in self.messages if isinstance(m, wire.Detections) and m.camera == camera]

    def status(self, camera: str = "front") -> str:
        return self.hub.state().camera(camera).status


_ONE_CAMERA = {"front": {"source": "/dev/video0"}}

EMFILE, EAGAIN, ENOMEM = errno.EMFILE, errno.EAGAIN, errno.ENOMEM
