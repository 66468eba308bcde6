"""forge.training.net's detector in Keras, with the weights of the PyTorch one.

    model = build(config, arrays)            # keras.Model: image [1, S, S, 3] -> {"codes", "scores"}

Both frameworks compute the same: convolutions are padded as TensorFlow's SAME in both, batch
normalisation has the same epsilon, and the pyramid is enlarged with half-pixel centres. Kernels are
turned from OIHW to HWIO, depthwise ones to HWOI.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.float32]]
Ranges = Mapping[str, tuple[float, float]]
"""Name of an activation to the least and greatest value it takes."""

_APART = np.float32(1e-6)
"""Between biases that shall not be merged; logits are known to 1e-6 anyway."""
_EPSILON = 1e-3  # of forge.training.net's batch normalisation
# As forge.training.net, which has them from Sandler et al., "MobileNetV2", table 2.
_STAGES = ((1, 1), (2, 2), (3, 2), (4, 2), (3, 1), (3, 2), (1, 1))
"""Repeats and stride of each stage; channels and expansion are read off the weights."""
_TAPS = (2, 4, 6)


@keras.saving.register_keras_serializable("forge")
class Resize(keras.layers.Layer):  # type: ignore[misc]
    """Bilinear, with half-pixel centres, to [N, height, width, C].

    Not keras.layers.Resizing: its `training` is True unless told otherwise, and spreads to all layers behind
    it in a call that says nothing of it, as the export of a SavedModel does.
    """

    def __init__(self, height: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.height, self.width = height, width

    def call(self, x: Any) -> Any:
        return tf.image.resize(x, (self.height, self.width))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "height": self.height, "width": self.width}


@keras.saving.register_keras_serializable("forge")
class FakeQuantize(keras.layers.Layer):  # type: ignore[misc]
    """Tells a converter the range of an activation, and rounds it as the converted model will."""

    def __init__(self, low: float, high: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.low, self.high = low, high

    def call(self, x: Any) -> Any:
        return tf.quantization.fake_quant_with_min_max_args(x, min=self.low, max=self.high)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "low": self.low, "high": self.high}


class _Builder:
    """Layers named after PyTorch's parameters, each given its weights when it is made."""

    def __init__(self, arrays: Arrays, ranges: Ranges | None) -> None:
        self._arrays = arrays
        self._ranges = ranges
        self._shared: dict[str, Any] = {}
        self._uses: dict[str, int] = {}
        self.marked: dict[str, Any] = {}
        """Every activation, by name."""

    def mark(self, x: Any, name: str) -> Any:
        """An activation that an integer model keeps: with its range, when ranges are given."""
        if self._ranges is not None:
            low, high = self._ranges[name]
            x = FakeQuantize(low, high, name=f"{name}_range".replace(".", "_"))(x)
        self.marked[name] = x
        return x

    def kernel(self, x: Any, name: str, stride: int = 1) -> Any:
        """A convolution without its normalisation; of the same name, the same layer, unless it has a bias.

        TensorFlow's converter (2.21) merges equal biases, and in int16x8 gives them the step that is right
        for one of their uses: scores of the other levels come out ten times too high. So no two are equal.
        """
        layer = self._shared.get(name)
        if layer is not None:
            return layer(x)
        weights = self._arrays[f"{name}.weight"]
        bias = self._arrays.get(f"{name}.bias")
        depthwise = weights.shape[1] == 1 and weights.shape[0] == x.shape[-1] and weights.shape[2] > 1
        options = {
            "kernel_size": weights.shape[2],
            "strides": stride,
            "padding": "same",
            "use_bias": bias is not None,
        }
        layer = keras.layers.DepthwiseConv2D(**options) if depthwise else keras.layers.Conv2D(len(weights), **options)
        out = layer(x)
        turned = weights.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
        layer.set_weights([turned] if bias is None else [turned, bias + self._uses.get(name, 0) * _APART])
        if bias is None:
            self._shared[name] = layer
        self._uses[name] = self._uses.get(name, 0) + 1
        return out

    def norm(self, x: Any, name: str) -> Any:
        layer = keras.layers.BatchNormalization(epsilon=_EPSILON, name=name.replace(".", "_"))
        out = layer(x)
        layer.set_weights(
            [self._arrays[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
        )
        return out

    def conv(self, x: Any, name: str, stride: int = 1, linear: bool = False) -> Any:
        """forge.training.net.Conv."""
        x = self.norm(self.kernel(x, f"{name}.0", stride), f"{name}.1")
        return self.mark(x if linear else keras.layers.ReLU(6.0)(x), name)

    def separable(self, x: Any, name: str, stride: int = 1) -> Any:
        """forge.training.net.Separable."""
        return self.conv(self.conv(x, f"{name}.0", stride), f"{name}.1")

    def residual(self, x: Any, name: str, stride: int) -> Any:
        """forge.training.net.InvertedResidual: two or three convolutions, the last one linear."""
        last = 2 if f"{name}.body.2.0.weight" in self._arrays else 1
        y = x
        for number in range(last + 1):
            y = self.conv(y, f"{name}.body.{number}", stride if number == last - 1 else 1, linear=number == last)
        if stride == 1 and x.shape[-1] == y.shape[-1]:
            return self.mark(keras.layers.Add()([x, y]), f"{name}.sum")
        return y

    def tower(self, x: Any, name: str, level: int) -> Any:
        """forge.training.net.SharedTower."""
        x = self.mark(self.kernel(x, f"{name}.depthwise"), f"{name}.depthwise.{level}")
        x = self.norm(self.kernel(x, f"{name}.pointwise"), f"{name}.norms.{level}")
        x = self.mark(keras.layers.ReLU(6.0)(x), f"{name}.{level}")
        second = f"{name}_2"
        if f"{second}.depthwise.weight" not in self._arrays:
            return x
        y = self.mark(self.kernel(x, f"{second}.depthwise"), f"{second}.depthwise.{level}")
        y = self.mark(self.norm(self.kernel(y, f"{second}.pointwise"), f"{second}.norms.{level}"), f"{second}.{level}")
        return self.mark(keras.layers.Add()([x, y]), f"{second}.sum.{level}")


def build(config: Mapping[str, Any], arrays: Arrays, ranges: Ranges | None = None) -> Any:
    """keras.Model of one image, float32 [1, S, S, 3] (RGB, -1..1), to {"codes": [1, A, 4], "scores": [1, A, C]}.

    config: the fields of forge.training.net.NetConfig. ranges: of every activation, as `observe` finds them.
    """
    return _build(config, arrays, ranges)[0]


def _build(config: Mapping[str, Any], arrays: Arrays, ranges: Ranges | None) -> tuple[Any, dict[str, Any]]:
    make = _Builder(arrays, ranges)
    image = keras.Input((config["size"], config["size"], 3), batch_size=1, name="image")
    x = make.conv(make.mark(image, "image"), "stem", 2)
    taps = []
    for index, (repeats, stride) in enumerate(_STAGES):
        for repeat in range(repeats):
            x = make.residual(x, f"stages.{index}.{repeat}", stride if repeat == 0 else 1)
        if index in _TAPS:
            taps.append(x)
    laterals = [make.conv(tap, f"laterals.{number}") for number, tap in enumerate(taps)]
    levels = [laterals[-1]]
    for number, lateral in enumerate(laterals[-2::-1]):
        height, width = lateral.shape[1:3]
        above = Resize(height, width)(levels[0])
        joined = make.mark(keras.layers.Add()([lateral, make.mark(above, f"above.{number}")]), f"joined.{number}")
        levels.insert(0, make.separable(joined, f"smooth.{number}"))
    for number in range(config["levels"] - len(levels)):
        levels.append(make.separable(levels[-1], f"extras.{number}", 2))
    codes, logits = [], []
    for level, feature in enumerate(levels):
        boxes = make.kernel(make.tower(feature, "box_tower", level), "box_head")
        classes = make.kernel(make.tower(feature, "class_tower", level), "class_head")
        codes.append(keras.layers.Reshape((-1, 4))(make.mark(boxes, f"boxes.{level}")))
        logits.append(keras.layers.Reshape((-1, len(config["labels"])))(make.mark(classes, f"classes.{level}")))
    join = keras.layers.Concatenate(axis=1)
    joined_codes = make.mark(join(codes), "codes")
    scores = keras.layers.Activation("sigmoid")(make.mark(keras.layers.Concatenate(axis=1)(logits), "logits"))
    model = keras.Model(image, {"codes": joined_codes, "scores": make.mark(scores, "scores")})
    return model, make.marked


_LEAST_RANGE = 1e-4
_SAME_SCALE = {"codes": "boxes.", "logits": "classes."}
"""What is joined without being computed has one range with its parts."""


def observe(
    config: Mapping[str, Any], arrays: Arrays, images: list[NDArray[np.float32]]
) -> dict[str, tuple[float, float]]:
    """The range of every activation over the images (float32 [1, S, S, 3]); all contain 0."""
    model, marked = _build(config, arrays, None)
    watching = keras.Model(model.input, marked)
    found = dict.fromkeys(marked, (0.0, 0.0))
    for image in images:
        for name, values in watching(image, training=False).items():
            low, high = found[name]
            found[name] = min(low, float(values.numpy().min())), max(high, float(values.numpy().max()))
    for whole, parts in _SAME_SCALE.items():
        found |= {name: found[whole] for name in found if name.startswith(parts)}
    # A map that is 0 on all of them still needs a step; a range of nothing is refused by the converter.
    found = {name: (low, max(high, low + _LEAST_RANGE)) for name, (low, high) in found.items()}
    found["scores"] = (0.0, 1.0)
    found["image"] = (-1.0, 1.0)
    return found
