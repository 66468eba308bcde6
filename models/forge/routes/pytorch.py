"""Any PyTorch module to a float32 .tflite that takes NHWC.

    module = load_module("package.module:make", checkpoint=None)
    convert(module, (1, 3, 320, 320), Path("net.tflite"))

The module takes an image [1, C, H, W], as PyTorch's do; the file takes [1, H, W, C] with no TRANSPOSE in
front, because litert-torch carries the layout through the graph. A head that ends in
`x.permute(0, 2, 3, 1).reshape(1, -1, n)` leaves none behind either, and convolutions of stride 2 no PAD when they are
padded as TensorFlow's SAME: (side % 2, 1).
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import litert_torch
import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import nn

from forge.errors import ForgeError


def load_module(name: str, checkpoint: Path | None = None) -> nn.Module:
    """`package.module:callable`: what the callable returns, with the checkpoint's state dict. Raises ForgeError."""
    place, _, attribute = name.partition(":")
    try:
        made = getattr(importlib.import_module(place), attribute)()
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ForgeError(
            f"{name!r} gives no module ({error}); expected package.module:callable, which needs no arguments"
        ) from None
    if not isinstance(made, nn.Module):
        raise ForgeError(f"{name!r} gives {type(made).__name__}; expected a torch.nn.Module")
    if checkpoint is not None:
        try:
            state = torch.load(checkpoint, map_location="cpu", weights_only=True)
            made.load_state_dict(state.get("state_dict", state) if isinstance(state, dict) else state)
        except Exception as error:  # torch.load and load_state_dict raise nearly anything
            raise ForgeError(f"{checkpoint} does not fit {name!r}: {error}") from None
    return made.eval()


def convert(module: nn.Module, shape: tuple[int, int, int, int], path: Path) -> None:
    """Write `path`: args_0, float32 NHWC, to output_0, … in the module's order. shape: [1, C, H, W]."""
    batch, channels, height, width = shape
    nhwc = litert_torch.to_channel_last_io(module.eval(), args=[0]).eval()
    litert_torch.convert(nhwc, (torch.rand(batch, height, width, channels) * 2 - 1,)).export(str(path))


def largest_difference(module: nn.Module, shape: tuple[int, int, int, int], path: Path) -> float:
    """Between the outputs of the module and of the file, on noise from -1 to 1."""
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        given: Any = module(image)
    wanted = [given] if isinstance(given, torch.Tensor) else list(given)
    interpreter = Interpreter(str(path))
    run = interpreter.get_signature_runner()
    got = run(args_0=np.ascontiguousarray(image.permute(0, 2, 3, 1).numpy()))
    differences = [
        float(np.abs(got[f"output_{number}"] - tensor.numpy()).max()) for number, tensor in enumerate(wanted)
    ]
    return max(differences)
