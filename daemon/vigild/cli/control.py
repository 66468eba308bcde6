"""`vigild set | pause | resume | reload | swap`: give the running daemon an order.

    vigild set model.min_score 0.6
    vigild pause front
    vigild swap other.tflite --labels other.txt
    vigild swap coco_ssd_mobilenet_v1

One module for five commands: which one, is the last word of the parser's `prog`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import msgspec

from vigild import terminal
from vigild.cli.talk import add_socket_argument, talk
from vigild.client import Client
from vigild.config.names import is_model_file
from vigild.decoding import decoded

COMMANDS = ("set", "pause", "resume", "reload", "swap")

_SWAP_TEXTS = {
    "name": "the same as MODEL, for a name that looks like a file",
    "variant": "of a manifest entry",
    "labels": "label file, a line a class",
    "sha256": "refuse a file with another SHA-256",
    "runtime": "auto, litert or tflite-runtime",
    "delegate": "auto, edgetpu[:DEVICE], xnnpack, none or a path",
}
_FILES = ("path", "labels")
"""Made absolute: the daemon's folder is not ours."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    command = parser.prog.split()[-1]
    if command not in COMMANDS:
        raise ValueError(f'there is no order "{command}"; expected one of {", ".join(COMMANDS)}')
    parser.set_defaults(order=command)
    if command == "set":
        parser.add_argument("key", metavar="KEY", help="dotted, as model.min_score")
        parser.add_argument("value", metavar="VALUE", help='as in the file: 0.6, true, "75 °C", ["person"]')
    elif command in ("pause", "resume"):
        parser.add_argument("camera", nargs="?", metavar="CAMERA", help="default: all")
    elif command == "swap":
        parser.add_argument("model", nargs="?", metavar="MODEL", help="a .tflite file, or a name of the manifest")
        for name, text in _SWAP_TEXTS.items():
            parser.add_argument(f"--{name}", metavar=name.upper(), help=text)
        parser.add_argument("--threads", type=int, metavar="N", help="threads of the interpreter")
    add_socket_argument(parser)


def run(args: argparse.Namespace) -> int:
    client = Client(args.socket)

    def say(answer: str) -> None:
        print(terminal.calm(answer))

    def order() -> None:
        match args.order:
            case "set":
                say(client.set(args.key, parse_value(args.value)))
            case "pause":
                say(client.pause(args.camera))
            case "resume":
                say(client.resume(args.camera))
            case "reload":
                say(client.reload())
            case _:
                say(client.swap(**_model(args)))

    return talk(order)


def parse_value(text: str) -> Any:
    """A value as typed: JSON where it is JSON (numbers, true, lists), else the text itself."""
    try:
        return decoded(msgspec.json.decode, text)
    except msgspec.DecodeError:
        return text


def _model(args: argparse.Namespace) -> dict[str, Any]:
    given = {name: getattr(args, name) for name in (*_SWAP_TEXTS, "threads")}
    if args.model is not None:
        given["path" if is_model_file(args.model) else "name"] = args.model
    return {
        name: str(Path(value).absolute()) if name in _FILES else value
        for name, value in given.items()
        if value is not None
    }
