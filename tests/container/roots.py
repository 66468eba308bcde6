"""The file systems that boards are made of: a Debian with systemd and sshd, and vigild's own files above it.

debian()         # a folder, made by debootstrap once and kept; 50 s on two cores
application()    # a folder to lay over it: /opt/vigild as an installer would leave it, units and users included

Both lie in $VIGILD_BOARDS, else in ~/.cache/vigild/boards (below $XDG_CACHE_HOME), keyed by what they are made from.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from cross.emulation.store import cache, key, made_once, ssh_key

REPO = Path(__file__).resolve().parents[2]

SUITE = os.environ.get("VIGILD_SUITE", "bookworm")
"""Debian's release: bookworm has systemd 252, trixie 257."""

PYTHON = {"bookworm": "3.11", "trixie": "3.13"}[SUITE]

MIRROR = os.environ.get("VIGILD_DEBIAN_MIRROR", "")
"""Where its packages come from; debootstrap's own choice by default."""

PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "udev", "python3", "python3-venv", "python3-systemd"),
    *("openssh-server", "sudo", "procps", "iproute2", "libusb-1.0-0"),
)
USER = "pi"
"""Logs in by ssh and may use sudo without a password, as on a board."""

_DEBIAN_FORM = "1"
"""Counts what is done to the root below, so that an old cached one is not taken for it."""


def debian() -> Path:
    """The root of a freshly installed board: no vigild on it, sshd running, the user `pi` with sudo."""
    public = ssh_key().with_suffix(".pub").read_text()
    name = f"{SUITE}-{key(SUITE, *PACKAGES, platform.machine(), public, _DEBIAN_FORM)}"
    with made_once(cache() / name) as root:
        if root is not None:
            _debootstrap(root)
            _furnish(root, public)
    return cache() / name


def _debootstrap(root: Path) -> None:
    mirror = [MIRROR] if MIRROR else []
    _run(["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root), *mirror])


def _furnish(root: Path, public: str) -> None:
    _run(["chroot", str(root), "apt-get", "clean"])
    shutil.rmtree(root / "var/lib/apt/lists")
    _run(["chroot", str(root), "useradd", "--create-home", "--shell", "/bin/bash", "--groups", "sudo", USER])
    (root / f"etc/sudoers.d/{USER}").write_text(f"{USER} ALL=(ALL) NOPASSWD: ALL\n")
    for home in (f"home/{USER}", "root"):
        folder = root / home / ".ssh"
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "authorized_keys").write_text(public)
        shutil.copystat(root / home, folder)
        owner = (root / home).stat()
        for path in (folder, folder / "authorized_keys"):
            os.chown(path, owner.st_uid, owner.st_gid)
        folder.chmod(0o700)
    # A journal that survives a reboot, and an identity of its own for each board.
    (root / "var/log/journal").mkdir(exist_ok=True)
    (root / "etc/machine-id").write_text("")
    # There is no name server; asking for one takes its time.
    (root / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nshadow: files\nhosts: files\n")
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    # Nothing of these does anything useful in a container, and they take time at each boot.
    units = root / "etc/systemd/system"
    for unit in ("getty.target", "console-getty.service", "apt-daily.timer", "apt-daily-upgrade.timer"):
        (units / unit).symlink_to("/dev/null")
    for unit in ("systemd-udevd.service", "systemd-udev-trigger.service", "e2scrub_reap.service", "e2scrub_all.timer"):
        (units / unit).symlink_to("/dev/null")


def dependencies() -> Path:
    """A folder of what the daemon needs, as wheels of the board's Python: what `pip install --target` makes."""
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["daemon"], *extras["litert"]]
    with made_once(cache() / f"wheels-{key(PYTHON, platform.machine(), *wanted)}") as folder:
        if folder is not None:
            platforms = [
                f"manylinux_2_{minor}_{platform.machine()}" for minor in (36, 35, 34, 31, 28, 27, 17)
            ]  # bookworm's glibc is 2.36
            tags = [f"--platform={tag}" for tag in (*platforms, f"manylinux2014_{platform.machine()}")]
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
            _run([*pip, f"--python-version={PYTHON}", "--only-binary=:all:", *tags, f"--target={folder}", *wanted])
    return cache() / f"wheels-{key(PYTHON, platform.machine(), *wanted)}"


def install(root: Path) -> None:
    """Put vigild below `root`, in the form that its units expect: /opt/vigild/current, units, users, a configuration.

    A stand-in for the real installer, for tests of the units alone.
    """
    release = root / "opt/vigild/releases/test"
    site = release / f"lib/python{PYTHON}/site-packages"
    shutil.copytree(dependencies(), site, symlinks=True)
    shutil.copytree(REPO / "daemon/vigild", site / "vigild", ignore=shutil.ignore_patterns("__pycache__"))
    build = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for source, target in build["force-include"].items():
        copy = shutil.copytree if (REPO / source).is_dir() else shutil.copy2
        (site / target).parent.mkdir(parents=True, exist_ok=True)
        copy(REPO / source, site / target)
    binaries = release / "bin"
    binaries.mkdir()
    (binaries / "python").symlink_to("/usr/bin/python3")
    (release / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    command = binaries / "vigild"
    command.write_text(
        "#!/opt/vigild/current/bin/python\nimport sys\nfrom vigild.cli.main import main\nsys.exit(main())\n"
    )
    command.chmod(0o755)
    (root / "opt/vigild/current").symlink_to("releases/test")
    install_units(root)
    (root / "etc/vigild").mkdir(parents=True)
    (root / "etc/vigild/vigild.toml").write_text('[camera.front]\nsource = "testcard"\n')


def install_units(root: Path) -> None:
    """Units, users and folders from systemd/, where a package puts them."""
    units = root / "usr/lib/systemd/system"
    units.mkdir(parents=True, exist_ok=True)
    for unit in (REPO / "systemd").glob("vigild*"):
        shutil.copy2(unit, units / unit.name)
    for kind in ("sysusers", "tmpfiles"):
        folder = root / f"usr/lib/{kind}.d"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPO / f"systemd/{kind}.conf", folder / "vigild.conf")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:3])} ... failed ({done.returncode}):\n{done.stdout[-4000:]}")
