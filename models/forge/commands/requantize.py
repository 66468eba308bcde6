"""`forge requantize`: an old model anew as signed int8."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forge.evaluation.coco import Annotated
    from forge.quantization.requantize import Requantised

SUFFIX = "_int8_per_channel.tflite"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, the pictures, how, and what to judge it on."""
    parser.add_argument("model", type=Path, help=".tflite of an SSD: uint8, int8, dynamic range, float16 or float32")
    parser.add_argument(
        "--calibrate", type=Path, required=True, metavar="FOLDER", help="pictures like those the cameras will see"
    )
    parser.add_argument("--pictures", type=int, default=40, help="how many of them calibrate; the others may judge")
    parser.add_argument("--out", type=Path, help=f"default: the model's name with {SUFFIX}, in this folder")
    parser.add_argument("--labels", type=Path, help="label file, if the model has none inside")
    parser.add_argument("--mean", type=float, help="the image is (p - mean) / std; default: what the model says")
    parser.add_argument("--std", type=float)
    parser.add_argument(
        "--method",
        default="percentile",
        help="of choosing the activations' ranges: percentile, min_max, mse, entropy, or file: keep those of a model"
        " that was quantised before",
    )
    parser.add_argument("--new-grid", action="store_true", help="round 8-bit weights anew, to finer steps")
    parser.add_argument("--int8-scores", action="store_true", help="the last steps of the scores in int8 as well")
    parser.add_argument(
        "--int8-stem", action="store_true", help="the first layers in int8, also where a dynamic-range file has floats"
    )
    parser.add_argument(
        "--correct-bias",
        action=argparse.BooleanOptionalAction,
        help="make up for the mean error of each channel (a minute or two); default: unless all was in 8 bits before",
    )
    parser.add_argument("--keep-float32", type=Path, metavar="FILE", help="write the float32 network in between too")
    parser.add_argument(
        "--evaluate", type=Path, action="append", default=[], metavar="FOLDER", help="judge before and after on this"
    )
    parser.add_argument(
        "--annotations", type=Path, action="append", default=[], metavar="FILE", help="COCO's, one for each --evaluate"
    )
    parser.add_argument("--rounds", type=int, default=0, help="of timing before and after, in turns; 0: none")


def run(options: argparse.Namespace) -> int:
    """Make it, judge it, say what became of it."""
    from forge.errors import ForgeError
    from forge.evaluation.coco import annotated_sets
    from forge.model.source import card_of, labels_of, open_source
    from forge.pictures import picture_files, read_for, spread
    from forge.progress import ProgressLine
    from forge.quantization.requantize import ALL_METHODS, Choice, requantize

    if options.method not in ALL_METHODS:
        raise ForgeError(f"there is no method {options.method!r}; there are {', '.join(ALL_METHODS)}")
    mean, std = ((value,) * 3 if value is not None else None for value in (options.mean, options.std))
    source = open_source(options.model, mean, std)
    labels = labels_of(source, options.labels)
    card = card_of(source, f"{source.path.name}, {source.spec.dtype}, made anew as signed int8 by forge requantize.")
    files = spread(picture_files(options.calibrate), options.pictures)
    # Before the work: a wrong name among these should not cost a minute.
    used = frozenset(path.name for path in files)
    judged = annotated_sets(options.evaluate, options.annotations, {options.calibrate.resolve(): used})
    out = options.out or Path(options.model.stem + SUFFIX)
    choice = Choice(
        method=options.method,
        old_grid=not options.new_grid,
        float_scores=not options.int8_scores,
        float_stem=not options.int8_stem,
        correct_bias=options.correct_bias,
    )
    progress = ProgressLine()
    made = requantize(source, read_for(source, files), choice, progress)
    made.write(made.data, out, labels, card)
    print(f"{options.model}: {options.model.stat().st_size} bytes, {source.spec.dtype}")
    print(f"{out}: {out.stat().st_size} bytes, signed int8, weights per channel")
    for note in made.notes:
        print(f"  {note}")
    print(f"  labels: {f'{len(labels)} inside' if labels else 'none; bring a label file with --labels'}")
    if options.keep_float32:
        made.write(made.float32, options.keep_float32, labels, card)
    if judged:
        _judge(options, made, out, judged, labels)
    if options.rounds:
        _time(options.model, out, options.rounds, files[0])
    return 0


def _judge(
    options: argparse.Namespace,
    made: Requantised,
    out: Path,
    judged: list[tuple[Path, Annotated]],
    labels: tuple[str, ...] | None,
) -> None:
    """AP of the original, of float32 and of int8."""
    import tempfile

    from forge.evaluation.evaluate import Runner, on_coco
    from forge.progress import ProgressLine

    progress = ProgressLine()
    print(f"COCO AP on {len(judged)} pictures that did not calibrate:")
    with tempfile.TemporaryDirectory() as scratch:
        between = Path(scratch) / "float32.tflite"
        between.write_bytes(made.float32)
        before = 0.0
        for name, path in (("before", options.model), ("float32", between), ("int8", out)):
            runner = Runner(path, list(labels) if labels else None, mean=made.spec.mean, std=made.spec.std)
            ap, ap50, _ = on_coco(runner, judged, progress)["all"]
            before = ap if name == "before" else before
            print(f"  {name:8} AP {ap:.4f} ({ap - before:+.4f}), AP50 {ap50:.4f}")


def _time(before: Path, after: Path, rounds: int, picture: Path) -> None:
    from forge.evaluation.latency import measure

    old, new = measure([before, after], "litert", rounds, picture)
    if old.failure or new.failure:
        print(f"not timed: {old.failure or new.failure}")
        return
    print(
        f"invoke, one thread, {new.runtime}: {old.min_ms:.2f} ms before, {new.min_ms:.2f} ms after,"
        f" {old.min_ms / new.min_ms:.2f} times faster"
    )
