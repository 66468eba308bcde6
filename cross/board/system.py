"""systemd and the kernel, as far as a deploy asks them; tests put another one in its place."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .journal import Moment

COMMAND_S = 90
"""systemctl restart waits for TimeoutStartSec= of the unit at most; what takes longer is judged by the gate."""


class Finished(NamedTuple):
    status: int
    output: str
    """Standard output and error."""


class System:
    """The real one."""

    def run(self, command: Sequence[str], timeout_s: float = COMMAND_S, stdin: bytes | None = None) -> Finished:
        """Never raises for the command's own failure; a missing program is status 127, a late one 124."""
        try:
            done = subprocess.run(
                list(command),
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                check=False,
                env={**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""},
            )
        except FileNotFoundError:
            return Finished(127, f"{command[0]} is not on this board")
        except subprocess.TimeoutExpired as late:
            output = late.stdout.decode(errors="replace") if isinstance(late.stdout, bytes) else ""
            return Finished(124, f"{output}{command[0]} did not end within {timeout_s:g} s")
        return Finished(done.returncode, done.stdout.decode(errors="replace"))

    def now(self) -> Moment:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return Moment(boot, time.clock_gettime_ns(time.CLOCK_BOOTTIME))

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def show(self, unit: str) -> dict[str, str]:
        """Properties of a unit, by systemd's names."""
        names = (
            "LoadState,ActiveState,SubState,Result,NRestarts,MainPID,StatusText,WatchdogUSec,"
            "WatchdogTimestampMonotonic,ExecMainStartTimestampMonotonic,InvocationID,UnitFileState"
        )
        output = self.run(["systemctl", "show", unit, f"--property={names}"]).output
        return dict(line.split("=", 1) for line in output.splitlines() if "=" in line)

    def journal(self, unit: str, *more: str) -> list[dict[str, Any]]:
        """Entries of a unit as journalctl gives them; a line that is no JSON is left out."""
        output = self.run(["journalctl", "--unit", unit, "--output=json", "--no-pager", *more]).output
        entries = []
        for line in output.splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                entries.append(entry)
        return entries

    def release_of(self, pid: int, releases: Path) -> str | None:
        """The release that a process runs from: its interpreter is .../releases/ID/venv/bin/python."""
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return None
        prefix = f"{releases}/".encode()
        for word in words:
            if word.startswith(prefix):
                return word[len(prefix) :].split(b"/")[0].decode(errors="replace")
        return None
