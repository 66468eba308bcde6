"""Results against known truth, and against plain kernels; and the sentences about them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigild.geometry import Box, iou
from vigild.ipc.messages import RawDetection
from vigild.selftest.conduct import Outcome
from vigild.selftest.judge import Agreement, Truth, against_plain, against_truth
from vigild.selftest.report import as_json, lines, passed, verdict
from vigild.selftest.tasks import Card

LEFT: Box = (0.1, 0.1, 0.3, 0.3)
RIGHT: Box = (0.6, 0.1, 0.8, 0.3)


def seen(label: str, box: Box, score: float = 0.9) -> RawDetection:
    return RawDetection(label, 0, score, box)


def card(*detections: RawDetection) -> Card:
    """A star at the left and a circle at the right."""
    return Card([("star", LEFT), ("circle", RIGHT)], list(detections), 1.0)


def moved(box: Box, by: float) -> Box:
    return (box[0] + by, box[1], box[2] + by, box[3])


# ---- boxes

_SIDES = st.tuples(st.floats(0, 1), st.floats(0, 1)).filter(lambda side: abs(side[0] - side[1]) > 1e-6)
BOXES = st.tuples(_SIDES, _SIDES).map(lambda s: (min(s[0]), min(s[1]), max(s[0]), max(s[1])))


@given(BOXES, BOXES)
def test_iou(a: Box, b: Box) -> None:
    assert iou(a, a) == pytest.approx(1)
    assert 0 <= iou(a, b) <= 1 + 1e-9
    assert iou(a, b) == iou(b, a)


def test_iou_of_boxes_that_only_touch() -> None:
    assert iou(LEFT, (0.3, 0.1, 0.5, 0.3)) == 0
    assert iou(LEFT, moved(LEFT, 0.1)) == pytest.approx(1 / 3)


# ---- against the truth


@pytest.mark.parametrize(
    ("detections", "found", "invented"),
    [
        ([seen("star", LEFT), seen("circle", RIGHT)], 2, 0),
        ([seen("star", LEFT)], 1, 0),
        ([], 0, 0),
        ([seen("circle", LEFT), seen("star", RIGHT)], 0, 2),
        ([seen("star", LEFT), seen("star", moved(LEFT, 0.01), 0.8)], 1, 1),
        ([seen("star", moved(LEFT, 0.1))], 0, 1),
        ([seen("star", LEFT, 0.49), seen("circle", RIGHT, 0.5)], 1, 0),
        ([seen("person", LEFT)], 0, 1),
    ],
)
def test_truth(detections: list[RawDetection], found: int, invented: int) -> None:
    truth = against_truth([card(*detections)])
    assert (truth.objects, truth.found, truth.invented) == (2, found, invented)
    assert truth.right == (found == 2 and invented == 0), "of two objects, none may be missed or invented"
    assert (truth.worst_iou > 0) == (found > 0)


@pytest.mark.parametrize(("found", "invented", "right"), [(72, 0, True), (69, 0, True), (70, 1, True), (68, 0, False)])
def test_a_model_s_own_few_mistakes_are_allowed_for(found: int, invented: int, right: bool) -> None:
    assert Truth(objects=72, found=found, invented=invented, worst_iou=0.8).right == right


def test_truth_over_several_cards_is_their_sum_and_their_worst() -> None:
    good = [seen("star", LEFT), seen("circle", RIGHT)]
    poor = [seen("star", moved(LEFT, 0.05)), seen("circle", RIGHT)]
    truth = against_truth([card(*good), card(*poor)])
    assert (truth.objects, truth.found) == (4, 4)
    assert truth.worst_iou == pytest.approx(0.6)


# ---- against plain kernels


def test_the_same_results_agree() -> None:
    results = [card(seen("star", LEFT), seen("circle", RIGHT, 0.4))]
    assert against_plain(results, results) == Agreement(score=0.0, iou=1.0)


@pytest.mark.parametrize(
    ("other", "score", "overlap"),
    [
        ([seen("star", LEFT, 0.7)], 0.2, 1.0),
        ([seen("star", moved(LEFT, 0.05))], 0.0, 0.6),
        ([], 0.9, 0.0),
        ([seen("circle", LEFT)], 0.9, 0.0),
        ([seen("star", LEFT), seen("star", RIGHT, 0.6)], 0.6, 0.0),
        ([seen("star", LEFT), seen("star", RIGHT, 0.4)], 0.0, 1.0),
    ],
)
def test_what_differs_is_found_from_either_side(other: list[RawDetection], score: float, overlap: float) -> None:
    one = [card(seen("star", LEFT))]
    for pair in ((one, [card(*other)]), ([card(*other)], one)):
        agreement = against_plain(*pair)
        assert (agreement.score, agreement.iou) == (pytest.approx(score), pytest.approx(overlap))


def test_rounding_is_allowed_for_by_type() -> None:
    assert Agreement(score=0.05, iou=0.9).within("int8")
    assert Agreement(score=0.05, iou=0.9).within("uint8")
    assert not Agreement(score=0.05, iou=0.9).within("float32")
    assert not Agreement(score=0.15, iou=0.9).within("int8")
    assert not Agreement(score=0.0, iou=0.7).within("int8")


# ---- the report


RIGHT_TRUTH = Truth(objects=72, found=72, invented=0, worst_iou=0.82)
WRONG_TRUTH = Truth(objects=72, found=3, invented=0, worst_iou=0.6)


def outcome(**fields: object) -> Outcome:
    usual = {
        "state": "right",
        "variant": "int8",
        "runtime": "litert",
        "version": "2.3.0",
        "delegate": "xnnpack",
        "executes": "xnnpack",
        "taken": 107,
        "nodes": 108,
        "dtype": "int8",
        "truth": RIGHT_TRUTH,
        "plain": RIGHT_TRUTH,
        "agreement": Agreement(score=0.012, iou=0.94),
        "invoke_ms": 0.94,
        "seconds": 0.3,
    }
    return msgspec.convert({**usual, **fields}, Outcome)


ABSENT = Outcome(state="skipped", runtime="tflite-runtime", reason="it is not installed (pip install x)")
ALL_WRONG = {"state": "wrong", "truth": WRONG_TRUTH, "plain": WRONG_TRUTH, "agreement": None}


def test_a_report_of_what_is_right() -> None:
    assert list(lines(outcome())) == [
        "  ok       int8 on litert 2.3.0, xnnpack takes 107 of 108 nodes",
        "           72 of 72 objects found, none invented, worst box IoU 0.82; 0.94 ms per invoke(), 0.3 s in all",
        "           against plain kernels: scores off by up to 0.012, worst box IoU 0.94",
    ]
    assert verdict([outcome(), ABSENT]) == (
        "litert 2.3.0 with xnnpack computes right: it finds 72 of 72 objects, invents none, and agrees with plain"
        " kernels within 0.012 of a score."
    )
    assert passed([outcome(), ABSENT])


def test_xnnpack_that_takes_nothing_is_plain_kernels() -> None:
    fallen = outcome(executes="none", taken=0, plain=None, agreement=None)
    assert next(lines(fallen)).endswith("xnnpack takes none of 108 nodes, so plain kernels")
    assert verdict([fallen]) == (
        "litert 2.3.0 with plain kernels computes right: it finds 72 of 72 objects, invents none."
    )


def test_wrong_altogether_blames_the_runtime() -> None:
    assert not passed([outcome(**ALL_WRONG)])
    said = verdict([outcome(**ALL_WRONG)])
    assert said.startswith("WRONG RESULTS: litert 2.3.0 with xnnpack finds 3 of 72 objects and invents none; ")
    assert "install vigild and the runtime again" in said


def test_all_of_several_with_mistakes_of_the_model_s_own() -> None:
    nearly = Truth(objects=72, found=71, invented=1, worst_iou=0.8)
    assert verdict([outcome(), outcome()]).endswith("compute right: every object found, none invented.")
    said = verdict([outcome(), outcome(truth=nearly)])
    assert said == "All 2 combinations compute right: at worst 71 of 72 objects found and 1 invented."
    assert "it finds 71 of 72 objects, invents 1, and" in verdict([outcome(truth=nearly)])


def test_one_of_several_that_is_wrong() -> None:
    said = verdict([outcome(), outcome(**ALL_WRONG), outcome(**ALL_WRONG)])
    assert "(1 more like it above); litert 2.3.0 with xnnpack computes right; " in said


def test_nothing_to_test_is_no_success() -> None:
    assert verdict([ABSENT]) == "Nothing was tested: tflite-runtime: it is not installed (pip install x)."
    assert not passed([ABSENT])
    assert not passed([])


def test_the_json_leaves_out_what_there_is_not() -> None:
    report = msgspec.json.decode(as_json([outcome(), ABSENT]))
    assert report["passed"] is True
    assert report["outcomes"][0]["agreement"] == {"score": 0.012, "iou": 0.94}
    assert report["outcomes"][1] == {
        "state": "skipped",
        "runtime": "tflite-runtime",
        "reason": "it is not installed (pip install x)",
    }
