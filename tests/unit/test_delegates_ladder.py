"""The delegate ladder by itself, and what is on it for a model on a board."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from delegates import kit
from unit import modelkit
from vigild.config.schema import ModelConfig
from vigild.delegates import edgetpu
from vigild.delegates import ladder as ladders
from vigild.delegates.ladder import CLIMB_FIRST_S, CLIMB_MAX_S, DEATHS_PER_RUNG, RETRY_S, SETTLED_S, Ladder, rungs
from vigild.delegates.prospects import died_of_delegate, ladder_for, why

THREE = ["edgetpu", "xnnpack", "none"]
EPSILON_S = 0.001


# ---- rungs


@pytest.mark.parametrize(
    ("delegate", "on_edgetpu", "on_cpu", "expected"),
    [
        ("auto", True, True, THREE),
        ("auto", False, True, ["xnnpack", "none"]),
        ("auto", True, False, ["edgetpu"]),
        ("auto", False, False, ["xnnpack", "none"]),
        ("edgetpu:usb:0", True, True, ["edgetpu:usb:0"]),
        ("xnnpack", True, True, ["xnnpack"]),
        ("none", True, True, ["none"]),
        ("/x/lib.so", True, True, ["/x/lib.so"]),
    ],
)
def test_rungs(delegate: str, on_edgetpu: bool, on_cpu: bool, expected: list[str]) -> None:
    assert rungs(delegate, edgetpu=on_edgetpu, cpu=on_cpu) == expected


# ---- down and up


def climbs_after(ladder: Ladder, lost_s: float) -> float:
    """Seconds from `lost_s` to when the rung above is due."""
    steps_s = [RETRY_S, *(min(CLIMB_FIRST_S * 2**n, CLIMB_MAX_S) for n in range(8))]
    wait_s = next(step_s for step_s in steps_s if ladder.due(lost_s + step_s))
    assert ladder.due(lost_s + wait_s - EPSILON_S) is None
    return wait_s


def test_down_to_the_last_rung() -> None:
    ladder = Ladder(THREE)
    assert (ladder.rung, ladder.lowered, ladder.last) == ("edgetpu", False, False)
    assert ladder.due(1e9) is None, "there is nothing above"
    assert ladder.lost(0) == "xnnpack"
    assert (ladder.rung, ladder.lowered, ladder.last) == ("xnnpack", True, False)
    assert ladder.lost(0) == "none"
    assert (ladder.lowered, ladder.last) == (True, True)


def test_an_edge_tpu_is_given_up_at_its_first_death_and_the_cpu_is_not() -> None:
    ladder = Ladder(THREE)
    assert not ladder.trusts(ready=True, deaths=1)
    ladder.lost(0)
    assert ladder.trusts(ready=True, deaths=1)
    assert ladder.trusts(ready=True, deaths=DEATHS_PER_RUNG - 1)
    assert not ladder.trusts(ready=True, deaths=DEATHS_PER_RUNG)
    assert not ladder.trusts(ready=False, deaths=1), "it never worked there"
    ladder.lost(0)
    assert ladder.trusts(ready=False, deaths=100), "there is nothing below"
    assert Ladder(["/x/lib.so"]).trusts(ready=True, deaths=100)


def test_an_edge_tpu_is_tried_again_soon_and_then_ever_more_rarely() -> None:
    ladder = Ladder(THREE)
    ladder.lost(0)
    waits, now_s = [], 0.0
    for _ in range(8):
        assert ladder.due(now_s + RETRY_S - EPSILON_S) is None
        waits.append(climbs_after(ladder, now_s))
        now_s += waits[-1]
        assert ladder.due(now_s) == "edgetpu"
        ladder.refused(now_s)
    assert waits == [RETRY_S, 60, 120, 240, 480, 960, CLIMB_MAX_S, CLIMB_MAX_S]


def test_the_cpu_is_tried_again_after_a_minute() -> None:
    ladder = Ladder(["xnnpack", "none"])
    ladder.lost(0)
    assert climbs_after(ladder, 0) == CLIMB_FIRST_S
    assert ladder.due(CLIMB_FIRST_S) == "xnnpack"


def test_a_climb_that_does_not_last_is_waited_for_longer() -> None:
    ladder = Ladder(THREE)
    ladder.lost(0)
    ladder.climbed("edgetpu", RETRY_S)
    assert (ladder.rung, ladder.lowered) == ("edgetpu", False)
    ladder.works(4)
    ladder.lost(5)
    assert climbs_after(ladder, 5) == CLIMB_FIRST_S
    ladder.climbed("edgetpu", 65)
    ladder.works(66)
    ladder.lost(67)
    assert climbs_after(ladder, 67) == 2 * CLIMB_FIRST_S


def test_a_climb_that_lasted_is_forgiven() -> None:
    ladder = Ladder(THREE)
    ladder.lost(0)
    ladder.climbed("edgetpu", 3)
    ladder.works(4)
    ladder.works(4 + SETTLED_S - 1)
    ladder.lost(4 + SETTLED_S)
    assert climbs_after(ladder, 4 + SETTLED_S) == RETRY_S


def test_what_one_rung_did_is_not_put_to_the_credit_of_the_next() -> None:
    ladder = Ladder(THREE)
    ladder.works(0)
    ladder.lost(SETTLED_S)
    ladder.lost(SETTLED_S + 1)
    ladder.climbed("xnnpack", 800)
    ladder.climbed("edgetpu", 900)
    ladder.lost(901)
    assert climbs_after(ladder, 901) == 2 * CLIMB_FIRST_S


def test_one_rung_at_a_time_up_to_the_top() -> None:
    ladder = Ladder(THREE)
    ladder.lost(0)
    ladder.lost(0)
    assert ladder.due(1e6) == "xnnpack"
    ladder.climbed("xnnpack", 1e6)
    assert ladder.lowered
    assert ladder.due(1e6) is None
    assert ladder.due(1e6 + CLIMB_MAX_S) == "edgetpu"


def test_only_an_edge_tpu_gets_one_more_chance() -> None:
    ladder = Ladder(["edgetpu:pci:0"])
    assert [ladder.once_more() for _ in range(3)] == [True, False, False]
    assert not Ladder(["/x/lib.so"]).once_more()
    assert not Ladder(["xnnpack"]).once_more()


# ---- what is on it


@pytest.fixture
def board(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> kit.Board:
    board = kit.Board(tmp_path, kit.library(tmp_path_factory))
    monkeypatch.setenv("VIGILD_MANIFEST", str(board.manifest))
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    if edgetpu.library_installed():
        pytest.skip("libedgetpu is installed here")
    return board


def on(board: kit.Board, **model: str) -> list[str]:
    ladder = ladder_for(ModelConfig(**model), board.root)
    found = [ladder.rung]
    while not ladder.last:
        found.append(ladder.lost(0))
    return found


CPU_ONLY = ["xnnpack", "none"]


def test_both_builds(board: kit.Board, monkeypatch: pytest.MonkeyPatch) -> None:
    assert on(board, name="twins") == THREE
    assert on(board, name="twins", variant="edgetpu") == THREE
    assert on(board, name="twins", variant="cpu") == CPU_ONLY, "that one was asked for"
    board.cpu.unlink()
    assert on(board, name="twins") == ["edgetpu"]
    board.edgetpu.unlink()
    assert on(board, name="twins") == CPU_ONLY
    assert on(board, name="no such model") == CPU_ONLY
    assert on(board, name="twins", delegate="edgetpu") == ["edgetpu"], "demanded: no question asked"


def test_a_device_or_the_library(board: kit.Board, monkeypatch: pytest.MonkeyPatch) -> None:
    board.node.unlink()
    assert on(board, name="twins") == CPU_ONLY
    monkeypatch.setenv("LD_LIBRARY_PATH", f"/nowhere:{board.folder / 'lib'}")
    assert on(board, name="twins") == THREE


def test_a_file_tells_whether_it_is_compiled(board: kit.Board, tmp_path: Path) -> None:
    assert on(board, path=str(board.edgetpu)) == ["edgetpu"]
    assert on(board, path=str(board.cpu)) == CPU_ONLY
    assert on(board, path=str(tmp_path / "absent.tflite")) == CPU_ONLY
    assert on(board, path=str(tmp_path)) == CPU_ONLY
    empty, pipe = tmp_path / "empty", tmp_path / "pipe"
    empty.touch()
    os.mkfifo(pipe)
    assert on(board, path=str(empty)) == CPU_ONLY
    assert on(board, path=str(pipe)) == CPU_ONLY, "must not wait for a writer"
    assert on(board) == CPU_ONLY, "the embedded model"
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.write(board.edgetpu.read_bytes())
        file.truncate(65 * 2**20)
    assert on(board, path=str(large)) == CPU_ONLY


def usb(root: Path, ids: str, node: bool = True) -> None:
    device = root / "sys/bus/usb/devices/2-1"
    device.mkdir(parents=True)
    vendor, product = ids.split(":")
    for name, text in {"idVendor": vendor, "idProduct": product, "busnum": "2", "devnum": "13"}.items():
        (device / name).write_text(text + "\n")
    (root / "sys/bus/usb/devices/usb1").mkdir()
    if node:
        (root / "dev/bus/usb/002").mkdir(parents=True)
        (root / "dev/bus/usb/002/013").touch()


@pytest.mark.parametrize("ids", ["1a6e:089a", "18d1:9302"])
def test_usb_devices_are_found(tmp_path: Path, ids: str) -> None:
    usb(tmp_path, ids)
    assert edgetpu.devices(tmp_path) == [edgetpu.EdgeTpu(f"USB {ids}", tmp_path / "dev/bus/usb/002/013")]


def test_other_usb_devices_are_not(tmp_path: Path) -> None:
    usb(tmp_path, "1d6b:0002")
    assert edgetpu.devices(tmp_path) == []


def test_the_loader_cache_is_asked(tmp_path: Path) -> None:
    cache = tmp_path / "ld.so.cache"
    cache.write_bytes(b"\0libedgetpu.so.1.0\0libc.so.6\0")
    assert not edgetpu.library_installed({}, cache)
    cache.write_bytes(b"\0libedgetpu.so.1\0/opt/lib/libedgetpu.so.1\0")
    assert edgetpu.library_installed({}, cache)


# ---- in words


def test_diagnosis(tmp_path: Path) -> None:
    assert edgetpu.diagnosis(tmp_path).startswith("no Edge TPU is connected: there is neither /dev/apex_0 nor")
    usb(tmp_path, "18d1:9302")
    assert edgetpu.diagnosis(tmp_path).startswith("USB 18d1:9302 is there and may be opened; another program may")


def test_diagnosis_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usb(tmp_path, "18d1:9302")
    node = tmp_path / "dev/bus/usb/002/013"
    if os.geteuid() == 0:
        # Root may open everything, so the kernel has to be overruled.
        monkeypatch.setattr(edgetpu.os, "access", lambda path, _: path != node)
    node.chmod(0)
    said = edgetpu.diagnosis(tmp_path)
    assert f"may not open {node}; add the daemon's user to the group plugdev" in said


@pytest.mark.parametrize(
    ("rung", "number", "words"),
    [
        ("edgetpu", signal.SIGSEGV, "libedgetpu.so.1 was most likely built for another version of TensorFlow Lite"),
        ("edgetpu:usb:0", signal.SIGILL, "libedgetpu.so.1 was most likely built for another version"),
        ("/x/lib.so", signal.SIGSEGV, "the library was most likely built for another version"),
        ("edgetpu", signal.SIGABRT, "the Edge TPU stopped answering; check its cable, port, power and cooling"),
        ("edgetpu", signal.SIGKILL, ""),
        ("edgetpu", None, "no Edge TPU is connected"),
        ("/x/lib.so", signal.SIGABRT, ""),
        ("xnnpack", signal.SIGSEGV, ""),
        ("none", None, ""),
    ],
)
def test_why(tmp_path: Path, rung: str, number: signal.Signals | None, words: str) -> None:
    said = why(rung, "it died.", None if number is None else -number, tmp_path)
    assert said.startswith(f"it died; {words}") if words else said == "it died."


def test_why_it_hung(tmp_path: Path) -> None:
    said = why("edgetpu", "hung for 1.0 s in invoke(); killed", -signal.SIGKILL, tmp_path)
    assert said == (
        "hung for 1.0 s in invoke(); killed; the Edge TPU stopped answering; check its cable, port, power and cooling"
    )


def test_who_is_to_blame() -> None:
    assert died_of_delegate("edgetpu", -signal.SIGABRT)
    assert died_of_delegate("/x/lib.so", -signal.SIGSEGV)
    assert not died_of_delegate("xnnpack", -signal.SIGSEGV), "that may be the model"
    assert not died_of_delegate("/x/lib.so", -signal.SIGKILL), "that may be the kernel, short of memory"
    assert not died_of_delegate("/x/lib.so", 1)
    assert not died_of_delegate("edgetpu", None)
    assert ladders.is_edgetpu("edgetpu:usb:0")
    assert not ladders.is_edgetpu("/opt/edgetpu.so")


def test_the_models_of_these_tests_are_what_they_seem(board: kit.Board) -> None:
    assert b"edgetpu-custom-op" in board.edgetpu.read_bytes()
    assert b"edgetpu-custom-op" not in modelkit.quadrants(board.folder).read_bytes()
