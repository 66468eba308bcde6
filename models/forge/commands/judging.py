"""What `forge variants` and `forge tensorflow` share: the pictures, the gate, the timing, and what is written."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forge.model.network import Network
    from forge.quantization.settings import Setting
    from forge.variants.ship import Made, Make, Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Output, calibration, judgement, timing."""
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder for the files, manifest.toml and report.md")
    add("--name", help="of the manifest's entry and in front of file names; default: the model's file")
    add("--labels", type=Path, help="label file, if the model has none inside")
    add("--mean", type=float, help="the image is (p - mean) / std; default: what the model says, else 127.5")
    add("--std", type=float)
    add("--only", default="", help="settings, separated by commas, instead of the usual ones; see --list")
    add("--list", action="store_true", help="print the settings and end")
    add("--calibrate", type=Path, metavar="FOLDER", help="pictures like those the cameras will see")
    add("--pictures", type=int, default=40, help="how many of them are used; the others may judge")
    add("--images", type=Path, metavar="FOLDER", help="pictures to judge on; default: what calibration left over")
    add("--annotations", type=Path, metavar="FILE", help="COCO annotations of the pictures to judge on")
    add("--ap-loss", type=float, help="AP that a variant may lose against float32 (0.02)")
    add("--agreement", type=float, help="least share of objects on which it agrees with float32 (0.9)")
    add("--rounds", type=int, default=10, help="of timing; 0: none")
    add("--tflite-python", type=Path, metavar="PYTHON", help="of an environment with tflite-runtime, to time there too")
    add("--max-detections", type=int, help="rows that the post-process op gives; default: as the model's")
    add("--score-threshold", type=float, help="below it the post-process op drops detections; default: as the model's")


def show(settings: Sequence[Setting]) -> int:
    """Print what --list asks for."""
    for setting in settings:
        print(f"{setting.name:16} {setting.meaning}")
    return 0


def normalisation(options: argparse.Namespace) -> tuple[tuple[float, float, float] | None, ...]:
    """(mean, std) as given, for all three channels."""
    return tuple(None if value is None else (value,) * 3 for value in (options.mean, options.std))


def adjusted(network: Network, options: argparse.Namespace) -> Network:
    """With the post-process op's settings as given."""
    import dataclasses

    given = {"max_detections": options.max_detections, "score_threshold": options.score_threshold}
    changes = {key: value for key, value in given.items() if value is not None}
    return dataclasses.replace(network, postprocess=dataclasses.replace(network.postprocess, **changes))


def plan_of(options: argparse.Namespace, method: str | None = None) -> Plan:
    """Which pictures calibrate, which judge (never the same), and by what limits."""
    from forge.evaluation.coco import load_annotations
    from forge.evaluation.compare import Picture
    from forge.pictures import picture_files, spread
    from forge.variants.gate import Limits
    from forge.variants.ship import Plan

    calibration = spread(picture_files(options.calibrate), options.pictures) if options.calibrate else []
    folder = options.images or options.calibrate
    used = {path.name for path in calibration}
    judged = [path for path in picture_files(folder) if path.name not in used] if folder else []
    objects = load_annotations(options.annotations) if options.annotations else {}
    given = {"ap_loss": options.ap_loss, "agreement": options.agreement}
    others = (("tflite-runtime", options.tflite_python),) if options.tflite_python else ()
    return Plan(
        out=options.out,
        calibration=calibration,
        judged=[Picture(path, objects.get(path.name)) for path in judged],
        limits=Limits(**{key: value for key, value in given.items() if value is not None}),
        method=method,
        rounds=options.rounds,
        runtimes=(("litert", None), *others),
    )


def ship_all(
    network: Network,
    settings: Sequence[Setting],
    plan: Plan,
    options: argparse.Namespace,
    make: Callable[[], Make] | None = None,
) -> int:
    """Make, judge, time, write and print. A setting that failed the gate is no failure of the command."""
    from forge.progress import ProgressLine
    from forge.variants.manifest import write_manifest
    from forge.variants.report import REPORT, table, write_report
    from forge.variants.ship import preference, ship

    name = options.name or options.model.stem
    made = ship(network, name, settings, plan, ProgressLine(), make() if make is not None else None)
    shipped = [(each.setting, each.path, _note(each)) for each in preference(made)]
    if shipped:
        write_manifest(options.out / "manifest.toml", name, f"{len(network.labels)} classes", network, shipped)
    write_report(options.out, name, made, plan, "forge " + shlex.join(sys.argv[1:]))
    print(table(made, plan))
    print(f"{len(shipped)} of {len(made)} in {options.out}; {REPORT} there says why")
    return 0


def _note(made: Made) -> str:
    """A variant's line for `vigild models show`."""
    measures = made.measures
    ap = f"AP {measures.ap:.3f}, " if measures.ap is not None else ""
    return f"{made.setting.meaning}; {ap}agrees with float32 on {measures.agreement:.3f} of the objects"
