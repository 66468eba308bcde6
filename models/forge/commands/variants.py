"""`forge variants`: every tensor setting out of one network."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The network, the pictures, which settings, the gate."""
    parser.add_argument("model", type=Path, help=".tflite of an SSD: float, or quantised, which is dequantised first")
    parser.add_argument("--out", type=Path, required=True, help="folder for the files, manifest.toml and report.md")
    parser.add_argument("--name", help="of the manifest's entry and in front of file names; default: the model's file")
    parser.add_argument("--labels", type=Path, help="label file, if the model has none inside")
    parser.add_argument("--mean", type=float, help="the image is (p - mean) / std; default: what the model says")
    parser.add_argument("--std", type=float)
    parser.add_argument(
        "--only", default="", help="settings, separated by commas, instead of the usual ones; see --list"
    )
    parser.add_argument("--classes", default="", help="keep only these classes, separated by commas")
    parser.add_argument("--list", action="store_true", help="print the settings and end")
    parser.add_argument("--calibrate", type=Path, metavar="FOLDER", help="pictures like those the cameras will see")
    parser.add_argument("--pictures", type=int, default=40, help="how many of them are used; the others may judge")
    parser.add_argument("--ranges", default="min_max", help="how ranges are chosen: a method of forge.range_search")
    parser.add_argument(
        "--images", type=Path, metavar="FOLDER", help="pictures to judge on; default: what calibration left over"
    )
    parser.add_argument("--annotations", type=Path, metavar="FILE", help="COCO annotations of the pictures to judge on")
    parser.add_argument("--ap-loss", type=float, help="AP that a variant may lose against float32 (0.02)")
    parser.add_argument("--agreement", type=float, help="least share of objects on which it agrees with float32 (0.9)")
    parser.add_argument("--rounds", type=int, default=10, help="of timing; 0: none")
    parser.add_argument(
        "--tflite-python", type=Path, metavar="PYTHON", help="of an environment with tflite-runtime, to time there too"
    )
    add = parser.add_argument
    add("--max-detections", type=int, help="rows that the post-process op gives; default: as the model's")
    add("--score-threshold", type=float, help="below it the post-process op drops detections; default: as the model's")


def run(options: argparse.Namespace) -> int:
    """Make, judge, time, write; 1 when a setting failed the gate is no failure of the command."""
    from forge import settings

    if options.list:
        for setting in settings.SETTINGS:
            print(f"{setting.name:16} {setting.meaning}")
        return 0
    import dataclasses

    from forge.coco import load_annotations
    from forge.compare import Picture
    from forge.gate import Limits
    from forge.manifest import write_manifest
    from forge.network import open_network
    from forge.progress import ProgressLine
    from forge.prune import prune
    from forge.report import REPORT, table, write_report
    from forge.ship import Plan, preference, ship
    from forge.variants import picture_files, spread

    mean, std = ((value,) * 3 if value is not None else None for value in (options.mean, options.std))
    network = open_network(options.model, options.labels, mean, std)
    if options.classes:
        network = prune(network, options.classes.split(","))
    changes = {
        key: value
        for key, value in (("max_detections", options.max_detections), ("score_threshold", options.score_threshold))
        if value is not None
    }
    network = dataclasses.replace(network, postprocess=dataclasses.replace(network.postprocess, **changes))
    chosen = tuple(map(settings.parse, options.only.split(","))) if options.only else settings.SETTINGS
    calibration = spread(picture_files(options.calibrate), options.pictures) if options.calibrate else []
    folder = options.images or options.calibrate
    used = {path.name for path in calibration}
    judged = [path for path in picture_files(folder) if path.name not in used] if folder else []
    objects = load_annotations(options.annotations) if options.annotations else {}
    given = {"ap_loss": options.ap_loss, "agreement": options.agreement}
    plan = Plan(
        out=options.out,
        calibration=calibration,
        judged=[Picture(path, objects.get(path.name)) for path in judged],
        limits=Limits(**{key: value for key, value in given.items() if value is not None}),
        method=options.ranges,
        rounds=options.rounds,
        runtimes=(
            ("litert", None),
            *((("tflite-runtime", options.tflite_python),) if options.tflite_python else ()),
        ),
    )
    name = options.name or options.model.stem
    made = ship(network, name, chosen, plan, ProgressLine())
    command = "forge " + shlex.join(sys.argv[1:])
    shipped = [(each.setting, each.path, note(each)) for each in preference(made)]
    if shipped:
        write_manifest(options.out / "manifest.toml", name, f"{len(network.labels)} classes", network, shipped)
    write_report(options.out, name, made, plan, command)
    print(table(made, plan))
    print(f"{len(shipped)} of {len(made)} in {options.out}; {REPORT} there says why")
    return 0


def note(made: object) -> str:
    """A variant's line for `vigild models show`."""
    from forge.ship import Made

    assert isinstance(made, Made)
    measures = made.measures
    ap = f"AP {measures.ap:.3f}, " if measures.ap is not None else ""
    return f"{made.setting.meaning}; {ap}agrees with float32 on {measures.agreement:.3f} of the objects"
