"""A board: Debian with a real systemd and sshd, in a container of its own (systemd-nspawn), with its own network.

    with Board("front-door") as board:
        board.run("systemctl is-active ssh")          # as root, in the container
        board.push(Path("vigild.toml"), "/etc/vigild/vigild.toml")
        board.ssh("sudo systemctl restart vigild")    # as a user, over the network
        board.reboot()
        board.kill(); board.start()                   # the power was cut, and came back
        board.journal("vigild.service")[-1]["MESSAGE"]

As many as wanted run side by side: each is an overlay above the cached root (see `roots`), with an address of its
own. Nothing of a board is left when the block ends: processes, mounts, the network, control groups, files.

Memory limits, closed devices and task limits of its units are real where the machine has control groups of version
1 (each board gets a child of this process's own) and where it has version 2.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import roots

BOOT_S = 60.0
WAIT_S = 60.0
"""To detect a hang on a busy machine; no test claims anything about speed with it."""

_LIMITING = ("memory", "devices", "pids")
"""Controllers of version 1: nspawn mounts them read-only, and then limits of units inside are quietly ignored."""

_HIERARCHIES = {**{name: name for name in _LIMITING}, "name=systemd": "systemd", "": "unified"}
"""Those of /proc/self/cgroup in which a board gets a group of its own, and where they are mounted. In the last two
nspawn would otherwise put all boards' services into the same groups."""

_CGROUPS = Path("/sys/fs/cgroup")
NETS = range(200)
"""Numbers of boards' networks: 10.231.NUMBER.0/30, on an interface named for it."""
_CAPABILITIES = {"CAP_SYS_ADMIN": 21, "CAP_NET_ADMIN": 12, "CAP_MKNOD": 27}
"""linux/capability.h; what root in an unprivileged container lacks."""

_MNT_DETACH = 2


def unavailable() -> str:
    """Why no board can run here; empty when one can."""
    if os.geteuid() != 0:
        return "boards in containers need root"
    for program in ("systemd-nspawn", "debootstrap", "ip", "ssh", "nsenter"):
        if shutil.which(program) is None:
            return f"{program} is not installed (apt-get install systemd-container debootstrap iproute2 openssh-client)"
    able = int(Path("/proc/self/status").read_text().partition("CapEff:")[2].split()[0], 16)
    for name, bit in _CAPABILITIES.items():
        if not able >> bit & 1:
            return f"boards in containers need {name}, which this root has not"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "this kernel has no overlay file system"
    return ""


class Failed(AssertionError):
    """A command in the container ended with another status than 0."""


class Board:
    """See the module. `layers`: folders to lay over the root, topmost first. `disk_mib`: how much may be written.
    `nets`: the numbers among which its network gets one that is free."""

    def __init__(
        self, name: str, *, layers: Sequence[Path] = (), disk_mib: int | None = None, nets: range = NETS
    ) -> None:
        self.name = name
        self._nets = nets
        self._layers = [*layers, roots.debian()]
        self._disk_mib = disk_mib
        self._folder = Path()
        self.root = Path()
        """Its file system, seen from here: for writing files before a start, and looking afterwards."""
        self.address = ""
        self.network = ""
        """The name of its network, of the interface on this side, and of its control groups."""
        self._nspawn: subprocess.Popen[bytes] | None = None
        self.leader = 0
        """The number of its first process, as seen from here; its files are below /proc/LEADER/root."""
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Board:
        with contextlib.ExitStack() as stack:
            self._folder = Path(tempfile.mkdtemp(prefix=f"vigild-board-{self.name}-"))
            stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
            self._mount(stack)
            self._connect(stack)
            self.write("/etc/hostname", f"{self.name}\n")
            self.write("/etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n{self.host_address} laptop\n")
            self._ssh_config()
            stack.callback(self.kill)
            self.start()
            self._cleanup = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()

    # ---- power

    def start(self) -> None:
        """Boot, and wait until everything that starts with the board has started."""
        assert self._nspawn is None, "it runs already"
        groups = self._control_groups()
        rw = " ".join(f"mount -o remount,bind,rw {_CGROUPS / name} &&" for name in _LIMITING if name in groups)
        console = (self._folder / "console").open("ab")
        self._nspawn = subprocess.Popen(
            [
                "systemd-nspawn",
                "--quiet",
                f"--directory={self.root}",
                f"--machine={self.network}",
                f"--network-namespace-path=/run/netns/{self.network}",
                # What systemd on a board has too: to set up services' networks, and OOMScoreAdjust= below 0.
                "--capability=CAP_NET_ADMIN,CAP_SYS_RESOURCE",
                "--register=no",
                "--keep-unit",
                "--kill-signal=SIGRTMIN+3",
                "--resolv-conf=off",
                "--console=pipe",
                "/bin/sh",
                "-c",
                f"{rw} exec /lib/systemd/systemd",
            ],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
            preexec_fn=lambda: _join(groups),
        )
        console.close()
        self.wait_for(lambda: self._find_leader(), "it has a first process", BOOT_S)
        self.wait_for(self._booted, "it has booted", BOOT_S)

    def kill(self) -> None:
        """Cut the power: everything in it ends at once, and what was written so far stays."""
        nspawn, self._nspawn = self._nspawn, None
        if nspawn is None:
            return
        if self.leader:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.leader, signal.SIGKILL)
            self.leader = 0
            with contextlib.suppress(subprocess.TimeoutExpired):
                nspawn.wait(10)
        if nspawn.poll() is None:
            nspawn.kill()
            nspawn.wait(10)
        self._remove_control_groups()

    @property
    def written(self) -> Path:
        """What is not as in the layers below; a copy of it (with everything: cp -a) can be a layer itself."""
        return self._folder / "disk/upper"

    def keep(self, to: Path) -> Path:
        """Cut the power for good, and make what was written a layer for other boards."""
        self.kill()
        _unmount(self.root)
        shutil.move(self.written, to)
        return to

    def signal(self, number: signal.Signals) -> None:
        """To the first process of the container: systemd itself."""
        os.kill(self.leader, number)

    def reboot(self) -> None:
        """As `reboot` does it: services are stopped first."""
        assert self._nspawn is not None
        self.run("systemctl --no-block reboot")
        self._nspawn.wait(WAIT_S)
        self.kill()
        self.start()

    def _find_leader(self) -> bool:
        assert self._nspawn is not None
        if self._nspawn.poll() is not None:
            raise Failed(f"the container of {self.name} did not start: {self.console()}")
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        for pid in children.read_text().split():
            with contextlib.suppress(OSError):
                # nspawn has helpers too; the first process of the container is in a PID namespace of its own.
                if Path(f"/proc/{pid}/ns/pid").readlink() != Path("/proc/self/ns/pid").readlink():
                    self.leader = int(pid)
        return self.leader != 0

    def _booted(self) -> bool:
        # It waits by itself: to ask again and again would take a good part of what a busy machine has for the start.
        try:
            done = self._enter(["systemctl", "is-system-running", "--wait"], BOOT_S)
        except subprocess.TimeoutExpired:
            return False
        return done.stdout.strip() in ("running", "degraded")

    def console(self) -> str:
        """What the container's first process printed, at its end."""
        return (self._folder / "console").read_text(errors="replace")[-4000:]

    # ---- commands

    def run(self, command: str, *, check: bool = True, timeout_s: float = WAIT_S) -> str:
        """A shell command in the container, as root; returns what it printed. Raises Failed, TimeoutExpired."""
        done = self._enter(["/bin/sh", "-c", command], timeout_s)
        if check and done.returncode:
            raise Failed(f"{self.name}: {command} ended with {done.returncode}:\n{done.stdout[-8000:]}")
        return done.stdout

    def status(self, command: str, *, timeout_s: float = WAIT_S) -> int:
        """The same, for its exit status."""
        return self._enter(["/bin/sh", "-c", command], timeout_s).returncode

    def start_process(self, command: Sequence[str], **how: Any) -> subprocess.Popen[bytes]:
        """A command in the container, beside the test; as subprocess.Popen."""
        return subprocess.Popen(self._entering(command), **how)

    def _enter(self, command: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._entering(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )

    def _entering(self, command: Sequence[str]) -> list[str]:
        clean = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]
        kinds = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd")
        return ["nsenter", f"--target={self.leader}", *kinds, "--", *clean, "HOME=/root", *command]

    def ssh(self, command: str, *, user: str = roots.USER, check: bool = True, timeout_s: float = WAIT_S) -> str:
        """A shell command over ssh; returns what it printed. Raises Failed, TimeoutExpired."""
        done = subprocess.run(
            ["ssh", "-F", str(self.ssh_config), f"{user}@{self.name}", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )
        if check and done.returncode:
            raise Failed(f"{self.name}: ssh {command} ended with {done.returncode}:\n{done.stdout[-8000:]}")
        return done.stdout

    @property
    def ssh_config(self) -> Path:
        """For `ssh -F` and scp: knows the board by its name and by its address."""
        return self._folder / "ssh_config"

    def push(self, path: Path, to: str) -> None:
        """Copy a file, or a folder with what is in it, to an absolute path in the container."""
        target = self.root / to.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(path, target)

    def write(self, to: str, text: str, mode: int = 0o644) -> None:
        """A text file at an absolute path in the container."""
        target = self.root / to.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def journal(self, unit: str = "", *matches: str) -> list[dict[str, Any]]:
        """The entries of a unit (of everything without one) that have these FIELD=value, oldest first."""
        of_unit = f"--unit={shlex.quote(unit)} " if unit else ""
        text = self.run(f"journalctl --sync; journalctl -o json --all --no-pager {of_unit}{shlex.join(matches)}")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def wait_for(self, condition: Callable[[], Any], what: str, within_s: float = WAIT_S) -> Any:
        """Until `condition()` is true, which is returned. Raises Failed."""
        deadline_s = time.monotonic() + within_s
        while not (found := condition()):
            if time.monotonic() > deadline_s:
                raise Failed(f"{self.name}: not within {within_s:.0f} s: {what}\n{self.console()}")
            time.sleep(0.05)
        return found

    # ---- what it is made of

    def _mount(self, stack: contextlib.ExitStack) -> None:
        disk = self._folder / "disk"
        self.root = self._folder / "root"
        disk.mkdir()
        self.root.mkdir()
        if self._disk_mib is not None:
            _mount("tmpfs", disk, f"size={self._disk_mib}m,mode=755", "tmpfs")
            stack.callback(_unmount, disk)
        (disk / "upper").mkdir()
        (disk / "work").mkdir()
        lower = ":".join(str(layer) for layer in self._layers)
        # Without redirect_dir a folder of a layer could not be renamed, as it can on any other file system.
        how = f"lowerdir={lower},upperdir={disk / 'upper'},workdir={disk / 'work'},redirect_dir=on"
        _mount("overlay", self.root, how, "overlay")
        stack.callback(_unmount, self.root)

    def _connect(self, stack: contextlib.ExitStack) -> None:
        """A network namespace and a pair of interfaces; making the namespace claims the number."""
        for number in self._nets:
            if subprocess.run(["ip", "netns", "add", f"vgb{number}"], capture_output=True).returncode == 0:
                break
        else:
            raise RuntimeError(f"all {len(self._nets)} networks for boards are taken; see ip netns list")
        self.network = net = f"vgb{number}"
        stack.callback(_quietly, "ip", "netns", "delete", net)
        host, self.address = f"10.231.{number}.1", f"10.231.{number}.2"
        _ip("link", "add", net, "type", "veth", "peer", "name", "host0", "netns", net)
        stack.callback(_quietly, "ip", "link", "delete", net)
        _ip("address", "add", f"{host}/30", "dev", net)
        _ip("link", "set", net, "up")
        inside = ("netns", "exec", net, "ip")
        _ip(*inside, "link", "set", "lo", "up")
        _ip(*inside, "address", "add", f"{self.address}/30", "dev", "host0")
        _ip(*inside, "link", "set", "host0", "up")
        _ip(*inside, "route", "add", "default", "via", host)

    @property
    def host_address(self) -> str:
        """This machine, as the board sees it."""
        return self.address.removesuffix("2") + "1"

    def connect_network(self, connected: bool) -> None:
        """Plug the cable in or out."""
        _ip("link", "set", self.network, "up" if connected else "down")

    def _ssh_config(self) -> None:
        known = self._folder / "known_hosts"
        self.ssh_config.write_text(
            f"Host {self.name} {self.address}\n"
            f"  HostName {self.address}\n  User {roots.USER}\n  IdentityFile {roots.ssh_key()}\n"
            f"  IdentitiesOnly yes\n  BatchMode yes\n  ConnectTimeout 10\n  LogLevel ERROR\n"
            f"  StrictHostKeyChecking accept-new\n  UserKnownHostsFile {known}\n"
        )

    def _control_groups(self) -> dict[str, Path]:
        """A child of this process's own group in each hierarchy that is here, by where that is mounted."""
        groups = {}
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, names, own = line.split(":", 2)
            mounted = _HIERARCHIES.get(names)
            if mounted == "unified" and not (_CGROUPS / mounted).exists():
                mounted = "."  # version 2 alone
            if mounted is not None and (_CGROUPS / mounted / own.lstrip("/") / "cgroup.procs").exists():
                groups[mounted] = _CGROUPS / mounted / own.lstrip("/") / self.network
                groups[mounted].mkdir(exist_ok=True)
        return groups

    def _remove_control_groups(self) -> None:
        for group in self._control_groups().values():
            _remove_tree(group)


def _join(groups: dict[str, Path]) -> None:
    for group in groups.values():
        (group / "cgroup.procs").write_text(str(os.getpid()))


def _remove_tree(group: Path) -> None:
    """Control groups are folders whose files cannot be removed; processes that are just ending hold them a moment."""
    for _ in range(100):
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        if not group.exists():
            return
        time.sleep(0.02)


def _mount(what: str, where: Path, options: str, kind: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(what.encode(), os.fsencode(where), kind.encode(), 0, options.encode()) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot mount {kind}: {os.strerror(code)}", str(where))


def _unmount(where: Path) -> None:
    ctypes.CDLL(None).umount2(os.fsencode(where), _MNT_DETACH)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)} failed: {done.stdout.strip()}")


def _quietly(*command: str) -> None:
    subprocess.run(command, capture_output=True)
