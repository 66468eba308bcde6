"""The commands of forge: `python -m forge COMMAND --help`."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="forge", description="Train, convert and judge the models vigild ships.")
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, help_text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help_text, description=help_text)

    make = add("testcard", "Train the test-card model and export it: about 20 minutes on two free cores.")
    make.add_argument("--run", type=Path, default=REPOSITORY / "build" / "testcard", help="folder of the checkpoint")
    make.add_argument("--out", type=Path, default=REPOSITORY / "models" / "embedded")
    make.add_argument("--steps", type=int, help="instead of the recipe's")
    make.add_argument("--threads", type=int, default=2)

    make = add("photos", "Train the detector of people and vehicles, and export it: hours.")
    make.add_argument("--data", type=Path, required=True, help="folder with images/ and annotations.json")
    make.add_argument("--seen", type=Path, help="the teacher's opinion: JSON of `forge pseudo` on the images")
    make.add_argument("--frames", type=Path, help="folder of further, unlabelled pictures")
    make.add_argument("--frames-seen", type=Path, help="the teacher's opinion on them")
    make.add_argument("--run", type=Path, default=REPOSITORY / "build" / "photos", help="folder of the checkpoint")
    make.add_argument("--out", type=Path, default=REPOSITORY / "build" / "photos" / "out")
    make.add_argument("--minutes", type=float, help="length of the run, instead of the recipe's")
    make.add_argument("--threads", type=int, default=2)
    make.add_argument("--export-only", action="store_true", help="use the checkpoint as it is")

    look = add("pseudo", "Run a COCO model over pictures and write down what it sees.")
    look.add_argument("--model", type=Path, required=True)
    look.add_argument("--labels", type=Path, required=True, help="one class a line")
    look.add_argument("--images", type=Path, required=True)
    look.add_argument("--classes", default="person,bicycle,car,motorcycle,bus,truck,cat,dog")
    look.add_argument("--out", type=Path, required=True)

    judge = add("judge", "Run a model over the test card and report what it finds, misses and invents.")
    judge.add_argument("models", type=Path, nargs="+")
    judge.add_argument("--cards", type=int, default=10, help="cards of each size")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; its exit status."""
    options = _arguments().parse_args(argv)
    # PyTorch and the converter take seconds to import: only the commands that need them pay.
    if options.command == "testcard":
        from forge import build
        from forge.recipes import TESTCARD

        config = dataclasses.replace(TESTCARD, threads=options.threads, steps=options.steps or TESTCARD.steps)
        build.testcard(config, options.run, options.out)
    elif options.command == "photos":
        from forge import build
        from forge.recipes import PHOTOS

        config = dataclasses.replace(PHOTOS, threads=options.threads, minutes=options.minutes or PHOTOS.minutes)
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
            export_only=options.export_only,
        )
    elif options.command == "pseudo":
        from forge import pseudo

        found = pseudo.look(options.model, options.labels, options.images, frozenset(options.classes.split(",")))
        pseudo.write(found, options.out)
    elif options.command == "judge":
        from forge import judge

        for path in options.models:
            print(judge.on_test_card(path, options.cards))
    return 0


if __name__ == "__main__":
    sys.exit(main())
