"""Pixels into the bytes of an input tensor: one resize, one conversion, straight into the ring's slot.

    converter = Converter(spec)
    view = converter.convert(pixels, orientation, crop, ring.slot(slot))

The crop is a view of the frame, not a copy. Turning happens behind the resize, on the small picture;
a bilinear resize samples symmetrically, so the order does not matter. What the normalisation and
quantisation make of the 256 possible pixel values is computed once, exactly, as a table.

The resize is bilinear (cv2.INTER_LINEAR): what the SSD-MobileNets were trained and are evaluated with.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vigild.camera.orientation import Orientation, Pixels
from vigild.geometry import Box, View, crop_pixels, crop_view, letterbox, letterbox_view
from vigild.tensor import CHANNELS, TensorSpec

_TIE = 1e-4
"""A quantisation scale is stored as float32, so what is meant as half (for example 1/127.5 with
zero point -1, which is pixel - 128) is off by some 1e-5; such values all round up."""


def value_table(spec: TensorSpec) -> NDArray[Any]:
    """What each pixel value becomes: [256, 3] of the tensor's dtype, channels in the order of `spec.color`."""
    pixel = np.arange(256, dtype=np.float64)[:, None]
    real = (pixel - np.array(spec.mean)) / np.array(spec.std)
    if spec.dtype == "float32":
        return np.asarray(real, np.float32)
    limits = np.iinfo(spec.dtype)
    steps = np.floor(real / spec.scale + 0.5 + _TIE) + spec.zero_point
    return np.asarray(np.clip(steps, limits.min, limits.max), spec.dtype)


class Converter:
    """Makes tensors of one spec. Keeps scratch buffers, so it serves one thread."""

    def __init__(self, spec: TensorSpec) -> None:
        self.spec = spec
        table = value_table(spec)
        identity = np.arange(256)[:, None]
        self._identity = spec.dtype == "uint8" and bool((table == identity).all())
        # int8 with pixel - 128 is the pixel with its top bit turned over: far cheaper than a table.
        self._flip_top_bit = spec.dtype == "int8" and bool((table == identity - 128).all())
        same = bool((table == table[:, :1]).all())
        self._table = np.ascontiguousarray(table[:, 0]) if same else np.ascontiguousarray(table)[None]
        self._plane_tables = [np.ascontiguousarray(table[:, channel]) for channel in range(CHANNELS)]
        self._picture: Pixels = np.empty((spec.height, spec.width, CHANNELS), np.uint8)
        """BGR, upright, with the letterbox's margins."""
        self._ordered: Pixels = np.empty_like(self._picture)
        self._plane = np.empty((spec.height, spec.width), np.uint8)
        self._turned: Pixels = np.empty((0, 0, CHANNELS), np.uint8)
        self._margins_of: tuple[int, int] | None = None
        mean = spec.mean if spec.color == "bgr" else spec.mean[::-1]
        self._margin = np.clip(np.rint(mean), 0, 255).astype(np.uint8)

    def convert(self, pixels: Pixels, orientation: Orientation, crop: Box, out: memoryview) -> View:
        """Fill `out` (spec.nbytes) from `pixels`, stored as `orientation` says.

        `crop` is relative to the upright frame. Returns where the tensor lies in that frame.
        """
        spec = self.spec
        stored_height, stored_width = pixels.shape[:2]
        width, height = orientation.size(stored_width, stored_height)
        rect = crop_pixels(crop, width, height)
        part_width, part_height = rect[2] - rect[0], rect[3] - rect[1]
        view = crop_view((rect[0] / width, rect[1] / height, rect[2] / width, rect[3] / height))
        into = self._picture
        if spec.resize == "letterbox":
            into = self._letterboxed(part_width, part_height)
            view = letterbox_view(view, part_width, part_height, spec.width, spec.height)
        x0, y0, x1, y1 = orientation.source_rect(rect, width, height)
        self._resize(pixels[y0:y1, x0:x1], orientation, into)
        self._finish(np.frombuffer(out, spec.dtype).reshape(spec.shape[1:]))
        return view

    def _letterboxed(self, width: int, height: int) -> Pixels:
        """The part of the picture that the frame covers; the rest holds the mean colour."""
        place = letterbox(width, height, self.spec.width, self.spec.height)
        if self._margins_of != (place.width, place.height):
            self._picture[:] = self._margin
            self._margins_of = (place.width, place.height)
        return self._picture[place.y : place.y + place.height, place.x : place.x + place.width]

    def _resize(self, part: Pixels, orientation: Orientation, into: Pixels) -> None:
        height, width = into.shape[:2]
        if orientation.is_identity:
            cv2.resize(part, (width, height), dst=into, interpolation=cv2.INTER_LINEAR)
            return
        width, height = orientation.size(width, height)
        if self._turned.shape[:2] != (height, width):
            self._turned = np.empty((height, width, CHANNELS), np.uint8)
        cv2.resize(part, (width, height), dst=self._turned, interpolation=cv2.INTER_LINEAR)
        orientation.apply(self._turned, out=into)

    def _finish(self, out: NDArray[Any]) -> None:
        """Colour order, values and layout: from `_picture` into the tensor."""
        if self.spec.layout == "NCHW":
            self._finish_planes(out)
        elif self._identity:
            self._order(out)
        elif self._flip_top_bit:
            np.bitwise_xor(self._order(self._ordered), 0x80, out=out.view(np.uint8))
        else:
            cv2.LUT(self._order(self._ordered), self._table, dst=out)

    def _order(self, out: Pixels) -> Pixels:
        """The picture in the model's colour order, in `out`."""
        if self.spec.color == "rgb":
            cv2.cvtColor(self._picture, cv2.COLOR_BGR2RGB, dst=out)
        else:
            np.copyto(out, self._picture)
        return out

    def _finish_planes(self, out: NDArray[Any]) -> None:
        for channel in range(CHANNELS):
            stored = channel if self.spec.color == "bgr" else CHANNELS - 1 - channel
            if self._identity:
                cv2.extractChannel(self._picture, stored, dst=out[channel])
                continue
            cv2.extractChannel(self._picture, stored, dst=self._plane)
            if self._flip_top_bit:
                np.bitwise_xor(self._plane, 0x80, out=out[channel].view(np.uint8))
            else:
                cv2.LUT(self._plane, self._plane_tables[channel], dst=out[channel])
