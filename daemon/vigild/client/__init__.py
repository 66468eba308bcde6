"""Connect to a vigild daemon.

    from vigild.client import Client, Detections

    for event in Client().watch(labels=["person"]):
        if isinstance(event, Detections):
            print(event.camera, [(d.label, d.score, d.box) for d in event.detections])

`Client` blocks, `AsyncClient` is for asyncio; they differ in nothing else. `watch` reconnects by itself
and says so (`ConnectionLost`, `Connected`). Standard library and msgspec only.

`sync`, `aio`  the two clients
`session`      what both do with bytes: requests, answers, reconnecting (sans-I/O)
`events`       what `watch` gives
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vigild.client.events import Connected, ConnectionLost, Silent, WatchEvent
from vigild.client.session import ProtocolError, Refused
from vigild.client.sync import Client
from vigild.wire.address import NoDaemon
from vigild.wire.messages import (
    Detection,
    Detections,
    Event,
    Health,
    Heartbeat,
    Hello,
    SnapshotAnswer,
    StatusAnswer,
    Watching,
)

if TYPE_CHECKING:
    from vigild.client.aio import AsyncClient

__all__ = [
    "AsyncClient",
    "Client",
    "Connected",
    "ConnectionLost",
    "Detection",
    "Detections",
    "Event",
    "Health",
    "Heartbeat",
    "Hello",
    "NoDaemon",
    "ProtocolError",
    "Refused",
    "Silent",
    "SnapshotAnswer",
    "StatusAnswer",
    "WatchEvent",
    "Watching",
]


def __getattr__(name: str) -> Any:
    # asyncio takes longer to import than all the rest, and most programs here do not use it.
    if name == "AsyncClient":
        from vigild.client.aio import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
