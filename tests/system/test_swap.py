"""Endurance of model swaps: a hundred in a row under a watching client, and those that must not succeed."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import Client, Daemon, holdings

from embedded_model import default_file
from unit import modelkit
from vigild.catalogue import embedded

SWAPS = 100
FPS = 15
EMBEDDED = default_file()

GATHER, CAST = 36, 53
GATHER_OPTIONS = 23


@pytest.fixture
def daemon(tmp_path: Path, model: Path) -> Iterator[Daemon]:
    config = f'[model]\npath = "{model}"\nmin_score = 0.1\n[camera.front]\nsource = "testcard"\nfps = {FPS}\n'
    with Daemon(tmp_path, config) as daemon:
        yield daemon


class Watcher(threading.Thread):
    """A client that takes in everything, all the time; what it saw is looked at after `finish`."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(daemon=True)
        self.client = daemon.connect()
        self.client.watch(empty=True, events=["detections", "event"])
        self.client.until("detections")
        self.seen: list[dict[str, Any]] = []
        self.lost: BaseException | None = None
        self._done = threading.Event()
        self.start()

    def run(self) -> None:
        try:
            while not self._done.is_set():
                self.seen.append(self.client.next())
        except BaseException as error:
            self.lost = error

    def finish(self) -> list[dict[str, Any]]:
        """Ends with a next message, so that nothing that was sent before this call is missing."""
        self._done.set()
        self.join(40)
        assert self.lost is None, f"the connection was lost: {self.lost!r}"
        assert not self.is_alive()
        return self.seen


def results(seen: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message for message in seen if message["type"] == "detections"]


def swapped_to(seen: list[dict[str, Any]]) -> list[str]:
    return [message["model"]["name"] for message in seen if message.get("kind") == "model"]


def check_uninterrupted(seen: list[dict[str, Any]]) -> None:
    """Nothing but swaps happened: frames in order, the camera never lost, nobody died."""
    frames = [message["frame"] for message in results(seen)]
    assert frames == sorted(set(frames)), "no frame twice, none out of order"
    assert [message["seq"] for message in results(seen)] == sorted({message["seq"] for message in results(seen)})
    statuses = Counter(message["status"] for message in seen if "status" in message)
    assert set(statuses) <= {"ok", "degraded", "stale"}
    assert {message["kind"] for message in seen if message["type"] == "event"} <= {"model"}
    # A machine that is starved for a second may see one now and then; an interruption would show at each swap.
    assert statuses["stale"] <= max(2, len(frames) // 100), statuses


def anonymous_bytes(pid: int) -> int:
    """What is the process's own alone. (Its proportional set also changes when a stranger maps the same library.)"""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Anonymous:")).split()[1]) * 1024


def open_memfds(pid: int) -> int:
    found = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found += str(link.readlink()).startswith("/memfd:")
    return found


def swap(orders: Client, path: Path, **more: Any) -> dict[str, Any]:
    return orders.ask(type="swap", path=str(path), **more)


def settle(daemon: Daemon) -> int:
    """Waits until one detector is left; returns its pid."""
    daemon.wait_for(lambda: len(daemon.running("vigild.detector")) == 1)
    daemon.wait_for(lambda: holdings(daemon.pid).children == 2)
    return daemon.running("vigild.detector")[0]


@pytest.mark.timeout(600)
def test_a_hundred_swaps(daemon: Daemon, model: Path, record_property: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Between inputs of 16 x 16 and of the embedded model's size, so that the camera feeds two rings each time."""
    orders, camera = daemon.connect(), daemon.worker("camera.front")
    for path in (EMBEDDED, model) * 2:  # what is allocated once
        assert swap(orders, path)["type"] == "ok"
    settle(daemon)
    before = holdings(daemon.pid), holdings(camera), open_memfds(daemon.pid), open_memfds(camera)
    memory = {pid: anonymous_bytes(pid) for pid in (daemon.pid, camera)}
    watcher = Watcher(daemon)
    for turn in range(SWAPS):
        answer = swap(orders, (EMBEDDED, model)[turn % 2])
        assert answer["type"] == "ok", (turn, answer)
    settle(daemon)
    seen = watcher.finish()
    watcher.client.close()

    check_uninterrupted(seen)
    assert swapped_to(seen) == [EMBEDDED.stem, model.stem] * (SWAPS // 2)
    models = [name for name, _ in itertools.groupby(message["model"] for message in results(seen))]
    # The first may be of before; each swap shows a result of its own, as that is what it waits for.
    assert models[-SWAPS:] == [EMBEDDED.stem, model.stem] * (SWAPS // 2)
    assert daemon.worker("camera.front") == camera
    daemon.wait_for(
        lambda: (holdings(daemon.pid), holdings(camera), open_memfds(daemon.pid), open_memfds(camera)) == before
    )
    grown = {pid: anonymous_bytes(pid) - was for pid, was in memory.items()}
    # Up to three of the camera's pictures of 900 KiB more may be in the making just now than were before.
    assert max(grown.values()) < 4 * 2**20, grown
    assert "Traceback" not in daemon.logged()

    times = [message["captured_ns"] for message in results(seen)]
    gaps = sorted((b - a) / 1e9 * FPS for a, b in itertools.pairwise(times))
    text = (
        f"{SWAPS} swaps in {(times[-1] - times[0]) / 1e9:.0f} s; gaps between results in frame periods: median "
        f"{gaps[len(gaps) // 2]:.1f}, p99 {gaps[len(gaps) * 99 // 100]:.1f}, longest {gaps[-1]:.1f}; grown by "
        f"{grown[daemon.pid] / 1024:.0f} KiB (hub) and {grown[camera] / 1024:.0f} KiB (camera)"
    )
    record_property("swaps", text)
    with capsys.disabled():
        print(f"\n{text}")


def fragile(folder: Path) -> Path:
    """A model that is fine on mid-grey, which the dry run shows it, and fails on any brighter pixel.

    Each pixel picks from a table of 129 rows by its value.
    """
    graph = modelkit.Graph()
    shape = [1, 16, 16, 3]
    image = graph.tensor("image", shape, "uint8", scale=1.0, zero_point=0)
    real, index = graph.tensor("real", shape), graph.tensor("index", shape, "int32")
    table, picked = graph.tensor("table", [129], data=np.zeros(129)), graph.tensor("picked", shape)
    graph.op(modelkit.DEQUANTIZE, [image], [real])
    graph.op(CAST, [real], [index])
    graph.op(GATHER, [table, index], [picked], (GATHER_OPTIONS, {}))
    outputs = []
    for at, sizes in enumerate(([1, 4, 4], [1, 4], [1, 4], [1])):
        given, zero = (graph.tensor(f"{what}_{at}", sizes, data=np.zeros(sizes)) for what in ("given", "zero"))
        outputs.append(graph.tensor(f"TFLite_Detection_PostProcess{f':{at}' if at else ''}", sizes))
        graph.op(modelkit.ADD, [given, zero], [outputs[-1]], (11, {}))
    path = folder / "fragile.tflite"
    path.write_bytes(graph.build([image], outputs))
    return path


def test_a_model_that_fails_on_its_first_real_frame(daemon: Daemon, tmp_path: Path, model: Path) -> None:
    orders, old, camera = daemon.connect(), daemon.worker("detector"), daemon.worker("camera.front")
    watcher = Watcher(daemon)
    before = holdings(daemon.pid), holdings(camera)
    answer = swap(orders, fragile(tmp_path))
    assert (answer["type"], answer["code"]) == ("error", "crashed"), answer
    assert "the running model stays" in answer["message"]
    assert "gather index out of bounds" in answer["message"], "the runtime's own words"
    seen = watcher.finish()
    check_uninterrupted(seen)
    assert {message["model"] for message in results(seen)} == {model.stem}
    assert not [message for message in seen if message["type"] == "event"]
    assert settle(daemon) == old
    daemon.wait_for(lambda: (holdings(daemon.pid), holdings(camera)) == before)
    assert swap(orders, EMBEDDED)["type"] == "ok", "the next swap is a new chance"


def test_a_dozen_refused_swaps_interrupt_nothing(daemon: Daemon, tmp_path: Path, model: Path) -> None:
    bad = tmp_path / "bad.tflite"
    orders, old = daemon.connect(), daemon.worker("detector")
    watcher = Watcher(daemon)
    before = holdings(daemon.pid)
    data = EMBEDDED.read_bytes()
    for turn in range(12):
        bad.write_bytes((data[: 1000 + 5000 * turn], b"no model" * 100, b"")[turn % 3])
        answer = swap(orders, bad)
        assert (answer["type"], answer["code"]) == ("error", ("truncated", "not_tflite", "truncated")[turn % 3])
        assert "the running model stays" in answer["message"]
    seen = watcher.finish()
    check_uninterrupted(seen)
    assert {message["model"] for message in results(seen)} == {model.stem}
    assert settle(daemon) == old
    daemon.wait_for(lambda: holdings(daemon.pid) == before)


def test_a_replacement_killed_at_any_moment(daemon: Daemon, model: Path) -> None:
    """From the moment its process is there to the moment it has taken over: swapped or refused, never in between."""
    orders = daemon.connect()
    watcher = Watcher(daemon)
    outcomes = []
    for turn in range(8):
        old = settle(daemon)
        orders.send(type="swap", path=str(EMBEDDED), delegate="none", id=turn)
        daemon.wait_for(lambda: len(daemon.running("vigild.detector")) > 1)
        threading.Event().wait(0.15 * turn)
        for pid in set(daemon.running("vigild.detector")) - {old}:
            os.kill(pid, signal.SIGKILL)
        answer = orders.until(lambda message: message.get("id") in range(8))
        assert answer["id"] == turn
        outcomes.append(answer.get("code", answer["type"]))
        assert outcomes[-1] in ("ok", "crashed"), answer
        daemon.wait_for(lambda: daemon.status()["health"]["cameras"]["front"]["status"] in ("ok", "degraded"))
        if outcomes[-1] == "ok":
            assert swap(orders, model)["type"] == "ok"
    assert outcomes[0] == "crashed"
    seen = watcher.finish()
    frames = [message["frame"] for message in results(seen)]
    assert frames == sorted(set(frames))
    assert "no_frame" not in {message.get("status") for message in seen}
    settle(daemon)
    assert "Traceback" not in daemon.logged()


def test_two_swaps_at_once(daemon: Daemon, model: Path) -> None:
    """One after the other: both are answered, and the one asked for last is what runs."""
    first, second = daemon.connect(), daemon.connect()
    watcher = Watcher(daemon)
    first.send(type="swap", path=str(EMBEDDED), id="first")
    daemon.wait_for(lambda: len(daemon.running("vigild.detector")) == 2)
    answer = swap(second, model)
    earlier = first.until(lambda message: message.get("id") == "first")
    assert (earlier["type"], answer["type"]) == ("ok", "ok"), (earlier, answer)
    settle(daemon)
    seen = watcher.finish()
    check_uninterrupted(seen)
    assert [message["model"]["name"] for message in seen if message.get("kind") == "model"] == [
        EMBEDDED.stem,
        model.stem,
    ]
    assert daemon.connect().hello["model"]["name"] == model.stem


def test_along_the_embedded_ladder_and_away_from_it(tmp_path: Path, model: Path) -> None:
    """Each variant by its name alone; another model forgets which one it was."""
    names = [variant.name for variant in embedded.entry().variants]
    with Daemon(
        tmp_path, f'[model]\nvariant = "{names[-1]}"\n[camera.front]\nsource = "testcard"\nfps = 5\n'
    ) as daemon:
        orders = daemon.connect()

        def runs() -> tuple[str, str]:
            hello = daemon.connect().hello["model"]
            return hello["name"], hello["variant"]

        daemon.wait_for(lambda: "model" in daemon.status())
        assert runs() == (embedded.ENTRY, names[-1])
        for name in names:
            assert orders.ask(type="swap", variant=name)["type"] == "ok"
            assert runs() == (embedded.ENTRY, name)
        assert swap(orders, model)["type"] == "ok"
        assert runs()[0] == model.stem
        assert orders.ask(type="swap", name=embedded.ENTRY)["type"] == "ok"
        assert runs() == (embedded.ENTRY, names[0])
