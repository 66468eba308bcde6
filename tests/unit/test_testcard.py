"""The test card: known truth, never ambiguous, never the same picture twice."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from vigild.camera.testcard import FILLS, LABELS, TestCard, draw_shape, shape_outline

SIZES = [(640, 480), (1280, 720), (480, 640), (320, 240), (64, 64)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_truth_is_unambiguous(width: int, height: int) -> None:
    """Every label is there, every box lies inside the frame, and no two boxes touch."""
    for seed in range(3):
        card = TestCard(width, height, seed)
        for n in range(0, 720, 24):
            frame, truths = card.render(n)
            assert frame.shape == (height, width, 3)
            assert frame.dtype == np.uint8
            assert {truth.label for truth in truths} == set(LABELS)
            for _, (xmin, ymin, xmax, ymax) in truths:
                assert 0.0 <= xmin < xmax <= 1.0
                assert 0.0 <= ymin < ymax <= 1.0
            for (_, a), (_, b) in combinations(truths, 2):
                gap_x = max(a[0], b[0]) - min(a[2], b[2])
                gap_y = max(a[1], b[1]) - min(a[3], b[3])
                assert max(gap_x, gap_y) > 0.0, (seed, n, a, b)


def test_a_frame_depends_on_size_seed_and_number_alone() -> None:
    first, first_truths = TestCard(320, 240, seed=5).render(41)
    other_card = TestCard(320, 240, seed=5)
    other_card.render(7)  # what was rendered before leaves no trace
    again, again_truths = other_card.render(41)
    assert np.array_equal(first, again)
    assert first_truths == again_truths
    assert not np.array_equal(first, TestCard(320, 240, seed=6).render(41)[0])


def test_following_frames_move_a_little() -> None:
    """Never frozen, and never a jump, also where the orbit closes (frame 720)."""
    card = TestCard(640, 480, seed=1)
    for n in (0, 100, 718, 719, 720, 10_000_000):
        here, here_truths = card.render(n)
        there, there_truths = card.render(n + 1)
        assert not np.array_equal(here, there)
        for (label, a), (next_label, b) in zip(here_truths, there_truths, strict=True):
            assert label == next_label
            centre_a = ((a[0] + a[2]) / 2, (a[1] + a[3]) / 2)
            centre_b = ((b[0] + b[2]) / 2, (b[1] + b[3]) / 2)
            assert np.hypot(centre_a[0] - centre_b[0], centre_a[1] - centre_b[1]) < 0.02


def test_counter_tells_frames_of_a_whole_orbit_apart() -> None:
    card = TestCard(640, 480)
    assert not np.array_equal(card.render(0)[0], card.render(720)[0])


def test_frame_belongs_to_the_caller() -> None:
    card = TestCard(320, 240)
    frame, _ = card.render(3)
    before = frame.copy()
    frame[:] = 0
    assert np.array_equal(card.render(3)[0], before)


@pytest.mark.parametrize("label", LABELS)
def test_box_is_tight_around_what_was_drawn(label: str) -> None:
    canvas = np.zeros((200, 200, 3), np.uint8)
    xmin, ymin, xmax, ymax = draw_shape(canvas, label, 97.3, 104.6, 40.0, 0.4, FILLS[0], (250, 250, 250))
    rows, columns = np.nonzero(canvas.max(axis=2) > 125)  # pixels at least half covered
    assert (columns.min(), rows.min()) == pytest.approx((xmin, ymin), abs=1.2)
    assert (columns.max() + 1, rows.max() + 1) == pytest.approx((xmax, ymax), abs=1.2)


def test_background_is_never_taken_for_a_blank_frame() -> None:
    for seed in range(5):
        frame, _ = TestCard(320, 240, seed).render(0)
        assert frame.std() > 15.0


def test_unknown_shape_and_tiny_card_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"'hexagon'.*circle, triangle, square, star"):
        shape_outline("hexagon", 0, 0, 1, 0)
    with pytest.raises(ValueError, match=r"63x480.*at least 64"):
        TestCard(63, 480)
