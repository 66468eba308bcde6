"""What systemd is told of the daemon, and what it hands over.

    service = Service(os.environ)
    service.tick(time.monotonic_ns(), Progress(results=hub.results), status_line(figures))
    service.reloading(time.monotonic_ns()); ...; service.reloaded("2 cameras changed")
    service.stopping()

The protocol is a datagram of text to $NOTIFY_SOCKET (sd_notify(3)). `Herald` decides what is to be said and when, from
values and a clock it is given; `Service` sends it, and says again what systemd must not miss.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from vigild import plain
from vigild.datagrams import Datagrams

LISTEN_FDS_START = 3  # sd_listen_fds(3)

IDLE_BEFORE_READY_NS = 5_000_000_000
"""A camera that opens at once should be ready with its first detection, not without it."""

STATUS_NS = 5_000_000_000
"""Between two status lines; each wakes systemd."""

PINGS_PER_TIMEOUT = 4
"""sd_watchdog_enabled(3) asks for two."""

SLACK_PERIODS = 3.0
"""Results may be this many of their periods late before they are missing; `stale` is told at the same."""

MAX_STATUS_CHARACTERS = 300
MAX_CAMERAS_NAMED = 4


class Progress(NamedTuple):
    """Whether the daemon does what it is for."""

    results: int
    """Frames inferred since the start, of all cameras."""
    idle: str | None = None
    """Why none is due, in the words that clients are told: every camera is lost, paused or ended. Else None."""
    repair: str | None = None
    """Why none can come just now, as clients are told: the detector is being started again. Else None."""
    period_s: float = 0.0
    """Between two results, as far as that is wanted: 10.0 where all cameras together are capped at 0.1 frames/s."""


class Herald:
    """What is to be said, and when. Returns messages; sends nothing and knows no clock."""

    def __init__(self, watchdog_us: int | None) -> None:
        self.ready = False
        self._watchdog_ns = watchdog_us * 1000 if watchdog_us else None
        self._idle_since_ns: int | None = None
        self._pinged_ns: int | None = None
        self._results_at_ping = 0
        self._results = 0
        self._advanced_ns: int | None = None
        self._status = ""
        self._status_ns: int | None = None

    def ready_message(self, now_ns: int, progress: Progress, status: str) -> str | None:
        """READY=1, once: with the first result, or with the reason why the daemon serves without one."""
        if self.ready:
            return None
        if progress.idle is None:
            self._idle_since_ns = None
        elif self._idle_since_ns is None:
            self._idle_since_ns = now_ns
        if progress.results > 0:
            said = status
        elif self._idle_since_ns is not None and now_ns - self._idle_since_ns >= IDLE_BEFORE_READY_NS:
            said = one_line(f"no detections yet: {progress.idle}; {status}")
        else:
            return None
        self.ready = True
        return "READY=1\n" + self._status_message(now_ns, said)

    def status_message(self, now_ns: int, status: str) -> str | None:
        """STATUS=, when it has changed and the last one is some time ago."""
        if self._status_ns is not None and now_ns - self._status_ns < STATUS_NS:
            return None
        return self._status_message(now_ns, status) if one_line(status) != self._status else None

    def _status_message(self, now_ns: int, status: str) -> str:
        self._status, self._status_ns = one_line(status), now_ns
        return f"STATUS={self._status}"

    def watchdog_message(self, now_ns: int, progress: Progress) -> str | None:
        """WATCHDOG=1, when it is time and results came since the last one, or there is a reason that they did not.

        A ping from a timer would prove nothing. `pinged` must be called when it was really sent.
        """
        if self._watchdog_ns is None:
            return None
        if self._advanced_ns is None or progress.results != self._results:
            self._results, self._advanced_ns = progress.results, now_ns
        if self._pinged_ns is not None and now_ns - self._pinged_ns < self._watchdog_ns // PINGS_PER_TIMEOUT:
            return None
        excused = progress.idle is not None or progress.repair is not None
        # A rate that is capped low has long pauses that nobody need excuse.
        due_ns = self._advanced_ns + int(progress.period_s * SLACK_PERIODS * 1e9)
        if excused or progress.results != self._results_at_ping or now_ns <= due_ns:
            return "WATCHDOG=1"
        return None

    def pinged(self, now_ns: int) -> None:
        self._pinged_ns, self._results_at_ping = now_ns, self._results

    def reloading_message(self, now_ns: int) -> str:
        """The time belongs into the same datagram: without it `systemctl reload` hangs from systemd 257 on."""
        return f"RELOADING=1\nMONOTONIC_USEC={now_ns // 1000}"

    def reloaded_message(self, now_ns: int, status: str) -> str:
        """Ends a reload; systemd knows no other end."""
        return "READY=1\n" + self._status_message(now_ns, status)


class Service:
    """Tells systemd, where there is one ($NOTIFY_SOCKET). Never waits and never fails."""

    def __init__(self, environ: Mapping[str, str], datagrams: Datagrams | None = None) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._datagrams = datagrams or (Datagrams(address) if address else None)
        self.herald = Herald(watchdog_timeout_us(environ) if self._datagrams else None)
        self._owed: deque[str] = deque()
        """What systemd must not miss and has not taken yet, oldest first."""

    @property
    def wanted(self) -> bool:
        """Whether anybody is to be told anything."""
        return self._datagrams is not None

    @property
    def dropped(self) -> int:
        """Messages that systemd did not take, since the start; those that it must not miss were sent again."""
        return self._datagrams.dropped if self._datagrams else 0

    def tick(self, now_ns: int, progress: Progress, status: str) -> None:
        """Call several times a second. `now_ns`: CLOCK_MONOTONIC; `status`: see `status_line`."""
        herald = self.herald
        if self._datagrams is None:
            return
        if message := herald.ready_message(now_ns, progress, status):
            self._owed.append(message)
        self._deliver()
        if not self._owed and (message := herald.status_message(now_ns, status)):
            self._send(message)
        if (message := herald.watchdog_message(now_ns, progress)) and self._send(message):
            herald.pinged(now_ns)

    def reloading(self, now_ns: int) -> None:
        """Only of a daemon that is ready: another is still starting, and its reload part of that."""
        if self.herald.ready:
            self._owe(self.herald.reloading_message(now_ns))

    def reloaded(self, now_ns: int, status: str) -> None:
        """Also after a reload that was refused; `status` says what came of it."""
        if self.herald.ready:
            self._owe(self.herald.reloaded_message(now_ns, status))

    def stopping(self) -> None:
        self._owe("STOPPING=1")

    def _owe(self, message: str) -> None:
        if self._datagrams is not None:
            self._owed.append(message)
            self._deliver()

    def _deliver(self) -> None:
        while self._owed and self._send(self._owed[0]):
            self._owed.popleft()

    def _send(self, message: str) -> bool:
        return self._datagrams is not None and self._datagrams.send(message.encode("utf-8", "replace"))


class Figures(NamedTuple):
    """What the status line says."""

    cameras: Mapping[str, float | str]
    """Inferred frames per second, or in a word why there are none ("paused", "no_frame")."""
    celsius: float | None
    """The hottest sensor."""
    used_bytes: int
    budget_bytes: int
    operating_point: str
    """Variant, delegate and what else the governor moves; empty while no model is loaded."""


def status_line(figures: Figures) -> str:
    """ "front 14.9 fps, back no_frame; 61 °C; 142 of 256 MiB; people_vehicles_ssd int8-256 on xnnpack"."""
    parts = [_rates(figures.cameras)]
    if figures.celsius is not None:
        parts.append(f"{figures.celsius:.0f} °C")
    parts.append(f"{figures.used_bytes / 2**20:.0f} of {figures.budget_bytes / 2**20:.0f} MiB")
    parts.append(figures.operating_point or "no model loaded")
    return "; ".join(parts)


def _rates(cameras: Mapping[str, float | str]) -> str:
    if not cameras:
        return "no camera"
    if len(cameras) <= MAX_CAMERAS_NAMED:
        return ", ".join(
            f"{name} {value}" if isinstance(value, str) else f"{name} {value:.1f} fps"
            for name, value in cameras.items()
        )
    rates = [value for value in cameras.values() if not isinstance(value, str)]
    return f"{len(rates)} of {len(cameras)} cameras, {sum(rates):.1f} fps together"


def one_line(text: str) -> str:
    """As a status can be shown: a newline would begin another assignment of the protocol."""
    text = " ".join(plain.name(text).split())
    return text if len(text) <= MAX_STATUS_CHARACTERS else text[: MAX_STATUS_CHARACTERS - 3] + "..."


def watchdog_timeout_us(environ: Mapping[str, str]) -> int | None:
    """WatchdogSec= in microseconds, or None when there is no watchdog, or it is not for this process."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) if text.isascii() and text.isdecimal() and int(text) > 0 else None


def passed_sockets() -> list[socket.socket]:
    """The listening Unix stream sockets of a .socket unit (LISTEN_FDS), each used as it is."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    try:
        count = int(os.environ.get("LISTEN_FDS", "0"))
    except ValueError:
        return []
    sockets = []
    for fd in range(LISTEN_FDS_START, LISTEN_FDS_START + count):
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
        if sock.family == socket.AF_UNIX and sock.type == socket.SOCK_STREAM:
            sockets.append(sock)
        else:
            sock.detach()
    return sockets
