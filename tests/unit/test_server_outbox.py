"""What waits for a slow client: bounded, in order, and every loss is told."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vigild.hub.outbox import Outbox

TAIL = b'"camera":"front"}\n'


def drain(outbox: Outbox) -> list[dict[str, Any]]:
    lines = []
    while (popped := outbox.pop()) is not None:
        lines.append(json.loads(popped[0]))
    return lines


def test_lines_leave_in_the_order_they_came() -> None:
    outbox = Outbox()
    outbox.add_detections(1, TAIL)
    outbox.add_firm(b'{"type":"pong"}\n')
    outbox.add_latest("front", b'{"type":"heartbeat"}\n')
    outbox.add_detections(2, TAIL)
    assert [line["type"] for line in drain(outbox)] == ["detections", "pong", "heartbeat", "detections"]
    assert outbox.pending_bytes == 0 and len(outbox) == 0


def test_beyond_the_bound_the_oldest_detections_go_and_are_counted() -> None:
    outbox = Outbox(queue_lines=3)
    outbox.add_firm(b'{"type":"event"}\n')
    for seq in range(1, 6):
        outbox.add_detections(seq, TAIL)
    lines = drain(outbox)
    assert [line.get("seq") for line in lines] == [None, 3, 4, 5]
    assert [line.get("dropped") for line in lines] == [None, 2, 2, 2]


def test_the_bound_in_bytes_holds_too() -> None:
    outbox = Outbox(queue_lines=1000, queue_bytes=1000)
    for seq in range(100):
        outbox.add_detections(seq, TAIL)
    assert outbox.pending_bytes <= 1000
    assert outbox.dropped + len(outbox) == 100


def test_one_line_over_the_bound_still_goes() -> None:
    outbox = Outbox(queue_bytes=10)
    outbox.add_detections(1, TAIL)
    assert [line["seq"] for line in drain(outbox)] == [1]


def test_a_newer_heartbeat_takes_the_waiting_ones_place_and_turn() -> None:
    outbox = Outbox()
    outbox.add_latest("front", b'{"type":"heartbeat","frame":1}\n')
    outbox.add_detections(1, TAIL)
    outbox.add_latest("front", b'{"type":"heartbeat","frame":22}\n')
    outbox.add_latest("back", b'{"type":"heartbeat","frame":3}\n')
    assert [(line["type"], line.get("frame")) for line in drain(outbox)] == [
        ("heartbeat", 22),
        ("detections", None),
        ("heartbeat", 3),
    ]
    assert outbox.pending_bytes == 0


def test_who_stops_watching_still_gets_the_answers() -> None:
    outbox = Outbox()
    outbox.add_detections(1, TAIL)
    outbox.add_latest("", b'{"type":"health"}\n')
    outbox.add_firm(b'{"type":"pong"}\n')
    outbox.forget_stream()
    assert [line["type"] for line in drain(outbox)] == ["pong"]
    assert outbox.pending_bytes == 0


steps = st.lists(st.sampled_from(["detections", "firm", "front", "back", "pop"]), max_size=200)


@given(steps, st.integers(1, 8), st.integers(60, 400))
def test_nothing_is_lost_untold_or_out_of_order(actions: list[str], queue_lines: int, queue_bytes: int) -> None:
    outbox = Outbox(queue_lines, queue_bytes)
    seq = number = 0
    firm_in: list[int] = []
    out: list[dict[str, Any]] = []
    for action in actions:
        if action == "detections":
            seq += 1
            outbox.add_detections(seq, TAIL)
        elif action == "firm":
            number += 1
            firm_in.append(number)
            outbox.add_firm(b'{"type":"firm","number":%d}\n' % number)
        elif action == "pop":
            popped = outbox.pop()
            if popped is not None:
                out.append(json.loads(popped[0]))
                assert popped[1] == (out[-1]["type"] == "detections")
        else:
            outbox.add_latest(action, b'{"type":"latest"}\n')
        assert outbox.pending_bytes >= 0
    out += drain(outbox)
    seen = [line for line in out if line["type"] == "detections"]
    for count, line in enumerate(seen, start=1):
        assert line["seq"] == count + line["dropped"]
    assert len(seen) + outbox.dropped == seq
    assert [line["number"] for line in out if line["type"] == "firm"] == firm_in
    assert outbox.pending_bytes == 0
