"""What a model file without the detection op leaves unsaid: its anchors, and how boxes and scores are encoded.

    Decoding(ssd=SsdAnchors())            # the TensorFlow SSD-MobileNets
    Decoding(grid=[GridLayer(8, [10, 16, 24])], box_order="xywh")

Written as a table of a manifest entry, or as JSON beside a model file.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

MOST = 1e6
"""Of any number here; boxes are relative to the input or in its pixels. (It also keeps out inf and nan.)"""

Positive = Annotated[float, Meta(gt=0, le=MOST)]
NotNegative = Annotated[float, Meta(ge=0, le=MOST)]
Cells = Annotated[int, Meta(ge=1, le=65536)]
Overlap = Annotated[float, Meta(gt=0, le=1)]


class SsdAnchors(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """TensorFlow's SSD generator (object_detection/anchor_generators/multiple_grid_anchor_generator.py,
    create_ssd_anchors), with the values of the ssd_mobilenet_v1 and v2 COCO configurations."""

    feature_maps: list[tuple[Cells, Cells]] | None = None
    """Height and width of each; by default ceil(size / 16) and then halved until there are six."""
    min_scale: Positive = 0.2
    max_scale: Positive = 0.95
    aspect_ratios: tuple[Positive, ...] = (1.0, 2.0, 0.5, 3.0, 0.3333)
    interpolated_aspect_ratio: NotNegative = 1.0
    """Of one more anchor a cell, of a scale between this layer's and the next's; 0 for none."""
    reduce_boxes_in_lowest_layer: bool = True


class GridLayer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Square anchors of these sizes (pixels) on a grid of this step (pixels)."""

    stride: Cells
    sizes: list[Positive]


class Decoding(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Anchors (one of explicit, ssd, grid) and encodings."""

    explicit: list[tuple[float, float, float, float]] | None = None
    """(ycenter, xcenter, height, width) of each anchor, relative to the input."""
    ssd: SsdAnchors | None = None
    grid: list[GridLayer] | None = None
    scales: tuple[Positive, Positive, Positive, Positive] = (10.0, 10.0, 5.0, 5.0)
    """Divisors of the encodings of y, x, h, w (the inverse of what others call variances)."""
    box_order: Literal["yxhw", "xywh"] = "yxhw"
    scores: Literal["auto", "probabilities", "sigmoid", "softmax"] = "auto"
    """What the scores are, or what makes probabilities of them."""
    background: bool | None = None
    """Whether column 0 of the scores is the background; None: found out from the number of labels."""
    iou_threshold: Overlap = 0.6
    """Two boxes of a class that overlap by more (intersection over union) are one object."""

    def kinds(self) -> list[str]:
        """Which of the ways to give anchors are used; exactly one is right."""
        return [kind for kind in ("explicit", "ssd", "grid") if getattr(self, kind) is not None]
