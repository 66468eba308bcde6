"""The input tensor: what a model takes, said precisely enough for another process to make it.

    spec = TensorSpec(width=300, height=300, dtype="uint8")
    spec.nbytes                      # 270000

The detector worker reads a `TensorSpec` off the model; the camera worker turns frames into exactly
these bytes. Shared by all processes, so: standard library and msgspec only.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Dtype = Literal["uint8", "int8", "int16", "float32"]
Layout = Literal["NHWC", "NCHW"]
ColorOrder = Literal["rgb", "bgr"]
Resize = Literal["squash", "letterbox"]

ITEM_BYTES: dict[str, int] = {"uint8": 1, "int8": 1, "int16": 2, "float32": 4}
CHANNELS = 3


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """An input tensor of shape [1, height, width, 3] (NHWC) or [1, 3, height, width] (NCHW).

    A pixel value p (0..255) becomes real = (p - mean) / std, per channel in the order of `color`.
    Integer tensors then hold round(real / scale) + zero_point, clamped to the dtype; float32
    tensors hold `real` itself and leave scale at 1 and zero_point at 0.

    The default normalisation, (p - 127.5) / 127.5, is the one of the TensorFlow SSD-MobileNets.
    """

    width: int
    height: int
    dtype: Dtype = "uint8"
    layout: Layout = "NHWC"
    color: ColorOrder = "rgb"
    resize: Resize = "squash"
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    std: tuple[float, float, float] = (127.5, 127.5, 127.5)
    scale: float = 1.0
    zero_point: int = 0

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The tensor's shape, batch first."""
        if self.layout == "NCHW":
            return (1, CHANNELS, self.height, self.width)
        return (1, self.height, self.width, CHANNELS)

    @property
    def nbytes(self) -> int:
        """Size of the whole tensor in bytes."""
        return self.width * self.height * CHANNELS * ITEM_BYTES[self.dtype]
