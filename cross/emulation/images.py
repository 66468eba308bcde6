"""What an emulated board boots from: a kernel, an initial RAM disk, a disk, and on x86 a thermal zone.

    made = image("aarch64")          # made once (minutes) and kept; seconds afterwards
    made.kernel, made.initrd, made.disk, made.tables

Debian 12 with Debian's own kernel (the cloud one has no media drivers). `vivid`, the kernel's virtual camera, is
/dev/video0. Nothing is mounted here, and root is needed for debootstrap alone.
"""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from cross.emulation import processor
from cross.emulation.store import alone, cache, key, lacking, made_once, run, ssh_key
from cross.errors import CrossError

SUITE = "bookworm"
MIRROR = os.environ.get("VIGILD_DEBIAN_MIRROR", "")
"""Where packages come from; debootstrap's own choice by default."""

USER = "pi"
"""Logs in by ssh or on the console without a password, and may use sudo, as on a board of one's own."""

PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "udev", "kmod", "python3", "python3-venv", "python3-systemd"),
    *("openssh-server", "sudo", "procps", "iproute2", "libusb-1.0-0", "v4l-utils", "busybox-static"),
)
TARGETS = {"x86_64": "amd64-bookworm", "aarch64": "rpi64-bookworm"}
"""What is deployed to them."""

DISK = "3G"
"""Sparse: it takes what is written."""

FORM = "1"
"""Counts what is done to the disk below, so that an old cached one is not taken for it."""

INITIAL = ("virtio_pci", "virtio_blk", "ext4")
FOLDERS = (
    "media",
    "thermal",
    "watchdog",
    "acpi",
    "video",
    "hwmon",
    "net/virtio_net.ko",
    "char/hw_random",
    "virtio",
    "cpufreq",
)
"""Below drivers/ of the kernel's modules; with all that these need."""

THERMAL = Path(__file__).with_name("thermal.asl")

HEAT = """#!/usr/bin/python3
# board-heat CELSIUS: what the thermal zone shows from the next second on (see thermal.asl).
import os
import sys

port = os.open("/dev/port", os.O_WRONLY)
for at, value in ((0x70, 0x50), (0x71, int(sys.argv[1]))):
    os.pwrite(port, bytes([value]), at)
"""


@dataclass(frozen=True)
class Machine:
    name: str
    debian: str
    emulator: str
    package: str
    """The emulator's, with its firmware."""
    options: tuple[str, ...]
    console: str


MACHINES = {
    each.name: each
    for each in (
        Machine(
            "x86_64", "amd64", "qemu-system-x86_64", "qemu-system-x86 seabios", ("-M", "q35", "-cpu", "max"), "ttyS0"
        ),
        # The processor of a Raspberry Pi 4.
        Machine(
            *("aarch64", "arm64", "qemu-system-aarch64", "qemu-system-arm"),
            ("-M", "virt,gic-version=3", "-cpu", "cortex-a72"),
            "ttyAMA0",
        ),
    )
}


@dataclass(frozen=True)
class Image:
    machine: Machine
    folder: Path

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd.cpio.gz"

    @property
    def disk(self) -> Path:
        return self.folder / "disk.ext4"

    @property
    def tables(self) -> Path | None:
        """ACPI's, with the thermal zone."""
        path = self.folder / "thermal.aml"
        return path if path.exists() else None


def named(name: str) -> Machine:
    """Raises CrossError."""
    if name not in MACHINES:
        raise CrossError(f"there is no emulated board {name!r}; ARCH is one of {', '.join(MACHINES)}")
    return MACHINES[name]


def image(name: str) -> Image:
    """Raises CrossError."""
    machine = named(name)
    thermal = THERMAL.read_text() if name == "x86_64" else ""
    path = _place(machine, thermal)
    with made_once(path) as folder:
        if folder is not None:
            if text := cannot_make(machine):
                raise CrossError(text)
            _make(machine, folder, thermal)
    return Image(machine, path)


def kept(name: str) -> bool:
    """Whether the image is there already."""
    return _place(named(name), THERMAL.read_text() if name == "x86_64" else "").exists()


def _place(machine: Machine, thermal: str) -> Path:
    public = ssh_key().with_suffix(".pub").read_text()
    parts = (SUITE, *PACKAGES, *INITIAL, *FOLDERS, DISK, thermal, HEAT if thermal else "", public, FORM)
    return cache() / f"machine-{machine.name}-{key(*parts)}"


def cannot_make(machine: Machine) -> str:
    """Why no image can be made here; empty when one can."""
    if os.geteuid() != 0:
        return f"the image of an emulated board is made as root: sudo make board ARCH={machine.name}"
    programs = {
        "debootstrap": "debootstrap",
        "apt-get": "apt",
        "dpkg-deb": "dpkg",
        "depmod": "kmod",
        "cpio": "cpio",
        "mke2fs": "e2fsprogs",
        "ssh-keygen": "openssh-client",
    }
    if machine.name == "x86_64":
        programs["iasl"] = "acpica-tools"
    if machine.name != platform.machine():
        programs["qemu-aarch64-static"] = "qemu-user-static"
    return lacking(programs)


def _make(machine: Machine, folder: Path, thermal: str) -> None:
    root, modules = folder / "root", folder / "modules"
    _debootstrap(machine, root)
    _kernel(machine, root, modules, folder)
    _furnish(machine, root)
    release = next((modules / "lib/modules").iterdir()).name
    _initial(modules, release, root, folder)
    _modules(modules, release, root)
    if thermal:
        run(["iasl", "-p", str(folder / "thermal"), str(THERMAL)])
    run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", str(root), str(folder / "disk.ext4"), DISK])
    shutil.rmtree(root)
    shutil.rmtree(modules)


def _debootstrap(machine: Machine, root: Path) -> None:
    foreign = machine.name != platform.machine()
    debs = cache() / "debs"
    debs.mkdir(exist_ok=True)
    command = ["debootstrap", "--variant=minbase", f"--arch={machine.debian}", f"--cache-dir={debs}"]
    command += [f"--include={','.join(PACKAGES)}", *(["--foreign"] if foreign else [])]
    if foreign:
        processor.prepare(machine.name)
    with alone(debs):  # what both machines have is fetched by one of them: debootstrap minds when another does too
        run([*command, SUITE, str(root), *([MIRROR] if MIRROR else [])])
    if foreign:
        # Its mounts go with it.
        run(["unshare", "--mount", "chroot", str(root), "/debootstrap/debootstrap", "--second-stage"])


def _kernel(machine: Machine, root: Path, modules: Path, folder: Path) -> None:
    """Debian's kernel for that machine, fetched by this machine's apt; only its files are taken."""
    state = folder / "apt"
    for each in ("lists/partial", "archives/partial"):
        (state / each).mkdir(parents=True)
    (state / "status").touch()
    keys = root / "usr/share/keyrings/debian-archive-keyring.gpg"
    mirror = (root / "etc/apt/sources.list").read_text().split()[1]
    (state / "sources.list").write_text(f"deb [arch={machine.debian} signed-by={keys}] {mirror} {SUITE} main\n")
    options = [
        *("-o", f"APT::Architecture={machine.debian}", "-o", f"APT::Architectures={machine.debian}"),
        *(
            "-o",
            f"Dir::State={state}",
            "-o",
            f"Dir::State::lists={state}/lists",
            "-o",
            f"Dir::State::status={state}/status",
        ),
        *("-o", f"Dir::Etc::SourceList={state}/sources.list", "-o", "Dir::Etc::SourceParts=/dev/null"),
        *("-o", f"Dir::Cache={state}", "-o", f"Dir::Cache::archives={state}/archives", "-o", "APT::Sandbox::User=root"),
    ]
    run(["apt-get", *options, "-q", "update"])
    depends = run(["apt-cache", *options, "depends", f"linux-image-{machine.debian}"])
    package = next(word for word in depends.split() if word.startswith("linux-image-6"))
    run(["apt-get", *options, "-q", "download", package], cwd=state)
    run(["dpkg-deb", "-x", str(next(state.glob("linux-image-*.deb"))), str(modules)])
    shutil.copyfile(next((modules / "boot").glob("vmlinuz-*")), folder / "vmlinuz")
    run(["depmod", "-b", str(modules), next((modules / "lib/modules").iterdir()).name])
    shutil.rmtree(state)


def _furnish(machine: Machine, root: Path) -> None:
    run(["chroot", str(root), "apt-get", "clean"])
    shutil.rmtree(root / "var/lib/apt/lists", ignore_errors=True)
    run(["chroot", str(root), "useradd", "--create-home", "--shell", "/bin/bash", "--groups", "sudo,video", USER])
    run(["chroot", str(root), "passwd", "--delete", USER])
    public = ssh_key().with_suffix(".pub").read_text()
    for home in (f"home/{USER}", "root"):
        ssh = root / home / ".ssh"
        ssh.mkdir(mode=0o700, exist_ok=True)
        (ssh / "authorized_keys").write_text(public)
        owner = (root / home).stat()
        for path in (ssh, ssh / "authorized_keys"):
            os.chown(path, owner.st_uid, owner.st_gid)
    if machine.name == "x86_64":
        (root / "usr/local/sbin/board-heat").write_text(HEAT)
        (root / "usr/local/sbin/board-heat").chmod(0o755)
    getty = f"etc/systemd/system/serial-getty@{machine.console}.service.d"
    (root / getty).mkdir(parents=True)
    files = {
        f"etc/sudoers.d/{USER}": f"{USER} ALL=(ALL) NOPASSWD: ALL\n",
        "etc/hostname": f"board-{machine.debian}\n",
        "etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 board-{machine.debian}\n",
        "etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
        "etc/machine-id": "",
        "etc/modules-load.d/vivid.conf": "vivid\n",
        # One camera, and nothing but that: no tuner, no output, no radio.
        "etc/modprobe.d/vivid.conf": "options vivid n_devs=1 node_types=0x1\n",
        "etc/systemd/network/lan.network": "[Match]\nName=eth0\n\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=no\n",
        f"{getty}/login.conf": f"[Service]\nExecStart=\nExecStart=-/sbin/agetty -a {USER} --noclear %I $TERM\n",
        # A login waits for no name server.
        "etc/ssh/sshd_config.d/board.conf": "UseDNS no\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    # A journal that survives a reboot.
    (root / "var/log/journal").mkdir(exist_ok=True)
    run(["chroot", str(root), "systemctl", "enable", "systemd-networkd", "ssh"])
    units = root / "etc/systemd/system"
    for unit in (
        "apt-daily.timer",
        "apt-daily-upgrade.timer",
        "e2scrub_reap.service",
        "e2scrub_all.timer",
        "fstrim.timer",
    ):
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    (units / "systemd-networkd-wait-online.service").symlink_to("/dev/null")


def _needed(modules: Path, release: str, names: list[str]) -> list[Path]:
    """The files of these modules and of all that they need, in the order to insert them."""
    shown = run(["modprobe", "-d", str(modules), "-S", release, "-a", "--show-depends", "--ignore-install", *names])
    found = [Path(line.split()[1]) for line in shown.splitlines() if line.startswith("insmod ")]
    return list(dict.fromkeys(found))


def _initial(modules: Path, release: str, root: Path, folder: Path) -> None:
    """An initial RAM disk that can find the disk."""
    tree = folder / "initrd"
    for each in ("bin", "proc", "sys", "dev", "root", "modules"):
        (tree / each).mkdir(parents=True)
    shutil.copy2(root / "bin/busybox", tree / "bin/busybox")
    insert = ""
    for path in _needed(modules, release, list(INITIAL)):
        shutil.copyfile(path, tree / "modules" / path.name)
        insert += f"insmod /modules/{path.name}\n"
    init = tree / "init"
    init.write_text(
        "#!/bin/busybox sh\n/bin/busybox --install -s /bin\nexport PATH=/bin\n"
        "mount -t proc proc /proc\nmount -t sysfs sys /sys\nmount -t devtmpfs dev /dev\n"
        f"{insert}while [ ! -b /dev/vda ]; do sleep 0.1; done\n"
        "mount -t ext4 /dev/vda /root\nmount --move /dev /root/dev\numount /sys /proc\n"
        "exec switch_root /root /lib/systemd/systemd\n"
    )
    init.chmod(0o755)
    run(["sh", "-c", "find . | cpio -o -H newc --quiet | gzip -1 > ../initrd.cpio.gz"], cwd=tree)
    shutil.rmtree(tree)


def _modules(modules: Path, release: str, root: Path) -> None:
    """Into the root: the kernel's drivers that a board of ours may meet."""
    source = modules / "lib/modules" / release
    drivers = source / "kernel/drivers"
    wanted: list[str] = []
    for each in FOLDERS:
        path = drivers / each
        wanted += [path.stem] if path.is_file() else [file.stem for file in path.rglob("*.ko")]
    target = root / "lib/modules" / release
    for path in _needed(modules, release, [*wanted, *INITIAL]):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    for path in source.glob("modules.*"):
        shutil.copyfile(path, target / path.name)
    run(["depmod", "-b", str(root), release])
