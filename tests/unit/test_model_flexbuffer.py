"""Options of a custom operator: read as the writer meant them, and never beyond their end."""

from __future__ import annotations

import random

import modelkit
import pytest
from flatbuffers import flexbuffers

from vigild.detector.flatbuffer import OutOfBounds
from vigild.detector.flexbuffer import options


def test_all_kinds_of_numbers():
    builder = flexbuffers.Builder()
    with builder.Map():
        builder.Int("small", 7)
        builder.Int("negative", -300)
        builder.UInt("large", 2**40)
        builder.Float("half", 0.5)
        builder.Float("pi", 3.141592653589793)
        builder.Bool("yes", True)
        builder.IndirectInt("indirect", -5)
        builder.IndirectFloat("far", 0.25)
        builder.String("text", "left out")
    expected = {"small": 7, "negative": -300, "large": 2**40, "half": 0.5}
    expected |= {"pi": 3.141592653589793, "yes": 1, "indirect": -5, "far": 0.25}
    assert options(bytes(builder.Finish())) == expected


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0", bytes(100), b"\xff" * 100])
def test_no_map(data):
    with pytest.raises(OutOfBounds):
        options(data)


def test_mutations_end_in_numbers_or_a_refusal():
    data = modelkit.detection_options()
    dice = random.Random(0)
    for _ in range(5000):
        broken = bytearray(data)
        for _ in range(dice.choice((1, 1, 3))):
            broken[dice.randrange(len(broken))] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        try:
            found = options(bytes(broken[: dice.randrange(1, len(broken) + 1)]))
            assert all(isinstance(value, int | float) for value in found.values())
        except OutOfBounds:
            pass
