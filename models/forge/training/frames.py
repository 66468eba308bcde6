"""Still pictures from videos, evenly spaced: neighbouring frames teach nothing new.

count = save_frames(Path("street.mp4"), Path("frames"), most=100)
"""

from __future__ import annotations

from pathlib import Path

import cv2

from forge.errors import ForgeError

_LONGER_SIDE_PX = 480
_JPEG_QUALITY = 92


def save_frames(video: Path, folder: Path, most: int) -> int:
    """Write at most `most` frames to folder/VIDEO_NUMBER.jpg, longer side <= 480 px; how many were written."""
    if most < 1:
        raise ForgeError(f"{most} pictures of each video were asked for; give 1 or more with --most")
    capture = cv2.VideoCapture(str(video))
    total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    if total < 1:
        raise ForgeError(f"{video} is no video that OpenCV can read; give files such as .mp4 or .avi")
    folder.mkdir(parents=True, exist_ok=True)
    every = -(-total // most)
    written = number = 0
    while True:
        there, image = capture.read()
        if not there:
            return written
        if number % every == 0:
            scale = min(1.0, _LONGER_SIDE_PX / max(image.shape[:2]))
            small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            path = folder / f"{video.stem}_{number:05d}.jpg"
            cv2.imwrite(str(path), small, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
            written += 1
        number += 1
