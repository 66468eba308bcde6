"""`vigild snapshot -o front.jpg`: the last frame that was looked at."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vigild import files, terminal
from vigild.cli.talk import add_socket_argument, talk
from vigild.client import Client


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help='where to write the JPEG; "-" for stdout')
    parser.add_argument("--camera", metavar="NAME", help="which camera; may be left out when there is one")
    parser.add_argument("--annotate", action="store_true", help="draw the frame's boxes and labels")
    add_socket_argument(parser)


def run(args: argparse.Namespace) -> int:
    def take() -> None:
        answer = Client(args.socket).snapshot(args.camera, args.annotate)
        if args.output == "-":
            sys.stdout.buffer.write(answer.picture)
            return
        files.write_whole(Path(args.output), answer.picture)
        width, height = answer.size
        print(terminal.calm(f"{args.output}: camera {answer.camera}, frame {answer.frame}, {width}x{height}"))

    return talk(take)
