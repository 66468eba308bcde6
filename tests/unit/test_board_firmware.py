"""What a Raspberry Pi's firmware says, by its mailbox and by vcgencmd."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from boardkit import jetson_orin, raspberry_pi_4, raspberry_pi_5, write
from vigild.board.board import Board
from vigild.board.firmware import Firmware, Said, ask_mailbox, flags_before, flags_now, parse_vcgencmd
from vigild.board.reader import BoardReader

S = 10**9


def firmware_at(bits: int, arm_hz: int | None) -> Callable[[int, int, bytearray], int]:
    """An ioctl as the firmware answers it; `arm_hz` None: it does not know the tag."""

    def ioctl(descriptor: int, request: int, message: bytearray) -> int:
        words = list(struct.unpack(f"={len(message) // 4}I", message))
        assert request in (0xC0086400, 0xC0046400) and os.fstat(descriptor)
        assert words[0] == len(message) and words[-1] == 0
        assert words[2] == 0x00030046 and words[5] == 0, "0 asks without clearing what is remembered"
        assert words[6] == 0x00030047 and words[9] == 3
        words[1] = 0x80000000
        words[4:6] = [0x80000004, bits]
        if arm_hz is not None:
            words[8:11] = [0x80000008, 3, arm_hz]
        message[:] = struct.pack(f"={len(words)}I", *words)
        return 0

    return ioctl


def test_bits() -> None:
    assert flags_now(0x50005) == ["under_voltage", "throttled"] and flags_before(0x50005) == []
    assert flags_now(0xE0008) == ["soft_temperature_limit"] and flags_before(0xE0008) == [
        "frequency_capped",
        "throttled",
    ]
    assert parse_vcgencmd(b"throttled=0x50005\n") == 0x50005
    assert parse_vcgencmd(b"VCHI initialization failed") is None


def test_the_mailbox(tmp_path: Path) -> None:
    device = tmp_path / "vcio"
    device.write_bytes(b"")
    assert ask_mailbox(device, firmware_at(0x4, 600_000_000)) == Said(0x4, 600_000_000)
    assert ask_mailbox(device, firmware_at(0x4, None)) == Said(0x4, None)
    assert ask_mailbox(device, lambda *_: 0) is None
    with pytest.raises(OSError):
        ask_mailbox(device)  # no such device
    with pytest.raises(FileNotFoundError):
        ask_mailbox(tmp_path / "none")


class Starts:
    """A vcgencmd that really runs, and how often it was started."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.count = 0
        self.last: subprocess.Popen[bytes] | None = None

    def __call__(self) -> subprocess.Popen[bytes]:
        self.count += 1
        self.last = subprocess.Popen(["/bin/sh", "-c", self.program], stdout=subprocess.PIPE)
        return self.last

    def ended(self) -> None:
        assert self.last is not None
        os.waitid(os.P_PID, self.last.pid, os.WEXITED | os.WNOWAIT)


def no_mailbox(_: Path) -> Said | None:
    raise PermissionError


def test_vcgencmd_is_started_at_one_poll_and_read_at_a_later_one(tmp_path: Path) -> None:
    starts = Starts("echo throttled=0x5")
    firmware = Firmware(raspberry_pi_4(tmp_path), no_mailbox, starts)
    assert firmware.poll(0) is None and firmware.pending
    starts.ended()
    assert firmware.poll(1 * S) == Said(5) and not firmware.pending
    assert firmware.way == "vcgencmd get_throttled"
    firmware.poll(4 * S)
    assert starts.count == 1
    assert firmware.poll(4 * S, near=True) == Said(5)  # what was said holds meanwhile
    assert starts.count == 2
    firmware.close()


def test_vcgencmd_runs_at_most_once_a_second(tmp_path: Path) -> None:
    starts = Starts("echo throttled=0x0")
    firmware = Firmware(raspberry_pi_4(tmp_path), no_mailbox, starts)
    for tick in range(40):
        firmware.poll(tick * S // 4, near=True)
        if firmware.pending:
            starts.ended()
    assert starts.count <= 10
    firmware.close()


def test_the_mailbox_is_asked_once_a_second_however_often_the_sensors_are_read(tmp_path: Path) -> None:
    asked: list[Path] = []

    def mailbox(device: Path) -> Said:
        asked.append(device)
        return Said(len(asked))

    firmware = Firmware(raspberry_pi_4(tmp_path), mailbox, Starts("exit 1"))
    said = [firmware.poll(tick * S // 4, near=True) for tick in range(40)]
    assert len(asked) == 10
    assert said == [Said(tick // 4 + 1) for tick in range(40)], "what was said holds meanwhile"


def test_a_vcgencmd_that_hangs_is_killed_and_left_alone_for_a_while(tmp_path: Path) -> None:
    starts = Starts("exec sleep 600")
    firmware = Firmware(raspberry_pi_4(tmp_path), no_mailbox, starts)
    for second in range(4):
        assert firmware.poll(second * S) is None
    assert starts.last is not None and starts.last.returncode == -9
    for second in range(4, 60):
        firmware.poll(second * S)
    assert starts.count == 1
    firmware.poll(64 * S)
    assert starts.count == 2
    firmware.close()
    assert starts.last.returncode == -9


@pytest.mark.parametrize("program", ["echo 'VCHI initialization failed'", "exit 255", "head -c 9000 /dev/zero"])
def test_a_vcgencmd_that_may_not_ask(tmp_path: Path, program: str) -> None:
    starts = Starts(program)
    firmware = Firmware(raspberry_pi_4(tmp_path), no_mailbox, starts)
    firmware.poll(0)
    starts.ended()
    assert firmware.poll(1 * S) is None and firmware.way == ""
    firmware.poll(30 * S)
    assert starts.count == 1


def test_without_vcgencmd_and_where_it_cannot_be_started(tmp_path: Path) -> None:
    def fails() -> subprocess.Popen[bytes]:
        raise BlockingIOError("no process")

    root = raspberry_pi_4(tmp_path)
    for start in (lambda: None, fails):
        firmware = Firmware(root, no_mailbox, start)
        assert firmware.poll(0) is None and not firmware.pending


def test_nobody_else_is_asked(tmp_path: Path) -> None:
    starts = Starts("echo throttled=0x5")
    firmware = Firmware(jetson_orin(tmp_path), lambda _: Said(5), starts)
    assert firmware.poll(0) is None and starts.count == 0


def test_the_deprecated_file_is_not_touched(tmp_path: Path) -> None:
    """Reading it writes a warning into the kernel's log."""
    root = raspberry_pi_4(tmp_path)
    path = root / "sys/devices/platform/soc/soc:firmware/get_throttled"
    write(path, "5\n")
    opened: list[str] = []
    watching = [True]

    def hook(event: str, args: tuple[object, ...]) -> None:
        if watching[0] and event == "open":
            opened.append(str(args[0]))

    sys.addaudithook(hook)
    board = Board(root)
    BoardReader(board).read(0, {})
    watching[0] = False
    assert opened and not [name for name in opened if "get_throttled" in name]


def test_flags_and_the_true_clock_reach_the_readings(tmp_path: Path) -> None:
    root = raspberry_pi_5(tmp_path)
    board = Board(root)
    board.firmware = Firmware(root, lambda _: Said(0x10004, 1_500_000_000))
    readings = BoardReader(board).read(0, {})
    assert readings.flags == ("throttled",) and readings.remembered == ("under_voltage",)
    assert readings.frequency is not None
    assert readings.frequency.measured and readings.frequency.share == 0.625
    board.firmware = Firmware(root, lambda _: Said(0x4))
    frequency = BoardReader(board).read(0, {}).frequency
    assert frequency is not None and not frequency.measured and frequency.share == 1.0  # which the flag belies
