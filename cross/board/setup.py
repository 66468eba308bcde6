"""What a board gets beside its releases: the tool that guards it, its units, the user, the first configuration.

setup = Setup(layout, disk, system, say)
setup.before(package)       # before the switch; can be done again any number of times
setup.undeploy(purge=False) # nothing is left but configuration and data
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .disk import Disk
from .guard import Guard, linked_units
from .layout import COMPLETE, GUARD_TIMER, GUARD_UNIT, RECOVER_UNIT, SOCKET_UNIT, UNIT, Layout
from .package import Package, Refused
from .system import System

TOOL = "vigild-deploy"
OWN_UNITS = (GUARD_UNIT, GUARD_TIMER, RECOVER_UNIT)
"""Not the release's: what puts a bad release back must not come and go with it."""

_FIRST_CAMERA = "/dev/video0"


class Setup:
    def __init__(self, layout: Layout, disk: Disk, system: System, say: Callable[[str], None]) -> None:
        self._layout, self._disk, self._system, self._say = layout, disk, system, say

    def before(self, package: Package, signers: bytes | None, configuration: bytes | None = None) -> None:
        """Raises Refused."""
        layout, disk = self._layout, self._disk
        self._tool(package)
        if signers and not layout.key.is_file():
            disk.write(layout.key, signers)
            self._say("laid down the signing key: from now on this board takes only bundles signed with it")
        self._user_and_folders(package)
        self._configuration(package, configuration)
        # So that systemd's own tools make the user and the folders again, should they go missing.
        for path in (layout.sysusers, layout.tmpfiles):
            disk.folder(path.parent)
            disk.link(path, f"/opt/vigild/current/systemd/{path.parent.stem}.conf")
        for path, target in ((layout.command, "bin/vigild"), (layout.deploy_command, None)):
            disk.folder(path.parent)
            disk.link(path, f"/opt/vigild/current/{target}" if target else f"/opt/vigild/{TOOL}")

    def not_packaged(self) -> None:
        """Two masters of one service would each undo what the other did. Raises Refused."""
        if self._layout.packaged.exists():
            raise Refused(
                "vigild is installed here as a Debian package: sudo apt-get remove vigild, which leaves configuration "
                "and data, then deploy or install again"
            )

    def _tool(self, package: Package) -> None:
        """The tool that writes the journal is the one that reads it at the next start."""
        layout, disk = self._layout, self._disk
        tool = package.file(layout.store, TOOL)
        disk.folder(layout.home)
        changed = not layout.tool.is_file() or layout.tool.read_bytes() != tool
        if changed:
            disk.write(layout.tool, tool, 0o755)
        disk.folder(layout.units)
        for name in OWN_UNITS:
            unit = package.file(layout.store, f"guard/{name}")
            if not (layout.units / name).is_file() or (layout.units / name).read_bytes() != unit:
                disk.write(layout.units / name, unit)
                changed = True
        if changed:
            self._must(["systemctl", "daemon-reload"])
            self._must(["systemctl", "enable", "--quiet", RECOVER_UNIT, GUARD_TIMER])
        self._must(["systemctl", "start", GUARD_TIMER])

    def _user_and_folders(self, package: Package) -> None:
        users = package.file(self._layout.store, "systemd/sysusers.conf")
        done = self._system.run(["systemd-sysusers", "-"], stdin=users)
        if done.status != 0:
            raise Refused(f"the user vigild cannot be made: {done.output.strip()}")
        folders = package.file(self._layout.store, "systemd/tmpfiles.conf")
        done = self._system.run(["systemd-tmpfiles", "--create", "-"], stdin=folders)
        if done.status != 0:
            raise Refused(f"vigild's folders cannot be made: {done.output.strip()}")
        wanted = package.description(self._layout.store)["target"]["groups"]
        there = self._system.run(["getent", "group", *wanted]).output if wanted else ""
        for group in (line.split(":")[0] for line in there.splitlines() if ":" in line):
            self._system.run(["usermod", "--append", "--groups", group, "vigild"])

    def _configuration(self, package: Package, own: bytes | None) -> None:
        """Only where there is none. Without a camera on the board, the test card stands in."""
        layout, disk = self._layout, self._disk
        disk.folder(layout.etc)
        if layout.config.exists():
            return
        if own is not None:
            disk.write(layout.config, own)
            return
        text = package.file(layout.store, "vigild.toml").decode()
        camera = layout.root / _FIRST_CAMERA.lstrip("/")
        if not camera.exists():
            text = text.replace(f'source = "{_FIRST_CAMERA}"', 'source = "testcard"')
            self._say(f"no camera at {_FIRST_CAMERA}: {layout.config} shows the test card until it names one")
        disk.write(layout.config, text.encode())

    def check(self, release: str) -> None:
        """The release reads this board's configuration as it would run it. Raises Refused with its sentences."""
        program = self._layout.release(release) / "bin/vigild"
        done = self._system.run([str(program), "check", str(self._layout.config)], timeout_s=60)
        if done.status != 0:
            raise Refused(
                f"{release} does not take the configuration of this board, and nothing was switched. "
                f"Change {self._layout.config}, then deploy again:\n{done.output.strip()}"
            )
        for line in done.output.splitlines():
            if "warning:" in line:
                self._say(line)

    def _must(self, command: list[str]) -> None:
        done = self._system.run(command)
        if done.status != 0:
            raise Refused(f"{' '.join(command)} failed (status {done.status}): {done.output.strip()}")

    def undeploy(self, purge: bool) -> None:
        """Raises JournalError while something is being tried, OSError."""
        layout, disk, run = self._layout, self._disk, self._system.run
        # What would bring it back goes first.
        run(["systemctl", "disable", "--quiet", "--now", RECOVER_UNIT, GUARD_TIMER, GUARD_UNIT])
        with Guard(layout, disk, self._system).locked():
            run(["systemctl", "disable", "--quiet", UNIT, SOCKET_UNIT])
            run(
                [
                    "systemctl",
                    "stop",
                    "vigild-retry.timer",
                    "vigild-retry@*.timer",
                    UNIT,
                    SOCKET_UNIT,
                    "vigild@*.service",
                    "vigild@*.socket",
                ]
            )
            for path in [*linked_units(layout), *(layout.units / name for name in OWN_UNITS)]:
                disk.remove(path)
            for path in (layout.sysusers, layout.tmpfiles):
                disk.remove(path)
            # Of instances that somebody enabled.
            for path in layout.units.glob("*.wants/vigild@*"):
                if path.is_symlink() and not path.exists():
                    disk.remove(path)
            for folder in layout.units.glob("vigild*.d"):
                if not any(folder.iterdir()):
                    disk.remove(folder)
            for path in (layout.command, layout.deploy_command):
                if path.is_symlink() and str(path.readlink()).startswith("/opt/vigild/"):
                    disk.remove(path)
            run(["systemctl", "daemon-reload"])
            run(["systemctl", "reset-failed", UNIT, SOCKET_UNIT])
            disk.remove(layout.home)
        for folder in (layout.run, layout.root / "run/vigild"):
            shutil.rmtree(folder, ignore_errors=True)
        if purge:
            for folder in (layout.etc, layout.data):
                disk.remove(folder)
            run(["userdel", "vigild"])


def as_root() -> None:
    """Raises Refused unless this process may change the system."""
    if os.geteuid() != 0:
        raise Refused(f"this changes the system and needs root: sudo {Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}")


def described(layout: Layout, release: str) -> dict[str, Any]:
    """What the release's complete.json says, or nothing."""
    try:
        told = json.loads((layout.release(release) / COMPLETE).read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
