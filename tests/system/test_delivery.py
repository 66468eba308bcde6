"""What reaches a client: each frame once and in order where that was asked, the newest otherwise."""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import Client, Daemon
from pictures import shows, write_pictures, write_video

from unit import modelkit

COUNT = 40


def config(model: Path, source: str, **keys: str) -> str:
    lines = "".join(f"{key} = {value}\n" for key, value in keys.items())
    return f'[model]\npath = "{model}"\nmin_score = 0.1\n[camera.front]\nsource = "{source}"\n{lines}'


def read_to_the_end(client: Client, on_result: Callable[[int], None] = lambda count: None) -> list[dict[str, Any]]:
    """All results up to the event "ended"."""
    results = []
    for message in client.stream(90):
        if message["type"] == "detections":
            results.append(message)
            on_result(len(results))
        elif message.get("kind") == "ended":
            return results
    raise AssertionError(f"no end after {len(results)} results")


class Killer:
    """Kills a worker at the first result after each (re)start."""

    def __init__(self, daemon: Daemon, module: str, times: int) -> None:
        self.daemon, self.module, self.left = daemon, module, times
        self.killed: set[int] = set()

    def __call__(self, _count: int) -> None:
        if not self.left:
            return
        running = [pid for pid in self.daemon.running(self.module) if pid not in self.killed]
        if running:
            os.kill(running[-1], signal.SIGKILL)
            self.killed.add(running[-1])
            self.left -= 1


def start_watching(daemon: Daemon, hidden: Path, source: Path) -> Client:
    """A client that watches before the first frame can come: the camera only comes now."""
    client = daemon.connect()
    client.watch(empty=True)
    hidden.rename(source)
    daemon.add_cameras()
    return client


@pytest.mark.parametrize(
    ("victim", "times"), [(None, 0), ("vigild.detector", 1), ("vigild.detector", 3), ("vigild.camera", 2)]
)
def test_a_folder_exactly_once_and_in_order(
    tmp_path: Path, model: Path, large_pictures: Path, victim: str | None, times: int
) -> None:
    names = sorted(path.name for path in large_pictures.iterdir())
    (tmp_path / "hidden").symlink_to(large_pictures)
    source = tmp_path / "pictures"
    with Daemon.without_cameras(tmp_path, config(model, f"images:{source}", pace='"every"'), "--exit-at-end") as daemon:
        client = start_watching(daemon, tmp_path / "hidden", source)
        killer = Killer(daemon, victim or "", times)
        results = read_to_the_end(client, killer)
        assert killer.left == 0, "the test was too slow to kill in between"
        assert [m["file"] for m in results] == names
        assert [m["frame"] for m in results] == list(range(1, COUNT + 1))
        assert [m["seq"] for m in results] == list(range(1, COUNT + 1))
        assert all(m["dropped"] == 0 for m in results)
        assert [n for n, m in enumerate(results, 1) if not shows(m, n)] == [], "pixels of another frame"
        assert daemon.wait() == 0
        assert not daemon.socket.exists()
        daemon.gone()


def test_another_folder_by_reload_is_read_from_its_start(tmp_path: Path, model: Path, large_pictures: Path) -> None:
    """Also when its worker dies: numbers go on, but none of the new folder's frames is passed over."""
    first = tmp_path / "first"
    write_pictures(first, 7)
    with Daemon(tmp_path, config(model, f"images:{first}", pace='"every"')) as daemon:
        client = daemon.connect()
        client.watch(empty=True)
        client.event("ended")
        daemon.config.write_text(config(model, f"images:{large_pictures}", pace='"every"'))
        daemon.signal(signal.SIGHUP)
        killer = Killer(daemon, "vigild.camera", 1)
        results = read_to_the_end(client, killer)
        assert killer.left == 0
        assert [m["file"] for m in results] == sorted(path.name for path in large_pictures.iterdir())
        assert [m["frame"] for m in results] == list(range(8, 8 + COUNT))


def test_a_folder_exactly_once_through_a_change_of_model(tmp_path: Path, model: Path, large_pictures: Path) -> None:
    repeat(large_pictures, tmp_path / "hidden", 4)
    source = tmp_path / "pictures"
    other = modelkit.quadrants(tmp_path, dtype="int8", name="other.tflite")
    with Daemon.without_cameras(tmp_path, config(model, f"images:{source}", pace='"every"'), "--exit-at-end") as daemon:
        orders = daemon.connect()
        client = start_watching(daemon, tmp_path / "hidden", source)

        def swap(count: int) -> None:
            if count == 1:
                orders.send(type="swap", path=str(other))

        results = read_to_the_end(client, swap)
        assert [m["frame"] for m in results] == list(range(1, 4 * COUNT + 1))
        assert [n for n, m in enumerate(results) if not shows(m, n % COUNT + 1)] == []
        models = [m["model"] for m in results]
        assert models == sorted(models, reverse=True), "quadrants first, then other"
        assert set(models) == {"quadrants", "other"}
        assert daemon.wait() == 0


def repeat(pictures: Path, folder: Path, times: int) -> None:
    """A folder in which the pictures are there several times over."""
    folder.mkdir()
    for copy in range(times):
        for path in pictures.iterdir():
            (folder / f"{copy}{path.name}").symlink_to(path)


@pytest.mark.parametrize("victim", [None, "vigild.detector", "vigild.camera"])
def test_a_video_exactly_once_and_in_order(tmp_path: Path, model: Path, victim: str | None) -> None:
    write_video(tmp_path / "hidden.avi", 120, (320, 240))
    source = tmp_path / "clip.avi"
    with Daemon.without_cameras(tmp_path, config(model, str(source), pace='"every"'), "--exit-at-end") as daemon:
        client = start_watching(daemon, tmp_path / "hidden.avi", source)
        killer = Killer(daemon, victim or "", int(victim is not None))
        results = read_to_the_end(client, killer)
        assert killer.left == 0
        assert [m["frame"] for m in results] == list(range(1, 121))
        assert {m["file"] for m in results} == {"clip.avi"}
        assert [n for n, m in enumerate(results, 1) if not shows(m, n)] == []
        assert daemon.wait() == 0


@pytest.mark.parametrize("victim", [None, "vigild.camera"])
def test_a_loop_goes_round(tmp_path: Path, model: Path, victim: str | None) -> None:
    names = write_pictures(tmp_path / "pictures", 7)
    source = f"images:{tmp_path / 'pictures'}"
    with Daemon(tmp_path, config(model, source, pace='"every"', loop="true")) as daemon:
        client = daemon.connect()
        client.watch(empty=True)
        killer = Killer(daemon, victim or "", int(victim is not None))
        results = []
        for _ in range(60):
            results.append(client.until("detections"))
            if results[-1]["frame"] > 10:
                killer(0)
        assert killer.left == 0
        first = results[0]["frame"]
        assert [m["frame"] for m in results] == list(range(first, first + 60))
        assert [m["file"] for m in results] == [names[(m["frame"] - 1) % 7] for m in results]


def test_without_exit_at_end_the_daemon_stays(tmp_path: Path, model: Path) -> None:
    write_pictures(tmp_path / "hidden", 3)
    source = tmp_path / "pictures"
    with Daemon.without_cameras(tmp_path, config(model, f"images:{source}", pace='"every"')) as daemon:
        client = start_watching(daemon, tmp_path / "hidden", source)
        assert len(read_to_the_end(client)) == 3
        late = daemon.connect()
        late.watch()
        # Two in a row: nothing opens the source again.
        for _ in range(2):
            assert late.until("heartbeat")["status"] == "no_frame"
        health = daemon.status()["health"]["cameras"]["front"]
        assert (health["status"], health["reason"], health["frame"]) == ("no_frame", "the source has ended", 3)


def test_a_folder_without_a_picture_ends_it_with_one_sentence(tmp_path: Path, model: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "notes.txt").touch()
    write_pictures(tmp_path / "others", 2)
    cameras = "".join(
        f'[camera.{name}]\nsource = "images:{tmp_path / name}"\npace = "every"\n' for name in ("pictures", "others")
    )
    with Daemon(tmp_path, f'[model]\npath = "{model}"\n{cameras}', "--exit-at-end").start(wait=False) as daemon:
        assert daemon.wait() == 1
        assert "camera.others: ended after 2 frames" in daemon.logged()
        (said,) = (line for line in daemon.logged().splitlines() if " error " in line)
        assert f"camera pictures: the folder {tmp_path / 'pictures'} holds no picture: it holds notes.txt; " in said
        assert said.endswith("put some there, or name another folder")


def test_two_folders_end_before_the_daemon_does(tmp_path: Path, model: Path) -> None:
    write_pictures(tmp_path / "short", 3)
    write_pictures(tmp_path / "long", 30)
    cameras = "".join(
        f'[camera.{name}]\nsource = "images:{tmp_path / name}"\npace = "every"\n' for name in ("short", "long")
    )
    with Daemon(tmp_path, f'[model]\npath = "{model}"\n{cameras}', "--exit-at-end") as daemon:
        assert daemon.wait() == 0
        # Which of the two processes is up, and so ends, first is the machine's business.
        ended = re.findall(r"camera\.(\w+): ended after (\d+) frames", daemon.logged())
        assert sorted(ended) == [("long", "30"), ("short", "3")]


def test_one_picture_in_a_loop_comes_at_its_rate(tmp_path: Path, model: Path) -> None:
    write_pictures(tmp_path / "one", 1)
    camera = f'[camera.front]\nsource = "images:{tmp_path / "one"}"\nloop = true\nfps = 5\n'
    with Daemon(tmp_path, f'[model]\npath = "{model}"\n{camera}') as daemon:
        client = daemon.connect()
        client.watch(empty=True, events=["detections"])
        taken = [client.until("detections")["captured_ns"] for _ in range(8)]
        # A busy machine takes some of them later, never all of them: at half the rate none is nearer than 400 ms.
        assert min(after - before for before, after in itertools.pairwise(taken)) < 300e6


def test_a_client_that_reads_nothing_costs_the_others_no_frame(tmp_path: Path, model: Path) -> None:
    # Large enough to keep the daemon's pace below what the other client can read on a busy machine, and small enough
    # to be through, on such a one too, before a client that read nothing for 10 s is let go.
    write_pictures(tmp_path / "some", 40, (480, 270))
    repeat(tmp_path / "some", tmp_path / "hidden", 8)
    source = tmp_path / "pictures"
    with Daemon.without_cameras(tmp_path, config(model, f"images:{source}", pace='"every"')) as daemon:
        deaf = daemon.connect()
        deaf.watch(empty=True)
        client = start_watching(daemon, tmp_path / "hidden", source)
        results = read_to_the_end(client)
        assert [m["frame"] for m in results] == list(range(1, 321))
        # Now it reads: each number below its last `seq` either comes or is counted.
        late = read_to_the_end(deaf)
        assert late[-1]["frame"] == 320
        assert late[-1]["seq"] == 320
        assert late[-1]["dropped"] == 320 - len(late) > 0
        for before, after in itertools.pairwise(late):
            assert after["seq"] - before["seq"] == 1 + after["dropped"] - before["dropped"]


def test_live_frames_that_are_left_out_are_counted(tmp_path: Path, model: Path) -> None:
    with Daemon(tmp_path, config(model, "testcard", size="[160, 120]", fps="100")) as daemon:
        client = daemon.connect()
        client.watch(empty=True)
        detector = daemon.worker("detector")
        seen = [client.until("detections")["frame"] for _ in range(20)]
        os.kill(detector, signal.SIGSTOP)
        # As many frames as fit the ring are on their way already; the others cannot be taken.
        daemon.wait_for(lambda: daemon.status()["health"]["cameras"]["front"]["drops"].get("no_credit", 0) > 30)
        os.kill(detector, signal.SIGCONT)
        seen += [client.until("detections")["frame"] for _ in range(20)]
        client.send(type="pause")  # and not `ask`, which passes over what comes before the answer
        for message in client.stream():
            if message["type"] == "detections":
                seen.append(message["frame"])
            elif message["type"] == "heartbeat" and message["status"] == "paused":
                break
        assert seen == sorted(set(seen))
        left_out = seen[-1] - seen[0] + 1 - len(seen)
        assert left_out > 30
        drops: dict[str, int] = {}

        def counted() -> bool:
            """A second later the worker has told its counters."""
            drops.update(daemon.status()["health"]["cameras"]["front"]["drops"])
            return drops.get("paused", 0) > 50

        daemon.wait_for(counted)
        causes = ("no_credit", "not_attached", "superseded", "fps_cap")
        assert set(drops) <= {*causes, "paused"}
        # Those before the first that was seen were left out, too, unless it was already inferring then.
        assert left_out <= sum(drops.get(cause, 0) for cause in causes) <= left_out + seen[0] - 1


def test_what_a_slow_client_misses_is_counted_for_it(tmp_path: Path, model: Path) -> None:
    with Daemon(tmp_path, config(model, "testcard", size="[64, 64]", fps="500")) as daemon:
        quick, slow = daemon.connect(), daemon.connect()
        quick.watch(empty=True)
        slow.watch(empty=True)
        first = last = slow.until("detections")
        assert (first["seq"], first["dropped"]) == (1, 0)
        wanted = 0
        while slow_dropped(daemon) <= 100:
            for _ in range(100):
                wanted += 1
                message = quick.until("detections")
                assert (message["seq"], message["dropped"]) == (wanted, 0)
        while last["dropped"] <= 100:
            message = slow.until("detections")
            assert message["seq"] - last["seq"] == 1 + message["dropped"] - last["dropped"]
            last = message


def slow_dropped(daemon: Daemon) -> int:
    return max(int(client["dropped"]) for client in daemon.status()["health"]["clients"])


def test_the_last_results_wait_for_a_client_that_is_behind(tmp_path: Path, model: Path) -> None:
    write_pictures(tmp_path / "hidden", 150, (64, 64))
    source = tmp_path / "pictures"
    with Daemon.without_cameras(tmp_path, config(model, f"images:{source}", pace='"every"'), "--exit-at-end") as daemon:
        client = start_watching(daemon, tmp_path / "hidden", source)
        client.until("detections")
        daemon.wait_for(lambda: not daemon.running("vigild.camera"))
        time.sleep(1.0)  # longer than a client is given when the daemon is told to stop
        assert len(read_to_the_end(client)) == 149
        assert daemon.wait() == 0
