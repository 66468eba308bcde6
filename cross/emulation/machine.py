"""An emulated board, switched on: a whole machine under qemu, without KVM.

    with Machine(image("x86_64")) as board:
        board.run("systemctl is-active ssh")       # as root, over ssh
        board.push(Path("bundle.tar"), "/root/bundle.tar")
        board.heat(80)                             # x86: the thermal zone shows 80 degrees
        board.reboot()
        board.uptime_s                             # of the guest when ssh first answered

What the board writes to its disk is kept over a reboot and gone when it is switched off; the image stays as it is.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from cross.emulation.images import TARGETS, USER, Image, image, kept, named
from cross.emulation.images import Machine as Kind
from cross.emulation.store import TOLD, lacking, ssh_key
from cross.errors import CrossError

BOOT_S = 420.0
WAIT_S = 240.0
"""To detect a hang on a busy machine that emulates every instruction; nothing claims anything about speed with it."""

MEMORY_MIB = 1024
CORES = 2


def cannot_run(kind: Kind) -> str:
    """Why this machine cannot be emulated here; empty when it can."""
    return lacking({kind.emulator: kind.package, "ssh": "openssh-client"})


def command(image: Image, port: int, console: Sequence[str]) -> list[str]:
    """qemu's: ssh of the board at 127.0.0.1:`port`, its console as `console` says."""
    kind = image.machine
    kernel = f"console={kind.console} panic=30 quiet systemd.show_status=0 net.ifnames=0 mitigations=off"
    return [
        kind.emulator,
        *kind.options,
        *("-accel", "tcg,thread=multi,tb-size=512", "-m", str(MEMORY_MIB), "-smp", str(CORES)),
        *("-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", kernel),
        *("-drive", f"file={image.disk},if=none,id=disk,format=raw,snapshot=on,cache=unsafe"),
        *("-device", "virtio-blk-pci,drive=disk"),
        *("-netdev", f"user,id=lan,hostfwd=tcp:127.0.0.1:{port}-:22", "-device", "virtio-net-pci,netdev=lan,romfile="),
        *("-device", "virtio-rng-pci"),
        *(["-acpitable", f"file={image.tables}"] if image.tables else []),
        *("-display", "none", *console),
    ]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def ssh_config(port: int, name: str) -> str:
    """For ssh -F: the emulated board under this name."""
    return (
        f"Host {name}\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {ssh_key()}\n  IdentitiesOnly yes\n"
        "  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n  ConnectTimeout 20\n"
    )


def console(name: str, folder: Path) -> NoReturn:
    """`make board`: such a machine on this terminal. `folder`: for the ssh configuration. Raises CrossError."""
    if text := cannot_run(named(name)):
        raise CrossError(text)
    if not kept(name):
        print(f"Making the image of the {name} board, once: 4 minutes, for aarch64 10 (two cores)", flush=True)
    made = image(name)
    port, host = free_port(), f"board-{made.machine.debian}"
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / f"ssh-{name}"
    config.write_text(ssh_config(port, host))
    heat = f"\n  its heat   ssh -F {config} root@{host} board-heat 80     # degrees Celsius" if made.tables else ""
    print(
        f"Starting it: half a minute, longer on a busy machine. This terminal is its serial console (user {USER}).\n"
        f"  log in     ssh -F {config} {USER}@{host}\n"
        f"  deploy     VIGILD_SSH='ssh -F {config}' "
        f"make deploy TARGET={TARGETS[name]} HOST={USER}@{host} WINDOW=300{heat}\n"
        "  its camera ssh ... sudo sh -c 'echo vivid.0 > /sys/bus/platform/drivers/vivid/unbind', and back: .../bind\n"
        "  off        sudo poweroff, or Ctrl-A X. What was written to its disk is gone then.",
        flush=True,
    )
    line = command(made, port, ["-serial", "mon:stdio"])
    os.execvp(line[0], line)


class Failed(AssertionError):
    """A command on the board ended with another status than 0."""


class Machine:
    """See the module."""

    def __init__(self, image: Image, stick: Path | None = None) -> None:
        """`stick`: a file that the board sees as its second disk, /dev/vdb, read-only: faster than through ssh."""
        self.image = image
        self._stick = stick
        self.name = f"board-{image.machine.debian}"
        self.port = 0
        self.ssh_config = Path()
        self.uptime_s = 0.0
        """Of the guest, when a command over ssh first ran."""
        self._folder = Path()
        self._qemu: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Machine:
        self._folder = Path(tempfile.mkdtemp(prefix="vigild-machine-"))
        try:
            self._start()
        except BaseException:
            self._off()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._off()

    def _start(self) -> None:
        self.port = free_port()
        self.ssh_config = self._folder / "ssh_config"
        self.ssh_config.write_text(ssh_config(self.port, self.name))
        line = command(self.image, self.port, ["-monitor", "none", "-serial", f"file:{self._folder / 'console'}"])
        if self._stick:
            line += ["-drive", f"file={self._stick},if=none,id=stick,format=raw,readonly=on"]
            line += ["-device", "virtio-blk-pci,drive=stick"]
        self._qemu = subprocess.Popen(line, stdin=subprocess.DEVNULL, stderr=(self._folder / "qemu").open("wb"))
        self._await_boot("")

    def _off(self) -> None:
        if self._qemu is not None:
            self._qemu.send_signal(signal.SIGKILL)
            self._qemu.wait()
            self._qemu = None
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def cpu_s(self) -> float:
        """Seconds of processor that the emulation has taken: the figure that other load does not move."""
        assert self._qemu is not None
        ticks = Path(f"/proc/{self._qemu.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")

    def console(self) -> str:
        """What the board wrote to its serial console."""
        path = self._folder / "console"
        return path.read_text(errors="replace") if path.exists() else ""

    def _await_boot(self, before: str) -> None:
        """Until ssh lets in, to another boot than `before`."""
        end = time.monotonic() + BOOT_S
        while True:
            done = self._ssh("root", "cat /proc/sys/kernel/random/boot_id /proc/uptime")
            words = done.stdout.split()
            if done.returncode == 0 and words[0] != before:
                self.uptime_s = float(words[1])
                return
            assert self._qemu is not None
            if self._qemu.poll() is not None:
                raise CrossError(f"qemu ended: {(self._folder / 'qemu').read_text()[-TOLD:]}")
            if time.monotonic() > end:
                raise CrossError(
                    f"the emulated board did not let ssh in within {BOOT_S:.0f} s. Its console:\n"
                    f"{self.console()[-TOLD:]}"
                )
            time.sleep(1)

    # ---- work

    def _ssh(self, user: str, text: str) -> subprocess.CompletedProcess[str]:
        line = ["ssh", "-F", str(self.ssh_config), f"{user}@{self.name}", text]
        return subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")

    def run(self, text: str, *, check: bool = True, user: str = "root") -> str:
        """What a shell command said, errors included. Raises Failed."""
        done = self._ssh(user, f"{{ {text}\n}} 2>&1")
        if check and done.returncode:
            raise Failed(f"{text}\nstatus {done.returncode}\n{done.stdout[-TOLD:]}{done.stderr[-TOLD:]}")
        return done.stdout

    def push(self, file: Path, target: str) -> None:
        with file.open("rb") as stream:
            line = ["ssh", "-F", str(self.ssh_config), f"root@{self.name}", f"cat > {shlex.quote(target)}"]
            subprocess.run(line, stdin=stream, check=True)

    def write(self, target: str, text: str) -> None:
        folder = shlex.quote(os.path.dirname(target))  # noqa: PTH120
        line = [
            "ssh",
            "-F",
            str(self.ssh_config),
            f"root@{self.name}",
            f"mkdir -p {folder}; cat > {shlex.quote(target)}",
        ]
        subprocess.run(line, input=text, text=True, check=True)

    @contextlib.contextmanager
    def forwarded(self, socket_file: str) -> Iterator[Path]:
        """A file on this machine that leads to a socket on the board: root's, over ssh."""
        with tempfile.TemporaryDirectory(prefix="vigild-") as folder:
            path = Path(folder) / "sock"
            line = [
                "ssh",
                "-F",
                str(self.ssh_config),
                "-N",
                "-o",
                "ExitOnForwardFailure=yes",
                "-L",
                f"{path}:{socket_file}",
            ]
            tunnel = subprocess.Popen([*line, f"root@{self.name}"], stdin=subprocess.DEVNULL)
            try:
                end = time.monotonic() + WAIT_S
                while not path.exists():
                    if tunnel.poll() is not None or time.monotonic() > end:
                        raise CrossError(f"no way by ssh to {socket_file} on the emulated board")
                    time.sleep(0.1)
                yield path
            finally:
                tunnel.terminate()
                tunnel.wait()

    def heat(self, celsius: int) -> None:
        """Set the thermal zone (x86)."""
        self.run(f"board-heat {celsius}")

    def reboot(self) -> None:
        """By its own command; returns when ssh lets in again."""
        before = self.run("cat /proc/sys/kernel/random/boot_id").strip()
        self.run("systemctl reboot", check=False)
        self._await_boot(before)
