"""`forge frames`: still pictures from videos, to be pseudo-labelled."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The videos, and where the pictures go."""
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--most", type=int, default=100, help="pictures of each video")


def run(options: argparse.Namespace) -> int:
    """Write the pictures, and say how many."""
    from forge.training.frames import save_frames

    for video in options.videos:
        print(f"{video.name}: {save_frames(video, options.out, options.most)} pictures")
    return 0
