"""The pages of tasks walked through: their commands as they stand there, on a board that is emulated, and on this
machine as the laptop, in a clone of its own.

`make test-board-pages`. The tests follow one another through a board's life: put on by hand, as a service, not
starting, deployed to, rolled back, taken off, and once more with apt. Which commands are walked, and why others are
not, is in walked.py.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from installed import FIGURES, PATIENCE_S, RUNNING, SOCKET, STICK, WINDOW_S, unavailable, wait_for
from walked import WALKED

from cross import bundle as bundles
from cross import target, wheels
from cross.emulation import images, machine
from cross.emulation.machine import Machine
from system.harness import Client

pytestmark = pytest.mark.pages

TARGET = "rpi64-bookworm"
HOSTS = "raspberrypi.local jetson.local board one two 10.0.0.21 10.0.0.30"
"""Names that the pages and cross/hosts.example.toml give to boards. Here they are all this one."""

EARLIER_EPOCH = "1600000000"
"""Of the files in the bundle that is put on first, which makes it another release than what is deployed later."""

ENDED = {"vigild watch": " --empty --count 3", "vigild sensors": " --once"}
"""What runs until Ctrl-C is given an end."""

EMULATED = {
    "sudo python3 vigild-deploy install vigild-0.1.0-rpi64-bookworm.tar": f" --window {WINDOW_S}",
}
"""Where the time for the gate can only be given on the command line; make takes it from WINDOW."""


class Walk:
    """Carries out commands of pages, and remembers which."""

    def __init__(self, board: Machine, clone: Path, home: Path) -> None:
        self.machine, self.clone, self.home = board, clone, home
        self.done: set[tuple[str, str]] = set()
        self.ssh = home / "ssh_config"
        self.ssh.write_text(machine.ssh_config(board.port, f"{HOSTS} {board.name}"))

    def _of(self, page: str, command: str) -> None:
        assert command in WALKED[page], f"{page} has no such command, or walked.py does not know it"
        self.done.add((page, command))

    def laptop(self, page: str, command: str, *, status: int = 0) -> str:
        """What it printed, errors included."""
        self._of(page, command)
        environ = os.environ | {
            "HOME": str(self.home),
            # This environment is as good as the one that the clone would make.
            "VENV": str(wheels.REPOSITORY / ".venv"),
            "VIGILD_SSH": f"ssh -F {self.ssh}",
            "WINDOW": str(WINDOW_S),
        }
        return _said(["bash", "-ec", command], status, cwd=self.clone, env=environ)

    def board(self, page: str, command: str, *, user: str = "pi", status: int = 0, typed: str = "") -> str:
        """By ssh, as somebody logged in there. `typed`: what is entered."""
        self._of(page, command)
        ended = command + ENDED.get(command, "") + EMULATED.get(command, "")
        return _said(self._ssh(user, ended), status, typed=typed)

    def edited(self, page: str, command: str, script: str) -> str:
        """The same for a command that opens an editor, in which `script` of sed does what a person would."""
        self._of(page, command)
        # /usr/bin/editor is what Debian's programs open; the image has none. The file is the last argument.
        self.write("/usr/bin/editor", f'#!/bin/bash\nexec sed -i {shlex.quote(script)} "${{@: -1}}"\n')
        self.machine.run("chmod 755 /usr/bin/editor")
        return _said(self._ssh("pi", command, "-tt"), 0)  # systemctl edits on a terminal alone

    def first_line(self, page: str, command: str) -> str:
        """Of what goes on until Ctrl-C."""
        self._of(page, command)
        with subprocess.Popen(self._ssh("pi", command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                return process.stdout.readline().decode()
            finally:
                process.kill()

    def _ssh(self, user: str, command: str, *options: str) -> list[str]:
        return ["ssh", "-F", str(self.ssh), *options, f"{user}@board", f"bash -lc {shlex.quote(command)}"]

    def write(self, path: str, text: str) -> None:
        self.machine.write(path, text)

    def active(self) -> bool:
        return self.machine.run("systemctl is-active vigild", check=False).strip() == "active"

    def linked(self) -> str:
        return Path(self.machine.run("readlink /opt/vigild/current").strip()).name

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        with self.machine.forwarded(SOCKET) as path:
            client = Client(path)
            client.watch(empty=True)
            yield client
            client.close()

    def detects(self) -> None:
        with self.client() as client:
            client.until("detections", PATIENCE_S)


def _said(line: list[str], status: int, *, typed: str = "", **how: Any) -> str:
    done = subprocess.run(
        line, input=typed, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **how
    )
    print(f"$ {line[-1]}\n{done.stdout}")
    assert done.returncode == status, done.stdout[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of this repository, where commands may write; wheels that are here already are not fetched again."""
    clone = tmp_path_factory.mktemp("laptop") / "vigild"
    ignored = shutil.ignore_patterns(".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "build", "dist")
    shutil.copytree(wheels.REPOSITORY, clone, ignore=ignored)
    wheels.CACHE.mkdir(parents=True, exist_ok=True)
    (clone / "build/cross").mkdir(parents=True)
    (clone / "build/cross/wheels").symlink_to(wheels.CACHE)
    return clone


@pytest.fixture(scope="module")
def walk(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    kind = images.TARGETS["aarch64"]
    assert kind == TARGET, "the pages are those of that board"
    if reason := unavailable("aarch64"):
        pytest.skip(reason)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", EARLIER_EPOCH)
        earlier = bundles.make(target.load(TARGET), None, tmp_path_factory.mktemp("stick"))
    with Machine(images.image("aarch64"), stick=earlier) as board:
        RUNNING.append(board)
        # As the first user of Raspberry Pi OS is: adm may read the journal.
        board.run("usermod -aG adm pi")
        # What somebody copied there.
        board.run(f"cat {STICK} > /home/pi/{earlier.name}; chown pi: /home/pi/{earlier.name}")
        begun = time.monotonic()
        yield Walk(board, clone, tmp_path_factory.mktemp("home"))
        RUNNING.remove(board)
    FIGURES.append(f"aarch64: the pages walked through in {time.monotonic() - begun:.0f} s")


def test_on_a_raspberry_pi_without_a_laptop(walk: Walk):
    page = "raspberry-pi.md"
    assert walk.board(page, "python3 --version").startswith("Python 3.11")
    assert "newest version" in walk.board(page, "sudo apt-get install python3-systemd")
    walk.board(page, "tar xf vigild-0.1.0-rpi64-bookworm.tar vigild-deploy")
    said = walk.board(page, "sudo python3 vigild-deploy install vigild-0.1.0-rpi64-bookworm.tar")
    assert "runs and passed its gate" in said
    walk.board(page, "sudo usermod -aG vigild $USER")
    assert "front" in walk.board(page, "vigild watch")


def test_as_a_service_every_day(walk: Walk):
    page = "service.md"
    walk.board(page, "sudo systemctl enable --now vigild")
    assert re.search(r'Status: "front [0-9.]+ fps', walk.board(page, "systemctl status vigild"))
    walk.board(page, "sudo systemctl reload vigild")
    walk.machine.run("useradd NAME")
    walk.board(page, "sudo usermod -aG vigild NAME")
    assert "vigild" in walk.machine.run("id -Gn NAME").split()
    assert re.search(r"exposure level .*: 0\.6 ", walk.board(page, "systemd-analyze security vigild"))
    assert "NRestarts=0" in walk.board(page, "systemctl show vigild -p NRestarts -p Result -p ExecMainStatus")
    assert "front" in walk.board(page, "vigild status")
    assert "control group" in walk.board(page, "vigild sensors")
    assert "/dev/video0" in walk.board(page, "vigild doctor")
    assert "computes right" in walk.board(page, "vigild selftest")


def test_what_its_journal_says(walk: Walk):
    page, vivid = "service.md", "/sys/bus/platform/drivers/vivid"
    lost = "journalctl -u vigild VIGILD_EVENT=camera_lost"
    with walk.client() as client:
        walk.machine.run(f"echo vivid.0 > {vivid}/unbind")
        client.event("camera_lost", PATIENCE_S)
        walk.machine.run(f"echo vivid.0 > {vivid}/bind")
        client.event("camera_back", PATIENCE_S)
    walk.machine.run("journalctl --sync")
    assert "front" in walk.board(page, lost)
    assert "front" in walk.board(page, "journalctl -u vigild VIGILD_CAMERA=front")
    assert "front" in walk.board(page, "journalctl -u vigild -p warning")
    assert "Started" in walk.board(page, "journalctl -u vigild")
    assert walk.first_line(page, "journalctl -u vigild -f") != ""


def test_what_an_administrator_changes(walk: Walk):
    page = "service.md"
    between = "/^### Anything between/a "
    walk.edited(page, "sudo systemctl edit vigild.socket", between + r"[Socket]\nSocketMode=0666")
    walk.edited(page, "sudo systemctl edit vigild", between + r"[Service]\nMemoryHigh=640M\nMemoryMax=768M")
    walk.board(
        page,
        "sudo install -D -m 644 /opt/vigild/current/systemd/optional/network.conf "
        "/etc/systemd/system/vigild.service.d/network.conf",
    )
    walk.board(page, "sudo systemctl daemon-reload")
    walk.edited(
        page, "sudo systemctl edit vigild", between + r"[Service]\nIPAddressDeny=any\nIPAddressAllow=10.0.0.0/24"
    )
    walk.board(page, "sudo install -m 600 /dev/stdin /etc/vigild/credentials/gate", typed="secret\n")
    walk.board(page, "sudo systemctl restart vigild.socket vigild")
    run = walk.machine.run
    assert run("stat -c %a /run/vigild/vigild.sock").strip() == "666"
    shown = run("systemctl show vigild -p MemoryMax -p PrivateNetwork -p IPAddressAllow").split()
    assert {f"MemoryMax={768 << 20}", "PrivateNetwork=no", "IPAddressAllow=10.0.0.0/24"} <= set(shown)
    assert run("cat /run/credentials/vigild.service/vigild_gate") == "secret\n"
    run("rm -r /etc/systemd/system/vigild.{service,socket}.d /etc/vigild/credentials/gate; systemctl daemon-reload")
    walk.board(page, "sudo systemctl stop vigild.socket vigild")
    assert not walk.active()


def test_it_does_not_start_with_a_wrong_configuration(walk: Walk):
    page, run = "service.md", walk.machine.run
    run("cp /etc/vigild/vigild.toml /root; echo nonsense = 1 >> /etc/vigild/vigild.toml")
    walk.board(page, "sudo systemctl restart vigild", status=1)
    assert "status=2/INVALIDARGUMENT" in walk.board(page, "systemctl status vigild", status=3)
    assert "nonsense" in walk.board(page, "journalctl -u vigild -n 30")
    assert "nonsense" in walk.board(page, "vigild check /etc/vigild/vigild.toml", status=1)
    run("cp /root/vigild.toml /etc/vigild/vigild.toml")
    walk.board(page, "sudo systemctl restart vigild")
    walk.detects()


def test_it_does_not_start_without_its_user_or_its_folder_of_secrets(walk: Walk):
    page, run = "service.md", walk.machine.run
    run("systemctl stop vigild; userdel vigild; ! getent passwd vigild")
    walk.board(page, "sudo systemctl restart vigild", status=1)
    # Ten failures, and it rests.
    wait_for(lambda: "repeated too quickly" in run("journalctl -u vigild -n 30"), "systemd gives it up")
    assert "status=217/USER" in walk.board(page, "systemctl status vigild", status=3)
    assert run("systemctl is-active vigild-retry.timer").strip() == "active"
    walk.board(page, "sudo systemd-sysusers")
    run("rm -r /etc/vigild/credentials")
    walk.board(page, "sudo systemctl reset-failed vigild.service vigild.socket")
    walk.board(page, "sudo systemctl restart vigild", status=1)
    assert "status=243/CREDENTIALS" in walk.board(page, "journalctl -u vigild -n 30")
    walk.board(page, "sudo systemd-tmpfiles --create")
    walk.board(page, "sudo systemctl reset-failed vigild.service vigild.socket")
    walk.board(page, "sudo systemctl restart vigild")
    walk.detects()
    assert "video" in run("id -Gn vigild").split()


def test_it_does_not_start_by_hand(walk: Walk):
    page = "troubleshooting.md"
    assert "newest version" in walk.board(page, "sudo apt-get install python3-venv")
    listens = walk.machine.run(f"vigild run --source testcard --socket {SOCKET}", check=False)
    assert "another program listens at" in listens
    assert "front" in walk.board(page, "vigild status")
    walk.write("/home/pi/vigild.toml", "[daemon]\nfound = 2\n")
    assert "unknown key" in walk.board(page, "vigild check vigild.toml", status=1)


def test_it_does_not_start_without_a_release_and_a_deploy_from_a_laptop_brings_one(walk: Walk):
    page, before = "raspberry-pi.md", walk.linked()
    walk.machine.run("rm /opt/vigild/current")
    walk.board("service.md", "sudo systemctl restart vigild", status=1)
    assert "status=203/EXEC" in walk.board("service.md", "journalctl -u vigild -n 30")
    said = walk.laptop(page, "make deploy TARGET=rpi64-bookworm HOST=pi@raspberrypi.local")
    assert "passed its gate" in said and " good " in said
    assert walk.linked() != before
    walk.edited(page, "sudoedit /etc/vigild/vigild.toml && sudo systemctl reload vigild", "$a fps = 5")
    assert "fps = 5" in walk.machine.run("cat /etc/vigild/vigild.toml")
    assert "front" in walk.board(page, "systemctl status vigild")


def test_on_a_jetson(walk: Walk):
    """As far as a board with another Python goes: JetPack's is not emulated."""
    page, run, before = "jetson.md", walk.machine.run, walk.linked()
    run("useradd --create-home --shell /bin/bash nano; cp -r /home/pi/.ssh /home/nano; chown -R nano: /home/nano/.ssh")
    command = "make deploy TARGET=jetson-jp6 HOST=nano@jetson.local"
    line = "nano ALL=(ALL) NOPASSWD: ALL"
    assert line in Path(walk.clone / "docs/jetson.md").read_text()
    assert f"with the line `{line}` in /etc/sudoers.d/nano" in walk.laptop(page, command, status=2)
    walk.write("/etc/sudoers.d/nano", f"{line}\n")
    said = walk.laptop(page, command, status=2)
    assert "the bundle is for Python 3.10 (jetson-jp6) and this board's is 3.11" in said
    assert walk.linked() == before and walk.active()
    assert "newest version" in walk.board(page, "sudo apt-get install python3-systemd", user="nano")


def test_many_boards(walk: Walk):
    """All of them are this one, so each command has it as another board."""
    page, newer = "many-boards.md", walk.linked()
    walk.laptop(page, "cp cross/hosts.example.toml cross/hosts.toml")
    said = walk.laptop(page, "make deploy-status HOST=pi@board")
    assert newer in said and "active" in said
    said = walk.laptop(page, "make rollback HOST=pi@board")
    assert " good " in said and walk.linked() != newer
    said = walk.laptop(page, "make deploy GROUP=yard")
    assert re.search(rf"^front-door +good +{newer}", said, re.MULTILINE) and walk.linked() == newer
    said = walk.laptop(page, "make fleet-status")
    assert len(re.findall(rf"^(front-door|workbench) +{newer} +settled +active", said, re.MULTILINE)) == 2
    walk.laptop(page, "make signing-key")
    said = walk.laptop(page, "make deploy HOST='pi@one pi@two' TARGET=rpi64-bookworm")
    assert len(re.findall(r"^pi@(one|two) +good ", said, re.MULTILINE)) == 2
    assert "ssh-ed25519" in walk.machine.run("cat /opt/vigild/allowed_signers")
    assert "passed its gate" in walk.laptop(page, "make deploy-logs HOST=pi@board LINES=100")
    assert "/dev/video0" in walk.laptop(page, "make deploy-doctor HOST=pi@board")


def test_with_apt(walk: Walk):
    page, run, package = "raspberry-pi.md", walk.machine.run, "vigild_0.1.0+deb12_arm64.deb"
    walk.laptop(page, "make deb TARGET=rpi64-bookworm")
    walk.machine.push(walk.clone / "dist" / package, f"/home/pi/{package}")
    install = f"sudo apt-get install ./{package}"
    assert "vigild-deploy undeploy" in walk.board(page, install, status=100, typed="\n")
    walk.laptop("many-boards.md", "make undeploy HOST=pi@board")
    assert run("ls -d /etc/vigild /var/lib/vigild /opt/vigild 2>/dev/null", check=False).split() == [
        "/etc/vigild",
        "/var/lib/vigild",
    ]
    # Enter: the configuration that is there is kept.
    walk.board(page, install, typed="\n\n")
    assert "fps = 5" in run("cat /etc/vigild/vigild.toml")
    walk.detects()
    walk.edited(page, "sudoedit /etc/vigild/vigild.toml && sudo systemctl reload vigild", "s/fps = 5/fps = 4/")
    refused = walk.laptop(page, "make deploy TARGET=rpi64-bookworm HOST=pi@raspberrypi.local", status=2)
    assert "installed here as a Debian package: sudo apt-get remove vigild" in refused
    walk.board(page, "sudo apt-get remove vigild", typed="y\n")
    assert "fps = 4" in run("cat /etc/vigild/vigild.toml")
    walk.board(page, "sudo apt-get purge vigild", typed="y\n")
    assert run("ls -d /etc/vigild /var/lib/vigild 2>/dev/null; getent passwd vigild", check=False) == ""


def test_no_command_was_left_out(walk: Walk):
    assert walk.done == {(page, command) for page, known in WALKED.items() for command in known}
