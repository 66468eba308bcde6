"""A daemon that runs while vigild tune measures would slow everything down, and hold an Edge TPU.

daemon = find_daemon(config.daemon, socket)         # of vigild.doctor.service
with paused(daemon.path): ...
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from vigild.client import Client


@contextlib.contextmanager
def paused(socket: str) -> Iterator[None]:
    """The daemon does not look meanwhile; cameras that were paused before stay so.

    Raises what `Client` raises: Refused for somebody who may not.
    """
    client = Client(socket)
    cameras = client.status().health.cameras
    looking = [name for name, camera in cameras.items() if camera.status != "paused"]
    try:
        for name in looking:
            client.pause(name)
        yield
    finally:
        for name in looking:
            client.resume(name)
