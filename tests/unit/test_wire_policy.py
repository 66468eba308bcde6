"""What a client gets to see, and how the encoding is shared."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standin_hub import LABELS, detections
from vigild.wire.framing import encode_line, parse_server_message
from vigild.wire.messages import Detection, Detections
from vigild.wire.policy import FrameRate, Selection, detections_line, detections_tail, make_policy
from vigild.wire.requests import RequestError, Watch

CAMERAS = ["front", "back"]


def labels_sent(message: Detections, selection: Selection) -> list[str] | None:
    tail = detections_tail(message, selection)
    if tail is None:
        return None
    return [d["label"] for d in json.loads(detections_line(tail, 1, 0))["detections"]]


def test_the_spliced_line_is_the_encoded_message() -> None:
    message = detections(frame=5, file="a.jpg", truncated=True)
    tail = detections_tail(message, Selection())
    assert tail is not None
    line = detections_line(tail, seq=12, dropped=3)
    assert line.startswith(b'{"type":"detections","seq":12,"dropped":3,"camera"')
    expected = json.loads(encode_line(message)) | {"seq": 12, "dropped": 3}
    assert json.loads(line) == expected
    assert line.endswith(b"\n") and line.count(b"\n") == 1


def test_numbers_that_were_filled_in_before_do_not_appear_twice() -> None:
    tail = detections_tail(detections(seq=9, dropped=9), Selection())
    assert tail is not None
    assert tail.count(b'"seq"') == 0 and tail.count(b'"dropped"') == 0


def test_labels_and_scores_filter() -> None:
    message = detections(scores={"person": 0.9, "cat": 0.6, "dog": 0.4})
    assert labels_sent(message, Selection()) == ["person", "cat", "dog"]
    assert labels_sent(message, Selection(labels=frozenset(["cat", "dog"]))) == ["cat", "dog"]
    assert labels_sent(message, Selection(min_score=0.6)) == ["person", "cat"]
    assert labels_sent(message, Selection(labels=frozenset(["cat"]), min_score=0.7)) is None


def test_empty_results_go_only_to_those_who_asked() -> None:
    nothing = detections(scores={})
    assert labels_sent(nothing, Selection()) is None
    assert labels_sent(nothing, Selection(empty=True)) == []
    assert labels_sent(detections(), Selection(labels=frozenset(["dog"]), empty=True)) == []


def test_equal_wishes_share_an_encoding() -> None:
    one = make_policy(Watch(id=1, labels=["cat", "person"], max_fps=5), CAMERAS, LABELS)
    other = make_policy(Watch(id=2, labels=["person", "cat"], cameras=["back"]), CAMERAS, LABELS)
    assert one.selection == other.selection and hash(one.selection) == hash(other.selection)


def test_the_answer_says_what_is_in_force() -> None:
    watch = Watch(
        id="w", cameras=["front", "back"], min_score=0.25, max_fps=10, events=["event", "detections"], empty=True
    )
    line = json.loads(encode_line(make_policy(watch, CAMERAS, LABELS).answer(watch)))
    assert line == {
        "type": "watching",
        "id": "w",
        "cameras": ["back", "front"],
        "min_score": 0.25,
        "max_fps": 10.0,
        "events": ["detections", "event"],
        "empty": True,
    }
    assert json.loads(encode_line(make_policy(Watch(), CAMERAS, LABELS).answer(Watch()))) == {
        "type": "watching",
        "events": ["detections", "health", "event"],
        "empty": False,
    }


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match="known are: front, back") as caught:
        make_policy(Watch(id=4, cameras=["fornt"]), CAMERAS, LABELS)
    assert (caught.value.code, caught.value.id) == ("unknown_camera", 4)
    with pytest.raises(RequestError, match=r'did you mean "person"\?\); known are: person, cat, dog') as caught:
        make_policy(Watch(labels=["persn"]), CAMERAS, LABELS)
    assert caught.value.code == "unknown_label"


def test_labels_are_taken_unseen_while_no_model_is_loaded() -> None:
    assert make_policy(Watch(labels=["anything"]), CAMERAS, None).selection.labels == {"anything"}


def test_numbered_classes_are_labels() -> None:
    assert make_policy(Watch(labels=["class_7"]), CAMERAS, []).selection.labels == {"class_7"}
    with pytest.raises(RequestError):
        make_policy(Watch(labels=["class_x"]), CAMERAS, [])


@pytest.mark.parametrize(
    ("source_fps", "max_fps", "expected"), [(30, 30, 300), (30, 10, 100), (30, 20, 200), (5, 30, 50)]
)
def test_the_frame_rate_is_held_on_average(source_fps: int, max_fps: float, expected: int) -> None:
    rate = FrameRate(max_fps)
    admitted = sum(rate.admits(1000 + i / source_fps) for i in range(10 * source_fps))
    assert abs(admitted - expected) <= 2


@given(st.lists(st.floats(0, 0.2), min_size=1, max_size=200), st.floats(1, 50))
def test_the_frame_rate_is_never_exceeded(gaps: list[float], max_fps: float) -> None:
    rate = FrameRate(max_fps)
    now_s, times = 100.0, []
    for gap in gaps:
        now_s += gap
        if rate.admits(now_s):
            times.append(now_s)
    # Any n + 1 messages span at least (n - 1/2) intervals: the tolerance can be used up only once.
    for first in range(len(times)):
        for last in range(first + 1, len(times)):
            assert times[last] - times[first] >= (last - first - 0.5) / max_fps - 1e-6


def test_jitter_below_half_an_interval_loses_nothing() -> None:
    rate = FrameRate(30)
    assert all(rate.admits(50 + (i + (0.4 if i % 2 else 0)) / 30) for i in range(100))


@given(
    st.lists(st.tuples(st.sampled_from(LABELS), st.floats(0, 1)), max_size=6),
    st.none() | st.sets(st.sampled_from(LABELS)).map(frozenset),
    st.floats(0, 1),
    st.booleans(),
)
def test_a_client_decodes_exactly_what_its_filter_admits(
    found: list[tuple[str, float]], labels: frozenset[str] | None, min_score: float, empty: bool
) -> None:
    boxes = [Detection(label=label, class_=0, score=score, box=(0.0, 0.0, 1.0, 1.0)) for label, score in found]
    message = detections(scores={})
    message = Detections(**{f: getattr(message, f) for f in message.__struct_fields__} | {"detections": boxes})
    wanted = [d for d in boxes if d.score >= min_score and (labels is None or d.label in labels)]
    tail = detections_tail(message, Selection(labels, min_score, empty))
    if tail is None:
        assert not wanted and not empty
    else:
        read = parse_server_message(detections_line(tail, 1, 0))
        assert isinstance(read, Detections) and read.detections == wanted
