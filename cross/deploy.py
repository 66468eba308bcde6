"""A bundle to one board, and the board's verdict.

    outcome = deploy(bundle, Job("pi@10.0.0.5"), say)

1. the board's tool goes over, and says whether the bundle is for such a board and which of its files it lacks;
2. those go over, are checked, installed, and the board begins to try the release: from here on it decides alone;
3. a new connection shows that the board can still be reached;
4. the verdict is waited for, over as many connections as it takes.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cross.board.package import DESCRIPTION, SIGNATURE, SUMS
from cross.board.setup import TOOL
from cross.bundle import SIGNERS, Bundle
from cross.errors import CrossError
from cross.remote import NOT_CONNECTED, Remote, Said

_SENT_TOOL = "/run/vigild-deploy/tool"
_TOOL = "/opt/vigild/vigild-deploy"
_PIECE_BYTES = 1 << 20

LOST_S = 120
"""Beyond the windows: how long a board that does not answer is asked again. It may be starting anew."""


@dataclass(frozen=True)
class Job:
    """What is done to one board."""

    host: str
    name: str = ""
    """For the table; the host where there is none."""
    window_s: int = 60
    configuration: Path | None = None
    """Laid down where the board has none."""

    @property
    def shown(self) -> str:
        return self.name or self.host


class Outcome(NamedTuple):
    board: str
    good: bool
    release: str
    """That was deployed, as far as it came to that."""
    detail: str
    seconds: float
    sent_bytes: int = 0


Say = Callable[[str], None]


def deploy(bundle: Bundle, job: Job, say: Say) -> Outcome:
    """Never raises for what is wrong with a board: one board's fault is not another's."""
    began = time.monotonic()
    sent = 0
    try:
        with Remote(job.host) as board:
            missing = _prepare(board, bundle, say)
            sent = sum(bundle.members[name].size for name in missing)
            say(f"sending {len(missing)} of {len(bundle.members)} files, {sent / 2**20:.1f} MiB")
            release = bundle.release_name()
            command = f"{_sudo(_SENT_TOOL)} receive --returning --window {job.window_s}"
            said = board.run(command, stdin=_stream(bundle, missing, job.configuration), line=say)
            _understood(said, job.host)
            good, detail = _confirm(board, release, job.window_s, say)
            return Outcome(job.shown, good, release, detail, time.monotonic() - began, sent)
    except (CrossError, OSError) as error:
        return Outcome(job.shown, False, "", str(error), time.monotonic() - began, sent)


def rollback(job: Job, say: Say) -> Outcome:
    """To the good release before, gated like a deploy."""
    began = time.monotonic()
    try:
        with Remote(job.host) as board:
            said = board.run(f"{_sudo(_TOOL)} rollback --returning --window {job.window_s}", line=say)
            _understood(said, job.host)
            release = next(line.split()[1] for line in said.output.splitlines() if line.startswith("release "))
            good, detail = _confirm(board, release, job.window_s, say)
            return Outcome(job.shown, good, release, detail, time.monotonic() - began)
    except (CrossError, OSError) as error:
        return Outcome(job.shown, False, "", str(error), time.monotonic() - began)


def ask(job: Job, arguments: str, say: Say = lambda text: None) -> str:
    """Run a command of the board's own tool; returns what it printed. Raises CrossError."""
    with Remote(job.host) as board:
        said = board.run(f"{_sudo(_TOOL)} {arguments}", line=say)
        _understood(said, job.host)
        return said.output


def _prepare(board: Remote, bundle: Bundle, say: Say) -> list[str]:
    """The tool goes over; returns the names of the files that have to follow."""
    hashes = " ".join(sorted({member.sha256 for member in bundle.members.values()}))
    script = (
        f"set -e; mkdir -p /run/vigild-deploy; cat > {_SENT_TOOL}.$$; mv {_SENT_TOOL}.$$ {_SENT_TOOL}; "
        f"echo {hashes} | python3 -I {_SENT_TOOL} missing --target {shlex.quote(json.dumps(bundle.target()))}"
    )
    said = board.run(f"sudo -n sh -c {shlex.quote(script)}", stdin=[bundle.read(TOOL)])
    _understood(said, board.host)
    lacking = set(said.output.split())
    names = {bundle.members[name].sha256: name for name in bundle.members}
    return [name for sha256, name in names.items() if sha256 in lacking]


def _stream(bundle: Bundle, missing: list[str], configuration: Path | None) -> Iterator[bytes]:
    """As cross/board/package.py reads it: a line `NAME SIZE`, the bytes, and `end 0`."""
    others = {SUMS: bundle.package.sums, SIGNATURE: bundle.package.signature, SIGNERS: bundle.signers}
    if configuration is not None:
        others["configuration"] = configuration.read_bytes()
    for name, data in others.items():
        if data is not None:
            yield f"{name} {len(data)}\n".encode() + data
    with bundle.path.open("rb") as file:
        # The description goes last: what tells of all the rest comes when that is there.
        for name in sorted(missing, key=lambda name: name == DESCRIPTION):
            member = bundle.members[name]
            yield f"{member.sha256} {member.size}\n".encode()
            file.seek(member.offset)
            left = member.size
            while left:
                piece = file.read(min(left, _PIECE_BYTES))
                if not piece:
                    raise CrossError(f"{bundle.path} was cut short while it was sent; make it again")
                left -= len(piece)
                yield piece
    yield b"end 0\n"


def _confirm(board: Remote, release: str, window_s: int, say: Say) -> tuple[bool, str]:
    """Come back over a new connection, then wait; whether it was good, and how it ended."""
    until = time.monotonic() + 2 * window_s + LOST_S
    came_back = False
    while True:
        if not came_back:
            came_back = board.run(f"{_sudo(_TOOL)} came-back {release}", fresh=True).status == 0
        if came_back:
            said = board.run(f"{_sudo(_TOOL)} wait {release}", fresh=True, line=say)
            if said.status != NOT_CONNECTED:
                lines = [line for line in said.output.splitlines() if not line.startswith(" ")]
                told = next((line for line in lines if line.startswith(release) and " " in line), said.output)
                return said.status == 0, told
            came_back = False  # it may have started anew, and waits for somebody to come back again
        if time.monotonic() > until:
            return False, "the board did not answer again; it puts the release before back by itself"
        time.sleep(1)


def _sudo(tool: str) -> str:
    return f"sudo -n python3 -I {tool}"


def _understood(said: Said, host: str) -> None:
    """Raises CrossError in a sentence for what usually goes wrong."""
    if said.status == 0:
        return
    if said.status == NOT_CONNECTED:
        raise CrossError(f"{host} cannot be reached by ssh: {said.output.strip() or 'the connection was lost'}")
    if "sudo:" in said.output and ("password" in said.output or "terminal" in said.output):
        user = host.rpartition("@")[0] or "that user"
        raise CrossError(
            f"sudo asks for a password on {host}: let {user} use it without one, "
            f"with the line `{user} ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d/{user}, or deploy as root"
        )
    if "sudo" in said.output and "not found" in said.output:
        raise CrossError(f"there is no sudo on {host}: install it, or deploy as root with sudo installed")
    if "python3" in said.output and "not found" in said.output:
        raise CrossError(f"there is no python3 on {host}: sudo apt-get install python3")
    if f"can't open file '{_TOOL}'" in said.output:
        raise CrossError(f"vigild was never deployed to {host}: make deploy TARGET=... HOST={host}")
    raise CrossError("\n".join(said.output.strip().splitlines()[-12:]).removeprefix("vigild-deploy: "))
