"""From one network to a folder of variants: made, measured, judged; what fails the gate stays out.

results = ship(network, "coco_v1", SETTINGS, Plan(out=..., calibration=..., judged=...))
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from forge.errors import ForgeError
from forge.evaluation.compare import Measures, Picture, Progress, Reference
from forge.evaluation.latency import Latency, measure
from forge.evaluation.subject import Subject
from forge.model.network import Network
from forge.pictures import read_for
from forge.quantization.quantize import observe_network
from forge.quantization.settings import Setting, parse
from forge.variants.gate import DEFAULT_LIMITS, Limits, refusals
from forge.variants.make import SIDECAR, make_variant
from vigild.catalogue.entry import NAME, NAME_FORM


@dataclass(frozen=True)
class Plan:
    """How variants are made and judged."""

    out: Path
    calibration: list[Path]
    """Pictures that ranges are observed on."""
    judged: list[Picture]
    """Pictures that variants are judged on; none of them should be among the others."""
    limits: Limits = DEFAULT_LIMITS
    method: str | None = None
    """Of `forge.quantization.range_search`, or "file"; None: what suits the network."""
    rounds: int = 10
    """Of timing; 0: none."""
    runtimes: tuple[tuple[str, Path | None], ...] = (("litert", None),)
    """Name, and the Python of an environment that has it; None: this one."""


@dataclass(frozen=True)
class Made:
    """One variant and what was found of it."""

    setting: Setting
    path: Path
    bytes: int
    measures: Measures
    refused: list[str] = field(default_factory=list)
    """Why it is not shipped; empty when it is."""
    latencies: tuple[Latency, ...] = ()
    """In the order of the plan's runtimes."""


Make = Callable[[Setting, Path], None]
"""Writes one variant to a path."""


def ship(
    network: Network,
    name: str,
    settings: Sequence[Setting],
    plan: Plan,
    progress: Progress = lambda *_: None,
    make: Make | None = None,
) -> list[Made]:
    """Make `settings` as `plan.out`/NAME_SETTING.tflite; all of them, refused ones too. Raises ForgeError.

    make: how, if not by ai-edge-quantizer.
    """
    if NAME.fullmatch(name) is None:
        raise ForgeError(f"{name!r} is no name of a manifest entry; expected {NAME_FORM}")
    if not plan.judged:
        raise ForgeError("there is no picture left to judge the variants on; give more, or a folder of their own")
    make = make or _quantizer(network, settings, plan, progress)
    plan.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=plan.out, prefix=".making-") as scratch:
        folder = Path(scratch)
        references: dict[bool, Reference] = {}
        made: list[Made] = []
        for number, setting in enumerate(settings):
            progress("variants", number, len(settings))
            if setting.raw not in references:
                plain = parse("float32-raw" if setting.raw else "float32")
                path = folder / f"reference_{plain.name}.tflite"
                make_variant(network, plain, None, path, network.card)
                references[setting.raw] = Reference(Subject(path), plan.judged, network, progress)
            path = folder / f"{name}_{setting.name}.tflite"
            make(setting, path)
            reference = references[setting.raw]
            measures = reference.measure(Subject(path), progress)
            made.append(
                Made(setting, path, path.stat().st_size, measures, refusals(reference.measures, measures, plan.limits))
            )
        made = _timed(made, plan, progress)
        return [_delivered(each, plan.out) for each in made]


def _quantizer(network: Network, settings: Sequence[Setting], plan: Plan, progress: Progress) -> Make:
    """Makes variants by ai-edge-quantizer, once ranges have been observed for those that need them."""
    observed = None
    wanting = [setting.name for setting in settings if setting.needs_calibration]
    if wanting:
        if not plan.calibration:
            raise ForgeError(
                f"the settings {', '.join(wanting)} need pictures for their ranges; give a folder with --calibrate"
            )
        progress("ranges", 0, 1)
        observed = observe_network(network, read_for(network, plan.calibration))

    def make(setting: Setting, path: Path) -> None:
        card = replace(network.card, description=setting.meaning)
        make_variant(network, setting, observed, path, card, method=plan.method)

    return make


def _timed(made: list[Made], plan: Plan, progress: Progress) -> list[Made]:
    """With the latencies in each runtime; all variants in the same rounds."""
    if plan.rounds == 0:
        return made
    columns = []
    for runtime, python in plan.runtimes:
        progress(f"timing on {runtime}", 0, 1)
        columns.append(measure([each.path for each in made], runtime, plan.rounds, plan.judged[0].path, python))
    return [replace(each, latencies=tuple(row)) for each, row in zip(made, zip(*columns, strict=True), strict=True)]


def _delivered(made: Made, out: Path) -> Made:
    """Moved to its place, unless it was refused; what an earlier run left there goes."""
    target = out / made.path.name
    for suffix in ("", SIDECAR):
        source, place = made.path.with_name(made.path.name + suffix), target.with_name(target.name + suffix)
        place.unlink(missing_ok=True)
        if not made.refused and source.exists():
            shutil.move(source, place)
    return replace(made, path=target)


def preference(made: list[Made]) -> list[Made]:
    """Those that are shipped, what a daemon should try first in front: usual interface, then the fastest here."""

    def key(each: Made) -> tuple[bool, float]:
        unusual = each.setting.nchw or each.setting.raw
        return unusual, each.latencies[0].cpu_ms if each.latencies else 0.0

    return sorted((each for each in made if not each.refused), key=key)
