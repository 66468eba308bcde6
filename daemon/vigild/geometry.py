"""Where a box in the model's input lies in the camera's frame.

    view = crop_view((0.25, 0.0, 0.75, 1.0))
    view = letterbox_view(view, 640, 480, 300, 300)
    view.to_frame((0.1, 0.1, 0.5, 0.5))
    iou(found, drawn)

A `View` is the affine map from input-tensor coordinates to the upright, uncropped frame, both
relative (0..1). The camera worker makes one per frame, because only it knows the frame's real size;
the detector worker applies it. Rotation and mirroring come before: they make the frame upright, and
boxes are published in the upright frame, so nothing has to be undone for them.

Shared by all processes, so: standard library and msgspec only.
"""

from __future__ import annotations

import msgspec

Box = tuple[float, float, float, float]
"""[xmin, ymin, xmax, ymax], relative to the frame (0..1)."""


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes: 1 for the same one, 0 for boxes that do not meet."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


class View(msgspec.Struct, frozen=True, array_like=True):
    """x_frame = x_scale * x_input + x_offset; the same for y."""

    x_scale: float = 1.0
    x_offset: float = 0.0
    y_scale: float = 1.0
    y_offset: float = 0.0

    def to_frame(self, box: Box) -> Box:
        """Map a box from the input tensor into the frame (not clipped)."""
        return (
            self.x_scale * box[0] + self.x_offset,
            self.y_scale * box[1] + self.y_offset,
            self.x_scale * box[2] + self.x_offset,
            self.y_scale * box[3] + self.y_offset,
        )


def crop_view(crop: Box) -> View:
    """The view of a model that sees only `crop` (relative, xmin ymin xmax ymax) of the frame."""
    xmin, ymin, xmax, ymax = crop
    return View(xmax - xmin, xmin, ymax - ymin, ymin)


def crop_pixels(crop: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """The crop in whole pixels (x0, y0, x1, y1) of a frame of width x height; never empty."""
    x0 = min(max(round(crop[0] * width), 0), width - 1)
    y0 = min(max(round(crop[1] * height), 0), height - 1)
    x1 = min(max(round(crop[2] * width), x0 + 1), width)
    y1 = min(max(round(crop[3] * height), y0 + 1), height)
    return x0, y0, x1, y1


class Letterbox(msgspec.Struct, frozen=True):
    """A picture scaled by one factor and centred: where it lies in the input, in pixels."""

    x: int
    y: int
    width: int
    height: int


def letterbox(src_w: int, src_h: int, dst_w: int, dst_h: int) -> Letterbox:
    """The largest centred picture of src's aspect ratio that fits dst, in whole pixels."""
    scale = min(dst_w / src_w, dst_h / src_h)
    width = min(max(round(src_w * scale), 1), dst_w)
    height = min(max(round(src_h * scale), 1), dst_h)
    return Letterbox((dst_w - width) // 2, (dst_h - height) // 2, width, height)


def letterbox_view(inner: View, src_w: int, src_h: int, dst_w: int, dst_h: int) -> View:
    """`inner` seen through a letterbox of a src_w x src_h picture in a dst_w x dst_h input."""
    place = letterbox(src_w, src_h, dst_w, dst_h)
    x_scale = dst_w / place.width
    y_scale = dst_h / place.height
    return View(
        inner.x_scale * x_scale,
        inner.x_offset - inner.x_scale * place.x / place.width,
        inner.y_scale * y_scale,
        inner.y_offset - inner.y_scale * place.y / place.height,
    )
