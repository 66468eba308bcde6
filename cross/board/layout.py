"""Where everything is on a board, below a root that tests replace."""

from __future__ import annotations

from pathlib import Path

UNIT = "vigild.service"
SOCKET_UNIT = "vigild.socket"
GUARD_UNIT = "vigild-confirm.service"
GUARD_TIMER = "vigild-confirm.timer"
RECOVER_UNIT = "vigild-recover.service"

COMPLETE = "complete.json"
"""Written last into a release or an environment: what has none is a beginning, and is swept away."""


class Layout:
    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self.home = root / "opt/vigild"
        self.releases = self.home / "releases"
        self.environments = self.home / "environments"
        self.store = self.home / "store"
        self.current = self.home / "current"
        self.journal = self.home / "journal.json"
        self.returned = self.home / "returned"
        """Holds the release that somebody came back for over a new connection."""
        self.key = self.home / "allowed_signers"
        """With it here, a bundle must be signed by one of these keys."""
        self.tool = self.home / "vigild-deploy"
        self.lock = self.home / "lock"
        self.etc = root / "etc/vigild"
        self.config = self.etc / "vigild.toml"
        self.data = root / "var/lib/vigild"
        self.units = root / "etc/systemd/system"
        self.sysusers = root / "etc/sysusers.d/vigild.conf"
        self.tmpfiles = root / "etc/tmpfiles.d/vigild.conf"
        self.run = root / "run/vigild-deploy"
        self.progress = self.run / "progress.json"
        self.packaged = root / "usr/lib/vigild/bin/vigild"
        """There when vigild is installed as a Debian package."""
        self.command = root / "usr/local/bin/vigild"
        self.deploy_command = root / "usr/local/sbin/vigild-deploy"

    def release(self, name: str) -> Path:
        return self.releases / name

    def whole(self, name: str) -> bool:
        """Whether a release of that name is here from its first to its last file."""
        return (self.release(name) / COMPLETE).is_file()

    def whole_releases(self) -> list[str]:
        """By age, the oldest first."""
        if not self.releases.is_dir():
            return []
        found = [path for path in self.releases.iterdir() if (path / COMPLETE).is_file()]
        return [path.name for path in sorted(found, key=lambda path: (path / COMPLETE).stat().st_mtime)]

    def linked(self) -> str | None:
        """The release that `current` points to; None when there is no such link."""
        try:
            return self.current.readlink().name
        except OSError:
            return None
