import itertools

import numpy as np
import pytest

from vigild.camera.orientation import Orientation

PICTURE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
ALL = [Orientation(*flags) for flags in itertools.product([False, True], repeat=3)]


def by_numpy(rotate: int, flip: str) -> np.ndarray:
    """What the configuration's words mean, said once more with other functions."""
    picture = np.rot90(PICTURE, k=-rotate // 90)
    if flip in ("horizontal", "both"):
        picture = picture[:, ::-1]
    if flip in ("vertical", "both"):
        picture = picture[::-1]
    return picture


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", ["none", "horizontal", "vertical", "both"])
def test_rotate_and_flip(rotate: int, flip: str) -> None:
    orientation = Orientation.of(rotate, flip)
    wanted = by_numpy(rotate, flip)
    assert np.array_equal(orientation.apply(PICTURE), wanted)
    assert orientation.size(6, 4) == (wanted.shape[1], wanted.shape[0])
    out = np.empty(wanted.shape, np.uint8)
    assert np.array_equal(orientation.apply(PICTURE, out=out), wanted)
    assert np.array_equal(out, wanted)


# The eight cases of EXIF 2.32: where the stored picture's first row and first column belong.
@pytest.mark.parametrize(
    ("value", "upright"),
    [
        (1, PICTURE),
        (2, PICTURE[:, ::-1]),
        (3, PICTURE[::-1, ::-1]),
        (4, PICTURE[::-1]),
        (5, PICTURE.transpose(1, 0, 2)),
        (6, np.rot90(PICTURE, k=-1)),
        (7, PICTURE[::-1, ::-1].transpose(1, 0, 2)),
        (8, np.rot90(PICTURE, k=1)),
        (0, PICTURE),
        (9, PICTURE),
    ],
)
def test_exif(value: int, upright: np.ndarray) -> None:
    assert np.array_equal(Orientation.from_exif(value).apply(PICTURE), upright)


@pytest.mark.parametrize("first", ALL)
@pytest.mark.parametrize("second", ALL)
def test_then_is_one_after_the_other(first: Orientation, second: Orientation) -> None:
    assert np.array_equal(first.then(second).apply(PICTURE), second.apply(first.apply(PICTURE)))


@pytest.mark.parametrize("orientation", ALL)
def test_source_rect(orientation: Orientation) -> None:
    upright = orientation.apply(PICTURE)
    height, width = upright.shape[:2]
    rect = (1, 0, 3, 2)
    x0, y0, x1, y1 = orientation.source_rect(rect, width, height)
    part = orientation.apply(np.ascontiguousarray(PICTURE[y0:y1, x0:x1]))
    assert np.array_equal(part, upright[0:2, 1:3])
