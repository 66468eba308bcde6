"""Run inside the service, as an exec: source: tries what it should not be able to do, and writes down what came of it.

python3 probe.py OUT    # JSON: a word for each attempt, "done" or the name of the error, and what it sees
"""

import ctypes
import errno
import json
import mmap
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

STATE, CREDENTIALS = Path(os.environ["STATE_DIRECTORY"]), Path(os.environ["CREDENTIALS_DIRECTORY"])
OWN_GROUP = next(Path("/sys/fs/cgroup").glob("**/system.slice/vigild.service"))

libc = ctypes.CDLL(None, use_errno=True)
found = {}


def attempt(name, action):
    try:
        action()
        found[name] = "done"
    except OSError as error:
        found[name] = errno.errorcode.get(error.errno, str(error))


def call(name, *arguments):
    if getattr(libc, name)(*arguments) == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def write(path):
    with Path(path).open("r+b" if Path(path).exists() else "wb") as file:
        file.write(b"1")


def writable_code():
    # Anonymous memory that is writable first and executable then.
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    call("mprotect", ctypes.c_void_p(address), 4096, mmap.PROT_READ | mmap.PROT_EXEC)


def set_uid_file():
    path = STATE / "suid"
    path.touch()
    path.chmod(0o4755)


def usb():
    library = ctypes.CDLL("libusb-1.0.so.0")
    if library.libusb_init(None) != 0:
        raise OSError(errno.EIO, "libusb_init")


def family(number):
    return lambda: socket.socket(number, socket.SOCK_RAW if number == socket.AF_PACKET else socket.SOCK_DGRAM).close()


attempt("write /usr", lambda: write("/usr/probe"))
attempt("write /etc", lambda: write("/etc/vigild/probe"))
attempt("write /opt", lambda: write("/opt/vigild/probe"))
attempt("write /proc/sys", lambda: write("/proc/sys/kernel/core_uses_pid"))
attempt("write cgroup", lambda: (OWN_GROUP / "probe").mkdir())
attempt("write state", lambda: write(STATE / "probe"))
attempt("write tmp", lambda: write("/tmp/probe"))
attempt("list home", lambda: list(Path("/home/pi").iterdir()))
attempt("read secrets", lambda: list(Path("/etc/vigild/credentials").iterdir()))
attempt("open closed device", lambda: os.close(os.open("/dev/vigild-closed", os.O_RDWR)))
attempt("open null", lambda: os.close(os.open("/dev/null", os.O_RDWR)))
attempt("user namespace", lambda: call("unshare", 0x10000000))
attempt("mount namespace", lambda: call("unshare", 0x00020000))
attempt("writable code", writable_code)
attempt("personality", lambda: call("personality", 0x0008))  # PER_LINUX32
attempt("realtime", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
attempt("priority", lambda: os.setpriority(os.PRIO_PROCESS, 0, 5))
attempt("set-uid file", set_uid_file)
attempt("mount", lambda: call("mount", b"tmpfs", b"/tmp", b"tmpfs", 0, None))
attempt("ptrace", lambda: call("ptrace", 0, 0, 0, 0))
attempt("clock", lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()))
attempt("host name", lambda: socket.sethostname("probe"))
attempt("AF_INET", family(socket.AF_INET))
attempt("AF_PACKET", family(socket.AF_PACKET))
attempt("AF_NETLINK", family(socket.AF_NETLINK))
attempt("libusb", usb)

status = dict(line.partition(":")[::2] for line in Path("/proc/self/status").read_text().splitlines())
found["status"] = {key: value.split() for key, value in status.items()}
found["uid"], found["gid"], found["groups"] = os.getuid(), os.getgid(), sorted(os.getgroups())
found["umask"] = os.umask(0o077)
found["oom_score_adj"] = int(Path("/proc/self/oom_score_adj").read_text())
found["interfaces"] = [name for _, name in socket.if_nameindex()]
found["processes of others"] = [
    path.name for path in Path("/proc").iterdir() if path.name.isdecimal() and path.stat().st_uid == 0
]
found["credentials"] = {path.name: path.read_text() for path in CREDENTIALS.iterdir()}
found["environment"] = {key: value for key, value in os.environ.items() if key.endswith("_DIRECTORY")}
found["not inherited"] = [key for key in ("NOTIFY_SOCKET", "LISTEN_FDS", "WATCHDOG_USEC") if key in os.environ]
found["tmp"] = [path.name for path in Path("/tmp").iterdir()]

out = Path(sys.argv[1])
out.with_suffix(".half").write_text(json.dumps(found))
out.with_suffix(".half").rename(out)
subprocess.run(["sleep", "1000"])
