"""Collects the gate's facts on the board: systemd, the journal, the socket, and a trial with the test card.

    watch = Observer(layout, system, release)
    facts = watch.look(seconds)        # again and again; what was seen once stays seen

One observer belongs to one release that was switched to; it is closed before the next switch.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path

from .disk import Disk
from .gate import Facts, new_errors
from .layout import UNIT, Layout
from .system import System
from .talk import Talk

ERRORS_BEFORE = 300
"""So many of the last error lines before the switch tell which kinds of errors this board has anyway."""

_ERR = "3"


class Baseline:
    """What was true before the switch; kept below /run, where it does not outlive the start of the board it is of."""

    def __init__(self, cursor: str = "", errors: tuple[str, ...] = (), invocation: str = "") -> None:
        self.cursor, self.errors, self.invocation = cursor, errors, invocation

    @classmethod
    def take(cls, layout: Layout, system: System, disk: Disk) -> Baseline:
        last = system.journal(UNIT, "-n", "1")
        cursor = str(last[-1].get("__CURSOR", "")) if last else ""
        before = system.journal(UNIT, "--priority", _ERR, "-n", str(ERRORS_BEFORE))
        errors = tuple(str(entry.get("MESSAGE", "")) for entry in before)
        taken = cls(cursor, errors, system.show(UNIT).get("InvocationID", ""))
        disk.folder(layout.run)
        disk.write(layout.run / "baseline.json", json.dumps(vars(taken)).encode())
        return taken

    @classmethod
    def load(cls, layout: Layout) -> Baseline:
        """After a start of the board there is none: then everything since that start counts."""
        try:
            kept = json.loads((layout.run / "baseline.json").read_bytes())
            return cls(str(kept["cursor"]), tuple(kept["errors"]), str(kept["invocation"]))
        except (OSError, ValueError, KeyError):
            return cls()


class Observer:
    def __init__(self, layout: Layout, system: System, release: str, baseline: Baseline) -> None:
        self._layout, self._system, self._release, self._baseline = layout, system, release, baseline
        self._talk: Talk | None = None
        self._trial = TestCardTrial(layout, release)
        self._pid = 0
        self._beats: set[str] = set()
        self._restarts_at_start: int | None = None
        self._greeted = False
        self._fault = ""

    def close(self) -> None:
        self._drop_talk()
        self._trial.close()

    def look(self, seconds: float) -> Facts:
        """Wait up to `seconds` for something to come from the daemon, then say what is known."""
        shown = self._system.show(UNIT)
        pid = _whole(shown.get("MainPID"))
        if pid != self._pid:
            self._pid, self._greeted = pid, False
            self._beats.clear()
            self._drop_talk()
        release = self._system.release_of(pid, self._layout.releases) if pid else None
        restarts = _whole(shown.get("NRestarts"))
        if self._restarts_at_start is None or restarts < self._restarts_at_start:
            self._restarts_at_start = restarts
        beat = shown.get("WatchdogTimestampMonotonic", "0")
        if release == self._release and beat != "0":
            self._beats.add(beat)
        self._converse(release, seconds)
        talk = self._talk
        frames, source = self._frames(talk)
        memory = (talk.status or {}).get("health", {}).get("memory", {}) if talk else {}
        health = (talk.status or {}).get("health", {}) if talk else {}
        return Facts(
            active_state=shown.get("ActiveState", ""),
            sub_state=shown.get("SubState", ""),
            result=shown.get("Result", ""),
            crashes=restarts - self._restarts_at_start,
            release=release,
            up_s=_up_s(shown) if release == self._release else 0.0,
            status_text=shown.get("StatusText", ""),
            watchdog_on=shown.get("WatchdogUSec", "0") not in ("0", "infinity", ""),
            beats=len(self._beats),
            frames=frames,
            frames_from=source,
            cameras=dict(talk.cameras) if talk else {},
            greeted=self._greeted,
            greeting_fault=self._fault,
            new_errors=self._errors(),
            memory_bytes=memory.get("used_bytes"),
            memory_budget_bytes=memory.get("budget_bytes"),
            celsius=max(health.get("temperatures", {}).values(), default=None),
            celsius_budget=health.get("temperature_budget"),
            returned=self._returned(),
        )

    def _converse(self, release: str | None, seconds: float) -> None:
        if release != self._release:
            self._fault = "the new release does not run"
            self._system.sleep(seconds)
            return
        if self._talk is not None and self._talk.lost:
            self._fault = self._talk.lost
            self._drop_talk()
        if self._talk is None:
            try:
                self._talk = Talk(self._layout.root / "run/vigild/vigild.sock")
            except OSError as error:
                self._fault = f"the socket cannot be connected to: {error.strerror or error}"
                self._system.sleep(seconds)
                return
        else:
            self._talk.ask_status()
        before = time.monotonic()
        self._talk.listen(seconds)
        self._system.sleep(max(0.0, seconds - (time.monotonic() - before)))
        if self._talk.hello is not None and self._talk.status is not None:
            self._greeted = True

    def _drop_talk(self) -> None:
        if self._talk is not None:
            self._talk.close()
            self._talk = None

    def _frames(self, talk: Talk | None) -> tuple[tuple[int, ...], str]:
        """Of the camera that moved most; of a test card where the daemon runs but no camera is there."""
        cameras = talk.frames if talk else {}
        best = max(cameras, key=lambda name: len(set(cameras[name])), default=None)
        if best is not None:
            return tuple(cameras[best]), f"camera {best}"
        # With the model of this board's configuration in force: the trial runs without that file, because a second
        # daemon must not open its cameras and sinks again.
        modelled = talk is not None and talk.status is not None and "model" in talk.status
        if talk is not None and modelled and talk.cameras and set(talk.cameras.values()) == {"no_frame"}:
            return self._trial.frames(), "test card, because no camera gives pictures"
        return (), ""

    def _errors(self) -> tuple[str, ...]:
        """Of the daemon itself since the switch, not of the process that was stopped for it."""
        after = [f"--after-cursor={self._baseline.cursor}"] if self._baseline.cursor else ["--boot"]
        since = [
            str(entry.get("MESSAGE", ""))
            for entry in self._system.journal(UNIT, "--priority", _ERR, *after)
            if entry.get("_SYSTEMD_INVOCATION_ID") not in (None, self._baseline.invocation)
        ]
        return new_errors(self._baseline.errors, since)

    def _returned(self) -> bool:
        try:
            return self._layout.returned.read_text().strip() == self._release
        except OSError:
            return False


class TestCardTrial:
    """The release once more, beside the service, with the test card for a camera: it can see, if it had something."""

    __test__ = False  # not a test of pytest

    def __init__(self, layout: Layout, release: str) -> None:
        self._layout, self._release = layout, release
        self._process: subprocess.Popen[bytes] | None = None
        self._talk: Talk | None = None

    def frames(self) -> tuple[int, ...]:
        if self._process is None:
            self._start()
        if self._talk is None:
            with contextlib.suppress(OSError):
                self._talk = Talk(self._folder / "trial.sock")
        if self._talk is None:
            return ()
        self._talk.listen(0.2)
        return tuple(next(iter(self._talk.frames.values()), []))

    @property
    def _folder(self) -> Path:
        return self._layout.run / "trial"

    def _start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        user: str | None = None
        with contextlib.suppress(KeyError):
            pwd.getpwnam("vigild")
            user = "vigild"
        if user and os.geteuid() == 0:
            os.chown(self._folder, pwd.getpwnam(user).pw_uid, -1)
        else:
            user = None
        program = self._layout.release(self._release) / "bin/vigild"
        self._process = subprocess.Popen(
            [str(program), "run", "--quiet", "--source", "testcard", "--socket", str(self._folder / "trial.sock")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=user,
            start_new_session=True,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        )

    def close(self) -> None:
        if self._talk is not None:
            self._talk.close()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            shutil.rmtree(self._folder, ignore_errors=True)  # it had no time to take its socket away
        self._talk = self._process = None


def _up_s(shown: dict[str, str]) -> float:
    started_us = _whole(shown.get("ExecMainStartTimestampMonotonic"))
    return time.monotonic() - started_us / 1e6 if started_us else 0.0


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
