"""The source that a camera's configuration names.

source = make_source(config)
"""

from __future__ import annotations

from vigild.camera.sources.base import Source
from vigild.config.schema import CameraConfig
from vigild.config.source import SourceSpec, parse_source


def make_source(config: CameraConfig) -> Source:
    """A closed source. Raises vigild.config.source.SourceError. Each kind's libraries are imported when it is used."""
    parsed = parse_source(config.source)
    if parsed.kind == "testcard":
        from vigild.camera.sources.testcard_source import TestCardSource

        return TestCardSource(config.size, config.fps, live=config.pace == "live")
    if parsed.kind == "images":
        from vigild.camera.sources.images import ImagesSource

        return ImagesSource(parsed.target, config.fps)
    if parsed.kind == "file":
        from vigild.camera.sources.video import FileSource

        return FileSource(parsed.target, config.decode_threads)
    return _live_source(parsed, config)


def _live_source(parsed: SourceSpec, config: CameraConfig) -> Source:
    if parsed.kind == "rtsp":
        from vigild.camera.sources.video import StreamSource

        return StreamSource(parsed.filled(), config.decode_threads, config.open_timeout, config.read_timeout)
    if parsed.kind == "http":
        from vigild.camera.sources.http import HttpSource

        return HttpSource(parsed.filled(), config)
    if parsed.kind == "exec":
        from vigild.camera.sources.command import CommandSource

        return CommandSource(parsed.target, config)
    from vigild.camera.sources.v4l2 import V4l2Source

    return V4l2Source(parsed.target, config)
