"""What `watch` yields: the daemon's messages, and what the client itself notices."""

from __future__ import annotations

from vigild.wire.messages import Detections, Event, Health, Heartbeat, Hello, Message, Watching


class Connected(Message, frozen=True, kw_only=True, tag="connected"):
    """The stream begins, or goes on after ConnectionLost."""

    hello: Hello
    policy: Watching
    """What the daemon will send."""


class ConnectionLost(Message, frozen=True, kw_only=True, tag="connection_lost"):
    """The stream is interrupted; the client keeps trying and yields Connected when it is back."""

    reason: str


class Silent(Message, frozen=True, kw_only=True, tag="silent"):
    """The daemon speaks, but one camera's heartbeat is missing: what it sees is not known."""

    camera: str
    silent_s: float


WatchEvent = Detections | Heartbeat | Health | Event | Connected | ConnectionLost | Silent
