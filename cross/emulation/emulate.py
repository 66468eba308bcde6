"""`make emulate TARGET=...`: the bundle of a target installed, and its selftest run, on that target's processor.

Below a folder with that Debian's Python, by qemu-user where this machine has another processor. It shows that the
wheels are the right ones, that they install without a network, and that what they compute is right; nothing of speed.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from cross import bundle as bundles
from cross.emulation import processor
from cross.emulation.images import MIRROR
from cross.emulation.store import cache, key, lacking, made_once, run
from cross.errors import CrossError
from cross.target import Target

PACKAGES = ("python3", "python3-venv", "libusb-1.0-0")
"""What a board has and the bundle expects."""

SUITES = {"3.11": "bookworm", "3.13": "trixie"}
"""Debian's releases by the Python that is theirs."""

ARCHITECTURES = {"aarch64": "arm64", "x86_64": "amd64"}


def emulate(target: Target, bundle: Path) -> int:
    """The selftest's exit status; what it says goes to standard output. Raises CrossError."""
    root = _root(target)
    processor.prepare(target.machines[0])
    with tempfile.TemporaryDirectory(prefix="vigild-emulate-") as folder:
        board = Path(folder) / "root"
        run(["cp", "-a", str(root), str(board)])
        shutil.copyfile(bundle, board / "bundle.tar")
        (board / "vigild-deploy").write_bytes(bundles.tool())
        inside = "python3 -I /vigild-deploy build /bundle.tar && exec /opt/vigild/releases/*/bin/vigild selftest"
        # Without /sys: with both /proc and /sys in sight LiteRT's wheel crashes under qemu 7.2's user emulation, and
        # only there (the emulated machine of `make board` has both).
        script = f"""
            mount -t proc proc {shlex.quote(str(board))}/proc
            mount --rbind /dev {shlex.quote(str(board))}/dev
            exec chroot {shlex.quote(str(board))} /bin/sh -c {shlex.quote(inside)}
        """
        environment = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-e", "-c", script]
        return subprocess.run(command, stdin=subprocess.DEVNULL, env=environment).returncode


def _root(target: Target) -> Path:
    """That Debian's Python, unpacked and not configured: enough to run it. Made once."""
    machine = target.machines[0]
    if machine not in ARCHITECTURES or target.python not in SUITES:
        raise CrossError(
            f"{target.name} cannot be emulated: its processor has to be one of {', '.join(ARCHITECTURES)} and its "
            f"Python one of {', '.join(SUITES)}, and it is {machine} with Python {target.python}"
        )
    if os.geteuid() != 0:
        raise CrossError(f"the emulated system is put together as root: sudo make emulate TARGET={target.name}")
    suite, architecture = SUITES[target.python], ARCHITECTURES[machine]
    path = cache() / f"processor-{machine}-{suite}-{key(*PACKAGES)}"
    with made_once(path) as folder:
        if folder is not None:
            programs = {"debootstrap": "debootstrap", "dpkg-deb": "dpkg", "unshare": "util-linux"}
            if machine != platform.machine():
                programs["qemu-aarch64-static"] = "qemu-user-static"
            if text := lacking(programs):
                raise CrossError(text)
            mirror = [MIRROR] if MIRROR else []
            options = ["--foreign", "--variant=minbase", f"--arch={architecture}", f"--include={','.join(PACKAGES)}"]
            run(["debootstrap", *options, suite, str(folder), *mirror])
            debs = folder / "var/cache/apt/archives"
            for deb in sorted(debs.glob("*.deb")):
                unpack = 'dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink -C "$2"'
                run(["sh", "-e", "-c", unpack, "sh", str(deb), str(folder)])
            shutil.rmtree(debs)
            shutil.rmtree(folder / "debootstrap")
            for each in ("proc", "dev", "root", "tmp"):
                if (folder / each).is_symlink():  # debootstrap's own makeshift, in a container
                    (folder / each).unlink()
                (folder / each).mkdir(exist_ok=True)
    return path
