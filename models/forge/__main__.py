"""The commands of forge: `python -m forge COMMAND --help`.

Each is a module of `forge.commands` with `add_arguments(parser)` and `run(options) -> int`.
Exit status: 0 done, 1 it did not work (one sentence says why), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import sys

from forge.errors import ForgeError

COMMANDS = {
    "testcard": "Train the test-card model and export it: about 20 minutes on two free cores.",
    "photos": "Train the detector of people and vehicles, and export it: hours.",
    "pseudo": "Run a COCO model over pictures and write down what it sees.",
    "requantize": "Make an old model, float or quantised, anew as signed int8, which runs fastest.",
    "evaluate": "Run models over annotated pictures and print their COCO AP.",
    "thresholds": "Find the score from which each class of a model is worth reporting, and what that costs.",
    "variants": "Make every tensor setting of a network, judge and time them, and leave out what is spoilt.",
    "prune": "Keep only some classes of a network, as float32, and show what that saves.",
    "frames": "Take still pictures from videos, for a COCO model to label.",
    "weights": "Write a checkpoint's weights for another framework.",
    "pytorch": "Any PyTorch module to a float32 .tflite with NHWC input, compared with the module.",
    "tensorflow": "As variants, from Keras or a SavedModel by TensorFlow's converter; needs make forge-setup-tf.",
    "judge": "Run a model over the test card and report what it finds, misses and invents.",
}
"""Name of the command and of its module, and its line in the help."""

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it


def main(argv: list[str] | None = None) -> int:
    """Run one command; its exit status."""
    parser = argparse.ArgumentParser(prog="forge", description="Train, convert and judge the models vigild ships.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help_text in COMMANDS.items():
        module = importlib.import_module(f"forge.commands.{name}")
        subparser = commands.add_parser(name, help=help_text, description=help_text)
        module.add_arguments(subparser)
        subparser.set_defaults(command_run=module.run)
    options = parser.parse_args(argv)
    try:
        return int(options.command_run(options))
    except ForgeError as error:
        print(f"forge: {error}", file=sys.stderr)
        return EXIT_FAILED
    except OSError as error:
        if error.filename is None:
            raise
        print(f"forge: {error.filename} cannot be read or written: {error.strerror}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
