"""One board over ssh: commands, with one connection kept for all of them, and new ones where that is the point.

    with Remote("pi@10.0.0.5") as board:
        board.run("sudo -n true")
        board.run("...", fresh=True)        # over a connection of its own

`VIGILD_SSH` may hold another ssh, with its options (`ssh -F my_config -p 2222`). No secret is ever on a command line.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from cross.errors import CrossError

CONNECT_S = 10
NOT_CONNECTED = 255
"""ssh's own status: nothing is known of the command's."""

ALIVE_S = 5
"""Three unanswered questions of this distance, and ssh gives a dead connection up."""


class Said(NamedTuple):
    status: int
    output: str


class Remote:
    def __init__(self, host: str) -> None:
        if not host or host.startswith("-") or any(character.isspace() for character in host):
            raise CrossError(f"HOST is {host!r}; user@board is expected")
        self.host = host
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Remote:
        # Short: a Unix socket's path has 108 bytes.
        self._folder = tempfile.TemporaryDirectory(prefix="vgd-", dir="/tmp")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run([*self._ssh(fresh=False), "-O", "exit", self.host], capture_output=True, check=False)
        if self._folder is not None:
            self._folder.cleanup()

    def _ssh(self, fresh: bool) -> list[str]:
        options = ["BatchMode=yes", f"ConnectTimeout={CONNECT_S}"]
        options += [f"ServerAliveInterval={ALIVE_S}", "ServerAliveCountMax=3"]
        if fresh or self._folder is None:
            options += ["ControlMaster=no", "ControlPath=none"]
        else:
            options += ["ControlMaster=auto", f"ControlPath={Path(self._folder.name) / 's'}", "ControlPersist=30"]
        command = shlex.split(os.environ.get("VIGILD_SSH", "ssh"))
        for option in options:
            command += ["-o", option]
        return command

    def run(
        self,
        command: str,
        stdin: Iterable[bytes] = (),
        fresh: bool = False,
        line: Callable[[str], None] = lambda text: None,
    ) -> Said:
        """A shell command there; `line` is given each line of its output as it comes."""
        process = subprocess.Popen(
            [*self._ssh(fresh), self.host, command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            try:
                for piece in stdin:
                    process.stdin.write(piece)
                process.stdin.close()
            except BrokenPipeError:
                pass  # it ended early, and says why
            said = []
            for raw in process.stdout:
                text = raw.decode(errors="replace").rstrip("\r\n")
                said.append(text)
                line(text)
            return Said(process.wait(), "\n".join(said))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdout.close()
