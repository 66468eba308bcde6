"""Slot ownership: whatever the two sides do and whenever one dies, a slot has one owner."""

from __future__ import annotations

import contextlib
import fcntl
import os

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vigild.geometry import View
from vigild.ipc.channel import socketpair
from vigild.ipc.ring import Credit, FilledSlot, RingClosed, RingReader, RingWriter, make_memfd, slot_stride

SLOT_BYTES = 5000
SLOTS = 3


def make_ring(slots: int = SLOTS) -> tuple[RingWriter, RingReader]:
    memfd = make_memfd("test", SLOT_BYTES, slots)
    camera, detector = socketpair()
    writer = RingWriter(os.dup(memfd), camera, SLOT_BYTES, slots)
    return writer, RingReader(memfd, detector, SLOT_BYTES, slots)


def frame(slot: int, number: int, file: str = "") -> FilledSlot:
    return FilledSlot(slot, number, 11, 12, 13, 14, 15, 640, 480, View(0.5, 0.25, 1.0, 0.0), file)


def test_a_frame_arrives_as_it_was_sent() -> None:
    writer, reader = make_ring()
    slot = writer.free_slot()
    assert slot is not None
    writer.slot(slot)[:5] = b"hello"
    sent = frame(slot, 7, "bilder/käse 1.jpg")
    writer.send(sent)
    (got,) = reader.receive()
    assert got == sent
    assert bytes(reader.slot(got.slot)[:5]) == b"hello"
    reader.give_back(got, ready_ns=99)
    assert writer.credits() == [Credit(slot, 7, 99)]
    assert writer.ready_ns == 99


def test_the_detector_cannot_write_into_a_slot() -> None:
    _, reader = make_ring()
    with pytest.raises(TypeError, match="read-only"):
        reader.slot(0)[0] = 1


def test_the_memory_can_neither_shrink_nor_grow() -> None:
    memfd = make_memfd("test", SLOT_BYTES, SLOTS)
    for size in (0, slot_stride(SLOT_BYTES) * (SLOTS + 1)):
        with pytest.raises(PermissionError):
            os.ftruncate(memfd, size)
    with pytest.raises(PermissionError):
        fcntl.fcntl(memfd, 1033, 0)  # no seal can be added, or taken off, any more
    os.close(memfd)


def test_memory_that_is_too_small_is_refused() -> None:
    memfd = make_memfd("test", SLOT_BYTES, 1)
    camera, _detector = socketpair()
    with pytest.raises(ValueError, match="holds less than 3 slots"):
        RingWriter(memfd, camera, SLOT_BYTES, 3)


def test_a_slot_that_is_not_owned_cannot_be_sent() -> None:
    writer, _reader = make_ring(slots=1)
    writer.send(frame(0, 1))
    assert writer.free_slot() is None
    with pytest.raises(ValueError, match="not this side's"):
        writer.send(frame(0, 2))


def test_a_peer_that_lies_about_slots_closes_the_ring() -> None:
    memfd = make_memfd("test", SLOT_BYTES, 2)
    camera, detector = socketpair()
    writer = RingWriter(memfd, camera, SLOT_BYTES, 2)
    writer.send(frame(writer.free_slot() or 0, 1))
    detector.send((1).to_bytes(2, "little") + bytes(16))  # returns a slot it was never given
    with pytest.raises(RingClosed, match="does not hold"):
        writer.credits()

    writer, reader = make_ring(slots=2)
    slot = writer.free_slot()
    assert slot is not None
    writer.send(frame(slot, 1))
    (held,) = reader.receive()
    writer._free.append(slot)
    writer.send(frame(slot, 2))  # sends a slot that the detector has not returned
    with pytest.raises(RingClosed, match="does not hold"):
        reader.receive()
    assert held.frame == 1


@pytest.mark.parametrize("who", ["camera", "detector"])
def test_the_end_of_one_side_is_seen_by_the_other(who: str) -> None:
    writer, reader = make_ring()
    if who == "camera":
        writer.close()
        with pytest.raises(RingClosed):
            reader.receive()
    else:
        writer.send(frame(writer.free_slot() or 0, 1))
        reader.close()
        with pytest.raises(RingClosed):
            writer.credits()


class Ownership(RuleBasedStateMachine):
    """Both ends of one ring, with either end dying and being replaced at any step.

    The model: who owns each slot, and which frames were acknowledged. Pixels carry the number of
    the frame they belong to, so a slot written while the other side reads it would show.
    """

    def __init__(self) -> None:
        super().__init__()
        self.connect()
        self.number = 0
        self.unacknowledged: list[int] = []
        self.seen: list[int] = []
        self.acknowledged: set[int] = set()

    def connect(self) -> None:
        self.writer, self.reader = make_ring()
        self.in_hand: list[FilledSlot] = []

    @precondition(lambda self: self.writer.free_slot() is not None)
    @rule()
    def camera_fills_and_sends(self) -> None:
        self.number += 1
        self._send(self.number)
        self.unacknowledged.append(self.number)

    def _send(self, number: int) -> None:
        slot = self.writer.free_slot()
        assert slot is not None
        self.writer.slot(slot)[:8] = number.to_bytes(8, "little")
        self.writer.send(frame(slot, number))

    @rule()
    def detector_receives(self) -> None:
        for got in self.reader.receive():
            self.in_hand.append(got)
            if got.frame not in self.seen:
                self.seen.append(got.frame)

    @precondition(lambda self: self.in_hand)
    @rule(pick=st.integers(0, SLOTS - 1))
    def detector_gives_back(self, pick: int) -> None:
        got = self.in_hand.pop(pick % len(self.in_hand))
        self.reader.give_back(got)

    @rule()
    def camera_takes_credits(self) -> None:
        self._acknowledge()

    def _acknowledge(self) -> None:
        for credit in self.writer.credits():
            self.acknowledged.add(credit.frame)
            self.unacknowledged.remove(credit.frame)

    @rule()
    def detector_dies(self) -> None:
        """A new ring; what was not acknowledged is sent again, in order."""
        self.reader.close()
        with contextlib.suppress(RingClosed):
            self._acknowledge()
        self.connect()
        for number in list(self.unacknowledged):
            self._send(number)

    @invariant()
    def pixels_in_hand_are_of_the_frame(self) -> None:
        for got in self.in_hand:
            assert int.from_bytes(self.reader.slot(got.slot)[:8], "little") == got.frame

    @invariant()
    def nothing_is_lost_and_order_holds(self) -> None:
        assert self.acknowledged | set(self.unacknowledged) == set(range(1, self.number + 1))
        assert self.seen == sorted(self.seen)
        assert len(self.unacknowledged) <= SLOTS


Ownership.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestOwnership = Ownership.TestCase
