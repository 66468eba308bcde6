"""The clips that are measured with, made with ffmpeg from the one test video and kept in a cache folder.

clips.source()    768x432 H.264, as it is (12 frames/s)
clips.live()      the same coded pictures at 30 frames/s
clips.full_hd()   1920x1080 H.264 (libx264 veryfast, its default quality and B frames), 30 frames/s
clips.mjpeg()     1280x720 MJPEG, 4:2:2 as cameras send it, 30 frames/s
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from system.harness import ASSETS, COCO_V1

FRAMES_PER_S = 30
MODEL = COCO_V1

_SOURCE = ASSETS / "videos/person-bicycle-car-detection.mp4"


class Missing(Exception):
    """Something that the benchmark needs is not there; the text says what to do."""


def source() -> Path:
    for path in (_SOURCE, MODEL):
        if not path.exists():
            raise Missing(f"{path} is not there; the benchmark runs on the shared test assets")
    return _SOURCE


def live(frames_per_s: int = FRAMES_PER_S) -> Path:
    """The same coded pictures at another rate."""
    stream = _made("stream.h264", "-i", str(source()), "-an", "-c", "copy", "-bsf:v", "h264_mp4toannexb")
    return _made(f"clip-{frames_per_s}fps.mp4", "-r", str(frames_per_s), "-i", str(stream), "-c", "copy")


def full_hd() -> Path:
    """1920x1080 H.264."""
    return _made(
        "clip-1080p.mp4", "-i", str(live()), "-vf", "scale=1920:1080", "-c:v", "libx264", "-preset", "veryfast"
    )


def mjpeg(frames_per_s: int = FRAMES_PER_S) -> Path:
    """1280x720 MJPEG."""
    return _made(
        f"clip-720p-mjpeg-{frames_per_s}fps.avi", "-i", str(live(frames_per_s)), "-vf", "scale=1280:720",
        "-c:v", "mjpeg", "-pix_fmt", "yuvj422p", "-q:v", "4", "-huffman", "default",
    )  # fmt: skip


def mjpeg_camera(frames_per_s: int = FRAMES_PER_S) -> str:
    """A source that gives the MJPEG clip for ever at its rate, as rpicam-vid would."""
    return f"exec:{_ffmpeg()} -nostdin -loglevel error -re -stream_loop -1 -i {mjpeg(frames_per_s)} -c copy -f mjpeg -"


def _ffmpeg() -> str:
    found = shutil.which("ffmpeg")
    if found is None:
        raise Missing("ffmpeg is not there; install it: sudo apt-get install ffmpeg")
    return found


def _made(name: str, *arguments: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vigild-bench"
    path = cache / name
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = cache / f"part-{os.getpid()}-{name}"
        try:
            command = [_ffmpeg(), "-nostdin", "-loglevel", "error", "-y", *arguments, str(part)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)
    return path
