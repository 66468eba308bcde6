"""SSD on MobileNetV2 with a light feature pyramid, for any width and input size.

    net = Detector(NetConfig(labels=("circle", "square"), size=192, width=0.35))
    codes, logits = net(torch.zeros(1, 3, 192, 192))     # [1, A, 4], [1, A, C]

Paddings are TensorFlow's SAME: converters fold these into the convolutions, where PyTorch's own
padding at stride 2 leaves a PAD operator each.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from forge.errors import ForgeError

# Expansion, channels, repeats, stride: Sandler et al., "MobileNetV2", table 2.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
_TAPS = (2, 4, 6)  # stages whose outputs are the last at strides 8, 16 and 32
_FIRST_LATE = 3  # the stage that leads to stride 16
_PRIOR = 0.01  # score of an untrained anchor, so that the many negatives do not swamp the first steps


@dataclass(frozen=True)
class NetConfig:
    """labels: class names, no background. size: side of the square input in px. levels: grids, from stride 8.

    late_expansion: of the blocks from stride 16 on; channels cost little there, where maps are small.
    tower_depth: separable convolutions of the heads, 1 or 2.
    """

    labels: tuple[str, ...]
    size: int = 256
    width: float = 0.35
    pyramid_channels: int = 64
    levels: int = 4
    late_expansion: int = 6
    tower_depth: int = 1

    def as_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)


def _channels(count: float) -> int:
    """Channels rounded to a multiple of 8, never more than a tenth down (the MobileNet rule)."""
    rounded = max(8, int(count + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * count else rounded


class Conv(nn.Sequential):
    """Convolution with SAME padding, batch normalisation and, unless linear, ReLU6."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, linear: bool = False):
        self.stride = stride
        padding = kernel // 2 if stride == 1 else 0
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(outputs, momentum=0.03, eps=1e-3),
        ]
        if not linear:
            layers.append(nn.ReLU6())
        super().__init__(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride == 2 and self.training and self[0].groups > 1:
            # The same sums: all positions, of which every other is kept. PyTorch's backward pass of a depthwise
            # convolution of stride 2 takes three times as long on a CPU (bfloat16, channels last).
            x = functional.conv2d(x, self[0].weight, padding=1, groups=self[0].groups)
            x = x[:, :, 1 - x.shape[2] % 2 :: 2, 1 - x.shape[3] % 2 :: 2]
            return self[2](self[1](x)) if len(self) > 2 else self[1](x)
        if self.stride == 2:
            x = functional.pad(x, (x.shape[3] % 2, 1, x.shape[2] % 2, 1))
        return super().forward(x)


class Separable(nn.Sequential):
    """Depthwise 3x3, then pointwise."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__(Conv(inputs, inputs, 3, stride, groups=inputs), Conv(inputs, outputs, 1))


class InvertedResidual(nn.Module):
    """MobileNetV2's block."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int):
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = [] if expansion == 1 else [Conv(inputs, hidden, 1)]
        layers += [Conv(hidden, hidden, 3, stride, groups=hidden), Conv(hidden, outputs, 1, linear=True)]
        self.body = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x) if self.residual else self.body(x)


class SharedTower(nn.Module):
    """A separable convolution whose weights all levels share, with statistics of each level's own.

    residual: its output is added to its input, without an activation.
    """

    def __init__(self, channels: int, levels: int, residual: bool = False):
        super().__init__()
        self.residual = residual
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels, momentum=0.03, eps=1e-3) for _ in range(levels))

    def forward(self, x: torch.Tensor, level: int) -> torch.Tensor:
        made = self.norms[level](self.pointwise(self.depthwise(x)))
        return x + made if self.residual else functional.relu6(made)


class Detector(nn.Module):
    """Pictures float32 [N, 3, S, S] (RGB, -1..1) to box codes [N, A, 4] and class logits [N, A, C]."""

    def __init__(self, config: NetConfig):
        super().__init__()
        self.config = config
        channels = _channels(32 * config.width)
        self.stem = Conv(3, channels, 3, 2)
        self.stages = nn.ModuleList()
        tapped: list[int] = []
        for index, (expansion, base, repeats, stride) in enumerate(_STAGES):
            outputs = _channels(base * config.width)
            if index >= _FIRST_LATE:
                expansion = config.late_expansion
            blocks = []
            for repeat in range(repeats):
                blocks.append(InvertedResidual(channels, outputs, stride if repeat == 0 else 1, expansion))
                channels = outputs
            self.stages.append(nn.Sequential(*blocks))
            if index in _TAPS:
                tapped.append(channels)
        self.tap_channels = tapped
        """Channels of the backbone's maps at strides 8, 16 and 32."""
        wide = config.pyramid_channels
        self.laterals = nn.ModuleList(Conv(count, wide, 1) for count in tapped)
        self.smooth = nn.ModuleList(Separable(wide, wide) for _ in tapped[:-1])
        self.extras = nn.ModuleList(Separable(wide, wide, 2) for _ in range(config.levels - len(tapped)))
        self.class_tower = SharedTower(wide, config.levels)
        self.box_tower = SharedTower(wide, config.levels)
        if config.tower_depth == 2:
            self.class_tower_2 = SharedTower(wide, config.levels, residual=True)
            self.box_tower_2 = SharedTower(wide, config.levels, residual=True)
        self.class_head = nn.Conv2d(wide, len(config.labels), 1)
        self.box_head = nn.Conv2d(wide, 4, 1)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, SharedTower) and module.residual:
                for norm in module.norms:
                    nn.init.zeros_(norm.weight)  # it begins as the identity
        nn.init.normal_(self.class_head.weight, std=0.01)
        nn.init.constant_(self.class_head.bias, -math.log((1 - _PRIOR) / _PRIOR))
        nn.init.normal_(self.box_head.weight, std=0.01)
        nn.init.zeros_(self.box_head.bias)

    def grow_from(self, state: dict[str, torch.Tensor]) -> None:
        """Begin as a network of the same width, with no more late expansion and depth, did end (`state`, its own
        `state_dict`): what is new here adds nothing at first, and learns.

        Raises ForgeError for any other network.
        """
        mine = self.state_dict()
        fits = set(state) <= set(mine) and all(
            kept.shape == mine[name].shape
            or (name.startswith("stages.") and all(a <= b for a, b in zip(kept.shape, mine[name].shape, strict=True)))
            for name, kept in state.items()
        )
        if not fits:
            raise ForgeError(
                "the checkpoint to begin with is of a network with other labels or channels;"
                " name the one of the recipe before"
            )
        for name, kept in state.items():
            if kept.shape != mine[name].shape and name.endswith(".body.2.0.weight"):
                mine[name].zero_()  # the projection at first takes nothing from the new channels
            mine[name][tuple(slice(n) for n in kept.shape)] = kept

    def backbone(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Maps [N, tap_channels, S / stride, S / stride] for strides 8, 16 and 32."""
        x = self.stem(x)
        taps = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in _TAPS:
                taps.append(x)
        return taps

    def pyramid(self, taps: list[torch.Tensor]) -> list[torch.Tensor]:
        """Of the backbone's maps: [N, pyramid_channels, S / stride, S / stride] for strides 8, 16, 32, …"""
        laterals = [lateral(tap) for lateral, tap in zip(self.laterals, taps, strict=True)]
        levels = [laterals[-1]]
        for lateral, smooth in zip(laterals[-2::-1], self.smooth, strict=True):
            # Bilinear and not nearest: XNNPACK runs the former in int8, the latter would split the graph.
            above = functional.interpolate(levels[0], size=lateral.shape[2:], mode="bilinear", align_corners=False)
            levels.insert(0, smooth(lateral + above))
        for extra in self.extras:
            levels.append(extra(levels[-1]))
        return levels

    def heads(self, levels: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the pyramid: box codes [N, A, 4] and class logits [N, A, C]."""
        codes, logits = [], []
        for level, feature in enumerate(levels):
            count = feature.shape[0]
            boxes, classes = self.box_tower(feature, level), self.class_tower(feature, level)
            if self.config.tower_depth == 2:
                boxes, classes = self.box_tower_2(boxes, level), self.class_tower_2(classes, level)
            boxes, classes = self.box_head(boxes), self.class_head(classes)
            # Moving channels last before the reshape lets converters drop the transposition.
            codes.append(boxes.permute(0, 2, 3, 1).reshape(count, -1, 4))
            logits.append(classes.permute(0, 2, 3, 1).reshape(count, -1, len(self.config.labels)))
        return torch.cat(codes, dim=1), torch.cat(logits, dim=1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.heads(self.pyramid(self.backbone(x)))


class Deployed(nn.Module):
    """The detector as it is exported: box codes and scores (0..1) instead of logits.

    logit_shift [C] is added before the sigmoid; it moves each class's best threshold to 0.5.
    """

    def __init__(self, detector: Detector, logit_shift: torch.Tensor | None = None):
        super().__init__()
        self.detector = detector
        if logit_shift is not None:
            with torch.no_grad():
                detector.class_head.bias += logit_shift

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        codes, logits = self.detector(x)
        return codes, torch.sigmoid(logits)
