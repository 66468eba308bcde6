"""`vigild watch`: see what the daemon sees, a line a frame.

12:01:02.345  front     person 0.87  dog 0.55
12:01:04.000  front     no_frame (was ok)
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from datetime import datetime

from vigild import terminal
from vigild.cli.talk import add_socket_argument, talk
from vigild.client import (
    Client,
    Connected,
    ConnectionLost,
    Detections,
    Event,
    Health,
    Heartbeat,
    Silent,
    WatchEvent,
)
from vigild.terminal import BOLD, DIM, GREEN, RED, STATUS_COLORS, YELLOW, Screen
from vigild.wire.framing import encode_line
from vigild.wire.policy import Selection, detections_line, detections_tail

TOPICS = ("detections", "health", "event")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--camera", action="append", metavar="NAME", help="only this camera; may be repeated")
    parser.add_argument("--label", action="append", metavar="LABEL", help="only this label; may be repeated")
    parser.add_argument("--min-score", type=float, metavar="S", help="only detections of at least this score, 0..1")
    parser.add_argument("--max-fps", type=float, metavar="F", help="at most so many lines a second per camera")
    parser.add_argument("--empty", action="store_true", help="also frames in which nothing is seen")
    parser.add_argument(
        "--events",
        type=_topics,
        metavar="LIST",
        help="some of detections,health,event (default: detections,event; with --json all)",
    )
    parser.add_argument(
        "--json", action="store_true", help="JSON, an object a line, as on the socket, for other programs"
    )
    parser.add_argument("-n", "--count", type=int, metavar="N", help="stop after N lines of detections")
    parser.add_argument("--wait", action="store_true", help="wait for a daemon that does not run yet")
    add_socket_argument(parser)


def run(args: argparse.Namespace) -> int:
    events = args.events
    if events is None:
        events = list(TOPICS) if args.json else ["detections", "event"]
    stream = Client(args.socket).watch(
        cameras=args.camera,
        labels=args.label,
        min_score=args.min_score,
        max_fps=args.max_fps,
        events=events,
        empty=args.empty,
        wait=args.wait,
    )

    def show() -> None:
        people = None if args.json else Lines(Screen.of(sys.stdout))
        for event in _first(stream, args.count):
            if people is None:
                sys.stdout.write(json_line(event).decode())
            else:
                people.screen = Screen.of(sys.stdout)  # the window may have changed
                for line in people.lines(event):
                    print(line)
            sys.stdout.flush()

    return talk(show)


def json_line(event: WatchEvent) -> bytes:
    """The event as it came over the socket; what the client itself noticed in the same form."""
    if isinstance(event, Detections):
        tail = detections_tail(event, Selection(empty=True))
        assert tail is not None  # nothing is filtered here
        return detections_line(tail, event.seq, event.dropped)
    return encode_line(event)


def _topics(text: str) -> list[str]:
    topics = [word for word in text.split(",") if word]
    for topic in topics:
        if topic not in TOPICS:
            raise argparse.ArgumentTypeError(f'there is no "{topic}"; expected some of {",".join(TOPICS)}')
    return topics


def _first(stream: Iterator[WatchEvent], count: int | None) -> Iterator[WatchEvent]:
    seen = 0
    for event in stream:
        yield event
        seen += isinstance(event, Detections)
        if count is not None and seen >= count:
            return


class Lines:
    """Events as lines for people, each within the screen's width; a status is shown when it changes."""

    def __init__(self, screen: Screen = Screen()) -> None:  # noqa: B008 - a tuple
        self.screen = screen
        self._status: dict[str, str] = {}
        self._width = 8
        """Of the column of camera names."""

    def lines(self, event: WatchEvent) -> Iterator[str]:
        """The lines for one event: none, one or two."""
        match event:
            case Detections():
                clock = _local(event.time)
                yield from self._status_line(clock, event.camera, event.status)
                found = "  ".join(f"{self._paint(d.label, BOLD)} {d.score:.2f}" for d in event.detections)
                more = self._paint("  and more", DIM) if event.truncated else ""
                file = self._paint(f"  {event.file}", DIM) if event.file else ""
                yield self._line(clock, event.camera, (found or self._paint("nothing", DIM)) + more + file)
            case Heartbeat():
                yield from self._status_line(_now(), event.camera, event.status)
            case Event():
                text = f"{event.kind}: {event.reason}" if event.reason else event.kind
                yield self._line(_local(event.time), event.camera or "-", self._paint(text, YELLOW))
            case Health():
                yield self._line(_local(event.time), "-", self._paint(_health(event), DIM))
            case Connected():
                yield self._connected(event)
            case ConnectionLost():
                self._status.clear()
                yield self._line(_now(), "-", self._paint(f"connection lost: {event.reason}; trying again", RED))
            case Silent():
                text = f"no heartbeat for {event.silent_s:.0f} s: what it sees is not known"
                yield self._line(_now(), event.camera, self._paint(text, RED))

    def _paint(self, text: str, color: str) -> str:
        return self.screen.paint(text, color)

    def _line(self, clock: str, camera: str, text: str) -> str:
        self._width = max(self._width, terminal.width(camera))
        return self.screen.fit(f"{self._paint(clock, DIM)}  {terminal.pad(camera, self._width)}  {text}")

    def _status_line(self, clock: str, camera: str, status: str) -> Iterator[str]:
        before = self._status.get(camera)
        self._status[camera] = status
        if before != status and not (before is None and status == "ok"):
            was = f" (was {before})" if before else ""
            yield self._line(clock, camera, self._paint(f"{status}{was}", STATUS_COLORS.get(status, RED)))

    def _connected(self, event: Connected) -> str:
        hello = event.hello
        model = f"model {hello.model.name} {hello.model.variant}" if hello.model else "no model loaded"
        cameras = ", ".join(camera.name for camera in hello.cameras) or "none"
        text = f"connected to vigild {hello.version}: {model}, cameras: {cameras}"
        return self._line(_now(), "-", self._paint(text, GREEN))


def _health(health: Health) -> str:
    rates = ", ".join(f"{name} {camera.inferred_fps:.1f} fps" for name, camera in health.cameras.items())
    hottest = max(health.temperatures.values(), default=None)
    parts = [rates, "" if hottest is None else f"{hottest:.1f} °C", f"{health.memory.used_bytes / 2**20:.0f} MiB"]
    return ", ".join(part for part in [*parts, *health.flags] if part)


def _now() -> str:
    return _clock(datetime.fromtimestamp(time.time()))


def _local(rfc3339: str) -> str:
    # Python 3.10 does not read the "Z".
    return _clock(datetime.fromisoformat(rfc3339.replace("Z", "+00:00")).astimezone())


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03}"
