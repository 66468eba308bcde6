"""Boxes back into the frame, exact to half a pixel."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from vigild.geometry import View, crop_pixels, crop_view, letterbox, letterbox_view

sides = st.integers(16, 4096)
fraction = st.floats(0.0, 1.0)


@given(sides, sides, st.integers(32, 640), st.integers(32, 640))
def test_a_letterbox_keeps_the_shape_and_is_centred(src_w: int, src_h: int, dst_w: int, dst_h: int) -> None:
    place = letterbox(src_w, src_h, dst_w, dst_h)
    assert place.width == dst_w or place.height == dst_h
    scale = min(dst_w / src_w, dst_h / src_h)
    assert abs(place.width - max(src_w * scale, 1)) <= 0.5 + 1e-6
    assert abs(place.height - max(src_h * scale, 1)) <= 0.5 + 1e-6
    assert 0 <= (dst_w - place.width) - 2 * place.x <= 1
    assert 0 <= (dst_h - place.height) - 2 * place.y <= 1


@given(sides, sides, st.integers(32, 640), st.integers(32, 640), fraction, fraction)
def test_a_point_through_the_letterbox_comes_back(
    src_w: int, src_h: int, dst_w: int, dst_h: int, x: float, y: float
) -> None:
    """Where a pixel of the picture was drawn in the input is where its box is mapped back from."""
    place = letterbox(src_w, src_h, dst_w, dst_h)
    in_x, in_y = (place.x + x * place.width) / dst_w, (place.y + y * place.height) / dst_h
    back = letterbox_view(View(), src_w, src_h, dst_w, dst_h).to_frame((in_x, in_y, in_x, in_y))
    assert abs(back[0] - x) * src_w < 0.01
    assert abs(back[1] - y) * src_h < 0.01


@given(st.tuples(fraction, fraction, fraction, fraction), sides, sides, fraction, fraction)
def test_a_crop_maps_onto_its_part_of_the_frame(
    crop: tuple[float, float, float, float], width: int, height: int, x: float, y: float
) -> None:
    xmin, ymin, xmax, ymax = min(crop[0], crop[2]), min(crop[1], crop[3]), max(crop[0], crop[2]), max(crop[1], crop[3])
    assume(xmax - xmin > 0.01 and ymax - ymin > 0.01)
    x0, y0, x1, y1 = crop_pixels((xmin, ymin, xmax, ymax), width, height)
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    real = (x0 / width, y0 / height, x1 / width, y1 / height)
    got = crop_view(real).to_frame((x, y, x, y))
    assert abs(got[0] * width - (x0 + x * (x1 - x0))) < 0.01
    assert abs(got[1] * height - (y0 + y * (y1 - y0))) < 0.01


def test_a_letterboxed_crop_in_numbers() -> None:
    """The right half (320x480) of a 640x480 frame in a 300x300 input: 200x300, 50 px from the left."""
    view = letterbox_view(crop_view((0.5, 0.0, 1.0, 1.0)), 320, 480, 300, 300)
    box = view.to_frame((50 / 300, 0.0, 250 / 300, 1.0))
    assert [round(value, 6) for value in box] == [0.5, 0.0, 1.0, 1.0]
