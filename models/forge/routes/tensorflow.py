"""TensorFlow's own converter: a Keras model or SavedModel to .tflite in each of its settings.

    function = of_keras(keras.models.load_model("net.keras"))
    data = convert(function, parse("int8", SCHEMES), images)

The batch is fixed at 1: with an open one the converter leaves SHAPE and PACK operators in the graph, and
tflite-runtime 2.14 then refuses XNNPACK (float32 twelve times slower).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from forge.errors import ForgeError
from forge.quantization.settings import Scheme, Setting

Image = NDArray[np.float32]
"""float32 [1, H, W, 3], as the model takes it."""

SCHEMES = (
    Scheme("float32", "32-bit floats everywhere"),
    Scheme("float16", "weights as 16-bit floats; computed in 32 bits"),
    Scheme("dynamic-all", "dynamic range: weights int8 per channel, activations made int8 at every invoke"),
    Scheme("int8", "weights int8 per channel, activations int8 with ranges from calibration", activation_bits=8),
    Scheme("int8-tensor", "as int8, but one scale for all of a tensor's weights", activation_bits=8),
    Scheme("int16x8", "weights int8 per channel, activations int16 with ranges from calibration", activation_bits=16),
    Scheme(
        "uint8",
        "uint8 with one scale a tensor, as the files of 2018, by TensorFlow 1's converter",
        activation_bits=8,
        input_dtype="uint8",
    ),
)
NAMES = ("float32", "float16", "dynamic-all", "int8", "int8-float", "int8-tensor", "int16x8-float", "uint8")
"""What `forge tensorflow` makes unless told otherwise."""


def of_keras(model: Any) -> Any:
    """The model as a function of one image, its batch fixed at 1."""
    if len(model.inputs) != 1:
        raise ForgeError(f"the Keras model has {len(model.inputs)} inputs; expected one image")
    shape = [1, *model.inputs[0].shape[1:]]
    return _traced(lambda x: model(x, training=False), shape)


def of_saved_model(folder: Path) -> Any:
    """The SavedModel's serving_default as a function of one image, its batch fixed at 1. Raises ForgeError."""
    try:
        loaded = tf.saved_model.load(str(folder))
        signature = loaded.signatures["serving_default"]
    except (OSError, KeyError) as error:
        raise ForgeError(f"{folder} is no SavedModel with a signature serving_default: {error}") from None
    (inputs,) = [list(signature.structured_input_signature[1].items())]
    if len(inputs) != 1:
        raise ForgeError(f"{folder} takes {', '.join(name for name, _ in inputs)}; expected one image")
    name, spec = inputs[0]
    return _traced(lambda x: signature(**{name: x}), [1, *spec.shape[1:]])


def _traced(call: Callable[[Any], Any], shape: list[int | None]) -> Any:
    """With weights as constants. Outputs of a dictionary come in the order of their names."""
    if None in shape or len(shape) != 4:
        raise ForgeError(f"the model's input is {shape}; expected [1, height, width, channels] with fixed sizes")
    function = tf.function(lambda image: call(image)).get_concrete_function(
        tf.TensorSpec(shape, tf.float32, name="image")
    )
    return convert_variables_to_constants_v2(function)


def convert(function: Any, setting: Setting, images: Sequence[Image] = ()) -> bytes:
    """The .tflite file's bytes. images: to take ranges from. Raises ForgeError."""
    name = setting.scheme.name
    if name == "uint8":
        return _legacy_uint8(function)
    if setting.needs_calibration and not images:
        raise ForgeError(f"the setting {setting.name} needs pictures for its ranges; give a folder with --calibrate")
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    converter.allow_custom_ops = True  # the post-process op of models exported for TensorFlow Lite
    if name != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if name == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if setting.needs_calibration:
        converter.representative_dataset = lambda: ([image] for image in images)
        kinds = tf.lite.OpsSet
        wide = kinds.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [wide if name == "int16x8" else kinds.TFLITE_BUILTINS_INT8]
        converter._experimental_disable_per_channel = name == "int8-tensor"
        if not setting.float_io:
            converter.inference_input_type = converter.inference_output_type = getattr(tf, setting.input_dtype)
    return bytes(converter.convert())


def _legacy_uint8(function: Any) -> bytes:
    """By the converter of TensorFlow 1: every activation needs its range in the graph, as a fake-quantise node."""
    definition = function.graph.as_graph_def()
    if not any(node.op.startswith("FakeQuantWithMinMax") for node in definition.node):
        raise ForgeError(
            "the setting uint8 needs the ranges in the graph (FakeQuantWithMinMax nodes); forge puts them there for"
            " its own detector, from an .npz of `forge weights`"
        )
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "frozen.pb"
        path.write_bytes(definition.SerializeToString())
        inputs = [tensor.op.name for tensor in function.inputs]
        outputs = [tensor.op.name for tensor in function.outputs]
        converter = tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(str(path), inputs, outputs)
        converter.inference_type = tf.uint8
        converter.quantized_input_stats = {inputs[0]: (127.5, 127.5)}
        return bytes(converter.convert())
