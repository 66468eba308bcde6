"""The accuracy gate: which variants may be shipped.

    refusals(float32_measures, int8_measures, Limits())      # [] or sentences

A destroyed network loads, runs and returns detections without an error: only looking at what it detects
tells. (Dynamic range per tensor on depthwise convolutions does that to every SSD-MobileNet.)
"""

from __future__ import annotations

import math
from typing import NamedTuple

from forge.evaluation.compare import Measures


class Limits(NamedTuple):
    """What a variant may lose against float32."""

    ap_loss: float = 0.02
    """Of COCO AP. On some fifty pictures AP wavers by about 0.01 when nothing but rounding changes."""
    agreement: float = 0.9
    """At least this share of the objects shown by either is seen by both; of ten objects, one may be lost."""


DEFAULT_LIMITS = Limits()


def refusals(float32: Measures, variant: Measures, limits: Limits) -> list[str]:
    """Why the variant is not shipped; empty when it may be."""
    found = []
    if not math.isfinite(variant.score_error):
        found.append("gives scores that are no numbers")
    if float32.ap is not None and variant.ap is not None and float32.ap - variant.ap > limits.ap_loss:
        found.append(
            f"AP {variant.ap:.3f}, {float32.ap - variant.ap:.3f} below float32; up to {limits.ap_loss:g} is let through"
        )
    if variant.agreement < limits.agreement:
        found.append(
            f"agrees with float32 on {variant.agreement:.2f} of the objects; {limits.agreement:g} is let through"
        )
    return found
