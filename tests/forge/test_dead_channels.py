"""A channel without weights keeps its bias through quantisation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from forge.model.network import open_network
from forge.pictures import picture_files, read_for
from forge.quantization.quantize import observe_network, quantize
from forge.quantization.settings import parse
from forge.tflite import flatbuffer
from forge.tflite.dead_channels import revive

ASSETS = Path(__file__).resolve().parents[3] / "shared" / "assets"
COCO_V1 = ASSETS / "models" / "ssd_mobilenet_v1_coco_float" / "ssd_mobilenet_v1_coco_dequant_fp32.tflite"
LABELS = ASSETS / "models" / "ssd_mobilenet_v1_coco" / "labelmap.txt"

pytestmark = pytest.mark.skipif(not COCO_V1.exists(), reason=f"needs the COCO model and pictures in {ASSETS}")


def largest_weights(data: bytes) -> np.ndarray:
    """Of each channel of the last grid's class convolution."""
    model = flatbuffer.load(data)
    names = [tensor.name.decode() for tensor in model.subgraphs[0].tensors]
    index = next(i for i, name in enumerate(names) if name.startswith("BoxPredictor_5/ClassPredictor/weights"))
    return np.abs(flatbuffer.real_values(model, index)).reshape(546, -1).max(axis=1)


def test_only_channels_without_weights_change_and_hardly() -> None:
    network = open_network(COCO_V1, LABELS)
    model = flatbuffer.load(network.data)
    assert revive(model) >= 90
    before, after = largest_weights(network.data), largest_weights(flatbuffer.pack(model))
    assert (before == 0).sum() == 90
    assert (after > 0).all()
    np.testing.assert_array_equal(before[before > 0], after[before > 0])
    assert after[before == 0].max() < before.max() / 500


def test_the_bias_survives_int8() -> None:
    """The anchor that never fired says nothing in float32, and nothing in int8."""
    from ai_edge_litert.interpreter import Interpreter

    network = open_network(COCO_V1, LABELS)
    pictures = read_for(network, picture_files(ASSETS / "images" / "coco_calib")[:2])
    interpreter = Interpreter(model_content=quantize(network, parse("int8"), observe_network(network, pictures)))
    interpreter.allocate_tensors()
    interpreter.set_tensor(
        interpreter.get_input_details()[0]["index"], (pictures[0].astype(np.int16) - 128).astype(np.int8)[None]
    )
    interpreter.invoke()
    output = interpreter.get_output_details()[1]
    scale, zero_point = output["quantization"]
    last_anchors = (interpreter.get_tensor(output["index"])[0, -6:].astype(np.float32) - zero_point) * scale
    assert last_anchors.max() < 0.45
