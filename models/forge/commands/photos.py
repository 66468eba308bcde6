"""`forge photos`: the model of people and vehicles."""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path

from forge.commands.common import REPOSITORY
from forge.errors import ForgeError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The data, where the run is kept, how long it is."""
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and annotations.json")
    parser.add_argument("--seen", type=Path, help="the teacher's opinion: JSON of `forge pseudo` on the images")
    parser.add_argument("--frames", type=Path, help="folder of further, unlabelled pictures")
    parser.add_argument("--frames-seen", type=Path, help="the teacher's opinion on them")
    parser.add_argument(
        "--recipe",
        choices=("first", "second", "third", "256", "192"),
        required=True,
        help="each goes on from the one before (--start); of the last two models come out",
    )
    parser.add_argument("--start", type=Path, help="checkpoint of the recipe before, to begin with")
    parser.add_argument("--teacher", type=Path, help="float32 COCO SSD-MobileNet v1 to imitate")
    parser.add_argument("--run", type=Path, default=REPOSITORY / "build" / "photos", help="folder of the checkpoint")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "build" / "photos" / "out")
    parser.add_argument("--minutes", type=float, help="length of the run, instead of the recipe's")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--export-only", action="store_true", help="use the checkpoint as it is")


def run(options: argparse.Namespace) -> int:
    """Train, and export what is no mere beginning."""
    from forge.training import build
    from forge.training.recipes import OF_PHOTOS

    recipe = OF_PHOTOS[options.recipe]
    if options.recipe != "first" and not options.start and not (options.run / "checkpoint.pt").exists():
        raise ForgeError(f"the recipe {options.recipe} goes on from another run; name its checkpoint.pt with --start")
    config = dataclasses.replace(recipe, threads=options.threads, minutes=options.minutes or recipe.minutes)
    options.run.mkdir(parents=True, exist_ok=True)
    (options.run / "pid").write_text(f"{os.getpid()}\n")  # to pause it: kill -STOP, kill -CONT
    build.photos(
        config,
        options.run,
        options.out,
        data=options.data,
        seen=options.seen,
        frames=options.frames,
        frames_seen=options.frames_seen,
        teacher=options.teacher,
        start=options.start,
        export_only=options.export_only,
        train_only=options.recipe in ("first", "second", "third"),
    )
    return 0
