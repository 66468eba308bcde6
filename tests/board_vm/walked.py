"""The pages of tasks, command by command: which ones the walk over them carries out, and why not the others.

    commands("jetson.md")           # every one on it, in a block or in a sentence
    WALKED["jetson.md"]             # on an emulated board, and on this machine as the laptop: test_pages_vm.py
    LEFT["jetson.md"]               # of each of the rest, why

tests/unit/test_walked_pages.py needs no board, and holds that each is in one of the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"

SECTIONS: dict[str, str] = {
    "raspberry-pi.md": "",
    "jetson.md": "",
    "many-boards.md": "",
    "service.md": "",
    "troubleshooting.md": "It does not start",
}
"""The pages; of the last one this section."""

_PROGRAM = r"[a-z][\w.+-]*|[a-z./][\w.+/-]*/[\w.+-]+"
_IN_A_SENTENCE = re.compile(rf"(?:{_PROGRAM}) \S")
"""Two words at least, of which the first could be a program's name."""

_NETWORK = "needs a package index or the sources of a system, and the emulated board is on no network"
_NAMED = "names what is meant; the whole command stands elsewhere on the page"

WALKED: dict[str, tuple[str, ...]] = {
    "raspberry-pi.md": (
        "make deploy TARGET=rpi64-bookworm HOST=pi@raspberrypi.local",
        "python3 --version",
        "sudo apt-get install python3-systemd",
        "sudo usermod -aG vigild $USER",
        "vigild watch",
        "sudoedit /etc/vigild/vigild.toml && sudo systemctl reload vigild",
        "tar xf vigild-0.1.0-rpi64-bookworm.tar vigild-deploy",
        "sudo python3 vigild-deploy install vigild-0.1.0-rpi64-bookworm.tar",
        "make deb TARGET=rpi64-bookworm",
        "sudo apt-get install ./vigild_0.1.0+deb12_arm64.deb",
        "sudo apt-get remove vigild",
        "sudo apt-get purge vigild",
        "systemctl status vigild",
    ),
    "jetson.md": (
        "make deploy TARGET=jetson-jp6 HOST=nano@jetson.local",
        "sudo apt-get install python3-systemd",
    ),
    "many-boards.md": (
        "cp cross/hosts.example.toml cross/hosts.toml",
        "make deploy GROUP=yard",
        "make fleet-status",
        "make deploy HOST='pi@one pi@two' TARGET=rpi64-bookworm",
        "make deploy-status HOST=pi@board",
        "make deploy-logs HOST=pi@board LINES=100",
        "make rollback HOST=pi@board",
        "make deploy-doctor HOST=pi@board",
        "make undeploy HOST=pi@board",
        "make signing-key",
    ),
    "service.md": (
        "sudo systemctl enable --now vigild",
        "systemctl status vigild",
        "sudo systemctl reload vigild",
        "sudo systemctl restart vigild",
        "sudo systemctl stop vigild.socket vigild",
        "sudo usermod -aG vigild NAME",
        "systemd-analyze security vigild",
        "sudo systemctl edit vigild.socket",
        "sudo systemctl restart vigild.socket vigild",
        "journalctl -u vigild",
        "journalctl -u vigild -f",
        "journalctl -u vigild VIGILD_CAMERA=front",
        "journalctl -u vigild VIGILD_EVENT=camera_lost",
        "journalctl -u vigild -p warning",
        "journalctl -u vigild -n 30",
        "systemctl show vigild -p NRestarts -p Result -p ExecMainStatus",
        "vigild sensors",
        "vigild doctor",
        "vigild selftest",
        "vigild status",
        "vigild check /etc/vigild/vigild.toml",
        "sudo systemctl edit vigild",
        "sudo install -D -m 644 /opt/vigild/current/systemd/optional/network.conf "
        "/etc/systemd/system/vigild.service.d/network.conf",
        "sudo systemctl daemon-reload",
        "sudo install -m 600 /dev/stdin /etc/vigild/credentials/gate",
        "sudo systemd-sysusers",
        "sudo systemd-tmpfiles --create",
        "sudo systemctl reset-failed vigild.service vigild.socket",
    ),
    "troubleshooting.md": (
        "sudo apt-get install python3-venv",
        "vigild status",
        "vigild check vigild.toml",
    ),
}

LEFT: dict[str, dict[str, str]] = {
    "raspberry-pi.md": {
        "sudo apt-get install rpicam-apps-lite": f"Raspberry Pi OS alone has it; {_NETWORK}",
        "sudo make install": f"{_NETWORK}: it fetches wheels. The installer is the one that `tar xf` takes out",
        "sudo make uninstall": "goes with `sudo make install`; make undeploy does the same from a laptop",
        "sudo apt-get install --allow-downgrades": "needs an older package, and there is none yet",
        "sudo apt-get install python3-numpy python3-opencv": f"32 bit: no such board is emulated; {_NETWORK}",
        "pip wheel msgspec": f"32 bit: no such board is emulated; {_NETWORK}",
        "make bundle TARGET=rpi32-bookworm": "32 bit: needs the wheel that is made on such a board",
    },
    "jetson.md": {},
    "many-boards.md": {
        "make bundle": "make deploy does it too",
        "make lock": "asks the package index for what is newest, which another day is something else",
        "vigild check": "the board does it in each deploy; service.md has it as a command",
        "sudo -n": "how every deploy of this page does what it does",
    },
    "service.md": {
        "make install": f"{_NETWORK}: it fetches wheels",
        "make deploy": _NAMED,
        "systemctl start": _NAMED,
        "systemctl stop vigild": "the same word with the socket is walked; tests/container waits for what comes after",
    },
    "troubleshooting.md": {
        "make setup PYTHON=python3.11": "needs a machine whose own Python is older than 3.10",
    },
}
"""What stands in a sentence and is no command is in `NO_COMMAND`."""

NO_COMMAND: dict[str, tuple[str, ...]] = {
    "raspberry-pi.md": ('source = "exec:rpicam-vid -t 0 -n --codec mjpeg -o -"',),
    "jetson.md": (
        "nano ALL=(ALL) NOPASSWD: ALL",
        'source = "exec:gst-launch-1.0 -q nvarguscamerasrc ! nvvidconv ! nvjpegenc ! fdsink"',
    ),
    "many-boards.md": (
        "board       outcome    release             took  sent",
        "front-door  good       0.1.0-10f8f8c28c00  22 s  111.9 MiB",
        "workbench   FAILED     0.1.0-10f8f8c28c00  31 s  8.1 MiB    did not pass its gate: detections move: ...",
        "roof        not begun  -                   -     -",
    ),
    "service.md": (
        "[camera.gate]",
        'source = "rtsp://viewer:${credential:gate}@10.0.0.7/stream"',
        "no detections yet: front: cannot open /dev/video0 ...",
        'model.delegate = "/path/lib.so"',
        "start operation timed out",
        "permission denied",
    ),
    "troubleshooting.md": ("another program listens at …", "vigild needs Python 3.10 or newer"),
}
"""Settings, and what programs print."""


def commands(page: str) -> list[str]:
    """Whatever on a page looks like a command, each once."""
    text = (DOCS / page).read_text()
    if section := SECTIONS[page]:
        found = re.search(rf"^## {re.escape(section)}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        assert found is not None, (page, section)
        text = found[1]
    return list(dict.fromkeys([*_shown(text), *_said(text)]))


def comments(page: str) -> list[str]:
    """What stands behind # on such lines."""
    return re.findall(r"^    .*?#(.*)$", (DOCS / page).read_text(), re.MULTILINE)


def _shown(text: str) -> Iterator[str]:
    """In an indented or a fenced block: every line that is more than a comment."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"^    (.*)$", text, re.MULTILINE)
    for line in lines:
        if command := re.sub(r"(^|\s+)#.*$", "", line.removeprefix("$ ")).strip():
            yield command


def _said(text: str) -> Iterator[str]:
    """Between backquotes, also over the end of a line."""
    prose = re.sub(r"^    .*$|^```\w*\n[^`]*^```$", "", text, flags=re.MULTILINE)
    for span in re.findall(r"`([^`]+)`", prose):
        words = " ".join(span.split())
        if _IN_A_SENTENCE.match(words):
            yield words
