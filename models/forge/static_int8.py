"""A float32 model and ranges to signed int8: weights per channel, int8 input and outputs.

static_int8(Path("float32.tflite"), qsvs, Path("int8.tflite"))
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path

from ai_edge_quantizer import qtyping, quantizer, recipe
from ai_edge_quantizer.algorithm_manager import AlgorithmName

from forge import flatbuffer
from forge.calibrate import Qsvs
from forge.dead_channels import revive


def static_int8(source: Path | bytes, qsvs: Qsvs, target: Path, *, keep_float: Iterable[str] = ()) -> None:
    """Quantise. Operators without an int8 kernel, as the post-process op, stay float32.

    keep_float: names of output tensors whose operators stay float32 too.
    """
    logging.getLogger().setLevel(logging.ERROR)
    model = flatbuffer.load(source)
    revive(model)
    graph = model.subgraphs[0]
    maker = quantizer.Quantizer(bytearray(flatbuffer.pack(model)))
    maker.load_quantization_recipe(recipe.static_wi8_ai8())
    for name in keep_float:
        maker.update_quantization_recipe(
            f"^{re.escape(name)};?$",
            qtyping.TFLOperationName.ALL_SUPPORTED,
            algorithm_key=AlgorithmName.NO_QUANTIZE,
        )
    if any(graph.tensors[i].name.decode() not in qsvs for i in graph.outputs):
        # The post-process op's: nobody observes them, and its kernel gives float32 only.
        maker.update_quantization_recipe(".*", qtyping.TFLOperationName.OUTPUT, algorithm_key=AlgorithmName.NO_QUANTIZE)
    result = maker.quantize({name: dict(qsv) for name, qsv in qsvs.items()}, enable_progress_report=False)
    target.write_bytes(bytes(result.quantized_model))
