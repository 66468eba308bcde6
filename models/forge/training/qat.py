"""Quantisation-aware training: the network feels int8 while it can still do something about it.

    rounding = FakeQuantization(net)
    with rounding.felt_by(net) as weights:
        codes, logits = torch.func.functional_call(net, weights, (inputs,))

Weights are rounded per output channel, symmetrically; activations per tensor, in the range seen so far
(Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", 2018). A batch norm that is folded later scales each output channel by one factor, and with it
the channel's quantisation step: rounding before folding is the same as after. Gradients pass the rounding
as if it were not there. What is exported is the plain network with the weights this leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from forge.training.net import Conv, Detector, InvertedResidual, SharedTower

_WEIGHT_LEVELS = 127  # int8 weights are symmetric: -127..127
_LOWEST, _HIGHEST = -128, 127
_MEMORY = 0.99  # of the moving range of an activation
_LEAST_RANGE = 1e-4


def rounded_weight(weight: torch.Tensor) -> torch.Tensor:
    """weight [O, ...] in 255 steps for each of its O output channels; the gradient passes."""
    step = weight.detach().abs().flatten(1).amax(dim=1).clamp(min=_LEAST_RANGE) / _WEIGHT_LEVELS
    zero = torch.zeros_like(step, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, step, zero, 0, -_WEIGHT_LEVELS, _WEIGHT_LEVELS)


class _Activation:
    """Rounds a module's output in the moving range of what it has given; 0 stays exactly 0."""

    def __init__(self) -> None:
        self.low = self.high = 0.0
        self._seen = False

    def __call__(self, module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        low, high = (float(bound) for bound in torch.aminmax(output.detach()))
        low, high = min(low, 0.0), max(high, 0.0)
        if not self._seen:
            self.low, self.high, self._seen = low, high, True
        elif module.training:
            self.low += (1 - _MEMORY) * (low - self.low)
            self.high += (1 - _MEMORY) * (high - self.high)
        step = max(self.high - self.low, _LEAST_RANGE) / (_HIGHEST - _LOWEST)
        zero = round(_LOWEST - self.low / step)
        return torch.fake_quantize_per_tensor_affine(output.float(), step, zero, _LOWEST, _HIGHEST).to(output.dtype)


class FakeQuantization:
    """The rounding of one network, with the ranges of its activations.

    The ranges are not kept in checkpoints: a resumed run finds them again within its first steps.
    """

    def __init__(self, net: Detector) -> None:
        rounded = (Conv, InvertedResidual, SharedTower)
        modules = [module for module in net.modules() if isinstance(module, rounded)]
        self._modules = [*modules, net.class_head, net.box_head]
        self._activations = [_Activation() for _ in self._modules]

    @contextmanager
    def felt_by(self, root: nn.Module) -> Iterator[dict[str, torch.Tensor]]:
        """The rounded convolution weights of the network by their name in `root` (the network, or a module
        that holds it), for `torch.func.functional_call`; within, its activations are rounded too."""
        hooks = [
            module.register_forward_hook(activation)
            for module, activation in zip(self._modules, self._activations, strict=True)
        ]
        mine = {id(module) for top in self._modules for module in top.modules()}
        try:
            yield {
                f"{name}.weight": rounded_weight(module.weight)
                for name, module in root.named_modules()
                if isinstance(module, nn.Conv2d) and id(module) in mine
            }
        finally:
            for hook in hooks:
                hook.remove()
