"""A trained network to .tflite: float32, float16 weights, and int8 per channel.

export(detector, calibration, Path("out"), "testcard_ssd", card)
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from ai_edge_quantizer import qtyping, quantizer
from ai_edge_quantizer.algorithm_manager import AlgorithmName

from forge.anchors import make_anchors
from forge.quantization.calibrate import Image, observe, ranges
from forge.quantization.static_int8 import static_int8
from forge.routes.pytorch import convert
from forge.tflite import flatbuffer
from forge.tflite.metadata import Card, write_with_labels
from forge.tflite.postprocess import PostProcess, add_postprocess
from forge.training.net import Deployed, Detector


def to_float32(detector: Detector, logit_shift: torch.Tensor | None, path: Path) -> None:
    """float32, NHWC [1, S, S, 3] (RGB, -1..1) to box codes [1, A, 4] and scores [1, A, C]."""
    size = detector.config.size
    deployed = Deployed(copy.deepcopy(detector).to(memory_format=torch.contiguous_format), logit_shift).eval()
    convert(deployed, (1, 3, size, size), path)


def to_int8(source: Path, target: Path, calibration: Iterable[Image]) -> None:
    """Static int8, weights per channel, int8 input and outputs.

    Ranges are the calibration pictures' minimum and maximum; the quantizer's own default, a moving
    average, clips (mean score error 0.015 instead of 0.006 on a network like this).
    """
    target.write_bytes(static_int8(source, ranges(observe(source, calibration), "min_max")))


def to_float16(source: Path, target: Path) -> None:
    """float16 weights, float32 computation and I/O: half the file, the same results to 1e-3."""
    maker = quantizer.Quantizer(str(source))
    operations = qtyping.TFLOperationName.ALL_SUPPORTED
    maker.add_weight_only_config(".*", operations, 16, algorithm_key=AlgorithmName.FLOAT_CASTING)
    maker.quantize().export_model(str(target), overwrite=True)


def export(
    detector: Detector,
    calibration: list[Image],
    folder: Path,
    name: str,
    card: Card,
    *,
    logit_shift: torch.Tensor | None = None,
    settings: PostProcess | None = None,
    variants: tuple[str, ...] = ("int8",),
) -> dict[str, Path]:
    """Write `folder`/`name`_{variant}.tflite with post-process op, labels and metadata; variant to path.

    variants: of "int8", "float16", "float32".
    """
    anchors = make_anchors(detector.config.size, detector.config.levels)
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, Path] = {}
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "float32.tflite"
        to_float32(detector, logit_shift, plain)
        for variant in variants:
            raw = plain
            if variant == "int8":
                raw = Path(scratch) / "int8.tflite"
                to_int8(plain, raw, calibration)
            elif variant == "float16":
                raw = Path(scratch) / "float16.tflite"
                to_float16(plain, raw)
            model: Any = flatbuffer.load(raw)
            add_postprocess(model, anchors, settings or PostProcess())
            written[variant] = folder / f"{name}_{variant}.tflite"
            write_with_labels(model, written[variant], detector.config.labels, card)
    return written
