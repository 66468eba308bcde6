"""What emulated boards are made of, as far as it can be decided without one. The boards: tests/board_vm."""

from __future__ import annotations

import fcntl
from dataclasses import replace
from pathlib import Path

import pytest

from cross import target
from cross.emulation import emulate, images, machine, store
from cross.errors import CrossError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIGILD_BOARDS", str(tmp_path / "boards"))
    return tmp_path / "boards"


def test_what_is_made_once_is_not_made_again(cache: Path):
    with store.made_once(cache / "thing") as folder:
        assert folder is not None
        (folder / "file").write_text("one")
    with store.made_once(cache / "thing") as folder:
        assert folder is None
    assert (cache / "thing/file").read_text() == "one"


def test_what_failed_half_way_is_begun_again(cache: Path):
    with pytest.raises(RuntimeError), store.made_once(cache / "thing") as folder:
        assert folder is not None
        (folder / "half").write_text("")
        raise RuntimeError
    with store.made_once(cache / "thing") as folder:
        assert folder is not None
        assert not list(folder.iterdir())


def test_two_do_not_use_one_thing_at_a_time(cache: Path):
    with store.alone(cache / "debs"), (cache / "debs.lock").open("w") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (cache / "debs.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_programs_that_are_not_here_are_named_with_their_packages():
    assert store.lacking({"sh": "dash"}) == ""
    text = store.lacking({"sh": "dash", "no-such-program": "its-package"})
    assert text == "no-such-program not found: sudo apt-get install its-package"


def test_a_command_that_fails_is_told_with_what_it_said():
    with pytest.raises(CrossError, match=r"status 3\):\nno way"):
        store.run(["sh", "-c", "echo no way; exit 3"])


def test_a_board_that_is_not_known_is_refused_with_those_that_are():
    with pytest.raises(CrossError, match="'mips'; ARCH is one of x86_64, aarch64"):
        images.named("mips")


@pytest.mark.parametrize("name", list(images.MACHINES))
def test_a_machine_is_emulated_for_a_target_of_its_processor(name: str, tmp_path: Path):
    assert target.load(images.TARGETS[name]).machines[0] == name
    image = images.Image(images.named(name), tmp_path)
    line = machine.command(image, 2222, [])
    assert line[0] == f"qemu-system-{name}"
    # Only this machine may log in to it, and nothing of the image is written to.
    assert any("hostfwd=tcp:127.0.0.1:2222-:22" in word for word in line)
    assert any("snapshot=on" in word for word in line)
    assert "-acpitable" not in line
    (tmp_path / "thermal.aml").write_bytes(b"")
    assert f"file={tmp_path / 'thermal.aml'}" in machine.command(image, 2222, [])


def test_a_target_that_cannot_be_emulated_is_refused(tmp_path: Path):
    other = replace(target.load("rpi64-bookworm"), python="3.9")
    with pytest.raises(CrossError, match=r"Python one of 3\.11, 3\.13, and it is aarch64 with Python 3\.9"):
        emulate.emulate(other, tmp_path / "bundle.tar")
