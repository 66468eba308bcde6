"""Every example of every page: run against one daemon with its defaults where it can be, else checked as far as it can.

Commands stand in fenced blocks (sh, console) and in indented ones. Of each it is known which of these it is, or the
test fails: a new example has to be run, or the reason why not be written down here.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from test_client_page import connect

from vigild.catalogue import manifest
from vigild.cli.parser import build
from vigild.config import load

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
PARSER = build()

ELSEWHERE = {
    "clients.md": "tests/unit/test_client_page.py runs this page",
    "tune.md": "tests/unit/test_tune_page.py runs this page",
}

SHOWN = {"", "text", "js", "python"}
"""Languages of fenced blocks without commands: drawings and tables; programs, which are in `ELSEWHERE`'s pages."""

ENDLESS = {"vigild watch": "vigild watch --count 1", "vigild sensors": "vigild sensors --once"}
"""Run until Ctrl-C: an end is added."""

NOT_HERE = (
    (
        r"(export|[A-Z0-9]+=|forge)|.*\bforge\b|.*torch",
        "needs the environment that makes models, of 2.3 GB (make test-forge)",
    ),
    (r"vigild (models pull|tune)\b", "downloads from a publisher, or measures for minutes; each has tests of its own"),
    (
        r"vigild selftest --all|vigild doctor --(config|json)|vigild selftest --(config|json)",
        "as the first of its kind on the page, for longer",
    ),
    (r"(sudo )?(systemctl|journalctl|systemd-analyze|sudoedit|usermod)\b", "needs systemd as root (tests/container)"),
    (r"sudo install\b", "changes /etc (tests/container)"),
    (r"sudo apt-get install qemu", "installs what emulates boards (tests/board_vm)"),
    (r"tar xf|sudo python3 vigild-deploy", "needs a bundle (tests/container)"),
    (r"sudo apt-get (install \./|remove|purge)", "needs a Debian package (tests/container)"),
    (r"cp cross/hosts", "copies an example; tests/unit/test_cross_rollout.py reads it"),
    (r"pipx install", "installs for the user; tests/unit/test_install.py installs the same wheel"),
    (r"man vigild", "shows what is installed; tests/unit/test_install.py looks where man does"),
    (r"echo ", "shows an exit status"),
)
"""Patterns of commands that cannot run here, and why. Those of vigild are parsed all the same."""


class Block(NamedTuple):
    page: str
    language: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    fence = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
    for found in fence.finditer(text):
        yield Block(page.name, found[1], found[2])
    for found in re.finditer(r"(?:^    .*\n)+", fence.sub("", text), re.MULTILINE):
        commands = [line[4:] for line in found[0].splitlines() if re.match(PROGRAMS, line[4:])]
        yield Block(page.name, "sh", "\n".join(commands))


PROGRAMS = r"(sudo|sudoedit|vigild|make|systemctl|systemd-analyze|journalctl|cp|tar) "
"""What an indented line begins with when it is a command and not output, or what an editor is to be given."""


def commands(block: Block) -> Iterator[str]:
    """Whole commands, without prompts, comments and what they print."""
    kept = ""
    for line in block.text.splitlines():
        if block.language == "console" and not kept:
            if not line.startswith("$ "):
                continue
            line = line[2:]
        kept = f"{kept}\n{line.strip()}" if kept else line.strip()
        try:
            words = shlex.split(kept, comments=True)
        except ValueError:  # a quote is open
            continue
        if kept.endswith("\\"):
            continue
        if words:
            yield kept if "\n" in kept else re.sub(r"\s+#.*$", "", kept)
        kept = ""


BLOCKS = [block for page in PAGES for block in blocks(page)]
COMMANDS = sorted(
    {
        (block.page, command.replace(".venv/bin/vigild", "vigild"))
        for block in BLOCKS
        if block.language in ("sh", "console") and block.page not in ELSEWHERE
        for command in commands(block)
    }
)


def reason(command: str) -> str:
    """Why it cannot run here; empty where it can."""
    return next((why for pattern, why in NOT_HERE if re.match(pattern, command)), "")


VIGILD = sorted({command for _, command in COMMANDS if command.startswith("vigild ")})
STARTS = [command for command in VIGILD if command.startswith("vigild run")]
SOURCED = [command for _, command in COMMANDS if command.startswith("source <(vigild ")]
HERE = SOURCED + [command for command in VIGILD if command not in STARTS and not reason(command)]
MAKE = sorted({command for _, command in COMMANDS if re.match(r"(sudo )?make ", command)})


def test_every_block_and_every_command_is_known() -> None:
    assert {block.page for block in BLOCKS} >= {"README.md", "service.md", "many-boards.md", *ELSEWHERE}
    for block in BLOCKS:
        assert block.language in SHOWN | {"sh", "console", "toml"}, block
        assert block.language not in ("js", "python") or block.page in ELSEWHERE, block
    known = {*HERE, *STARTS, *MAKE}
    unknown = [(page, command) for page, command in COMMANDS if command not in known and not reason(command)]
    assert not unknown, "run these, or say in NOT_HERE why they cannot be"
    assert len(HERE) >= 8 and len(MAKE) >= 10


def test_no_reason_is_for_nothing() -> None:
    for pattern, why in NOT_HERE:
        assert any(re.match(pattern, command) for _, command in COMMANDS), why


@pytest.mark.parametrize("command", VIGILD)
def test_its_words_are_those_of_the_program(command: str) -> None:
    words = shlex.split(command, comments=True)
    words = words[: words.index(">")] if ">" in words else words
    words = [word for word in words if word != "--help"]
    assert PARSER.parse_args(words[1:]).run


@pytest.mark.parametrize("command", MAKE)
def test_make_knows_it(command: str) -> None:
    """As make understands it, without doing it; `vigild run` in it is what the program understands too."""
    words = shlex.split(command.removeprefix("sudo "), comments=True)
    done = subprocess.run(
        [words[0], "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        found = re.search(r"exec \S*/vigild (run.*)", line.replace("\\", ""))
        if found:
            assert PARSER.parse_args(shlex.split(found[1])).command == "run"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the files that examples name."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "vigild").write_text(f'#!/bin/sh\nexec {sys.executable} -m vigild "$@"\n')
    (folder / "vigild").chmod(0o755)
    for name in ("model.tflite", "clip.mp4"):
        (folder / name).touch()
    (folder / "labels.txt").write_text("person\ncar\n")
    (folder / "vigild.toml").write_text('[camera.front]\nsource = "testcard"\n')
    return folder


@pytest.fixture(scope="module")
def environ(folder: Path) -> Iterator[dict[str, str]]:
    """Of a shell beside the daemon that everybody gets; only a camera that this machine may have is left alone."""
    environ = os.environ | {
        "VIGILD_SOCKET": str(folder / "s"),
        "PYTHONPATH": str(ROOT / "daemon"),
        "PATH": f"{folder}:{os.environ['PATH']}",
    }
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "vigild", "run", "--source", "testcard", "--quiet"]
        daemon = subprocess.Popen(command, env=environ, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        with connect(folder / "s", daemon) as client:
            client.watch(events=["detections"])
            while client.until("detections")["status"] != "ok":
                pass
        yield environ
    finally:
        daemon.terminate()
        assert daemon.wait(60) == 0, (folder / "log").read_text()


@pytest.mark.parametrize("command", HERE)
def test_it_runs(command: str, environ: dict[str, str], folder: Path) -> None:
    if "loop=yes" in command:  # the page shows what is wrong
        mistaken = '[model]\nmin_scor = 0.3\n[budget]\ntemperature = 75\n[camera.front]\nsource = "testcard"\n'
        (folder / "mistaken").mkdir()
        (folder / "mistaken/vigild.toml").write_text(mistaken)
        done = _shell(command, environ, folder / "mistaken")
        shown = next(block.text for block in BLOCKS if "loop=yes" in block.text).splitlines()
        printed = [line for line in shown if not line.startswith("$ ")]
        assert sorted([*done.stderr.splitlines(), str(done.returncode)]) == sorted(printed)
        return
    if "> " in command:  # it writes over a file that others read
        command = command.replace("vigild.toml", "written.toml")
    done = _shell(ENDLESS.get(command, command), environ, folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout or ">" in command or command in SOURCED


def _shell(command: str, environ: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-ec", command], env=environ, cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.mark.parametrize("command", STARTS)
def test_a_start_is_one_that_the_daemon_takes(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One daemon runs already; what would be in force in this one is read as at its start."""
    monkeypatch.chdir(folder)
    args = PARSER.parse_args(shlex.split(command, comments=True)[1:])
    config = load.from_command_line(
        config=args.config, source=args.source, model=args.model, labels=args.labels, overrides=args.override
    )
    assert config.camera or not (args.source or args.config)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "toml"], ids=lambda block: block.page)
def test_a_file_on_a_page_is_one_that_is_taken(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "file.toml"
    file.write_text(block.text)
    if block.text.startswith("format"):
        assert manifest.parse(block.text, str(file), str(tmp_path)).entries
    else:
        assert load.load_file(file)


def test_every_link_leads_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text()):
            assert (page.parent / link).exists(), (page.name, link)


def test_every_page_is_linked_from_the_front_page() -> None:
    front = PAGES[0].read_text()
    assert not [page.name for page in PAGES[1:] if f"(docs/{page.name})" not in front]
