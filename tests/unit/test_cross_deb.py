"""Parts of a Debian package that are made without a package index; tests/container installs a whole one."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from cross import deb, target, wheels
from cross.board.cli import main
from cross.board.disk import Disk
from cross.board.layout import Layout
from cross.board.setup import Setup
from cross.board.system import Finished, System
from cross.errors import CrossError

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb, which makes packages, is not here")


class Nothing(System):
    """Where every command works and does nothing."""

    def run(self, command: Sequence[str], timeout_s: float = 0, stdin: bytes | None = None) -> Finished:
        return Finished(0, "")


FIELDS = {"version": "1", "architecture": "all", "maintainer": "a <a@b>", "size": "1", "depends": "c", "recommends": ""}


@pytest.mark.parametrize(
    "older, newer",
    [
        ("0.1.0", "0.1.1"),
        ("0.9", "0.10"),
        ("0.2.0.dev1", "0.2.0a1"),
        ("0.2.0a2", "0.2.0b1"),
        ("0.2.0b1", "0.2.0rc1"),
        ("0.2.0rc1.dev3", "0.2.0rc1"),
        ("0.2.0rc1", "0.2.0"),
        ("0.2.0", "0.2.0.post1"),
        ("0.2.0.post1", "0.2.1"),
    ],
)
@needs_dpkg
def test_versions_are_in_the_order_that_they_have_in_python(older: str, newer: str):
    versions = [deb.debian_version(version, "deb12") for version in (older, newer)]
    assert subprocess.run(["dpkg", "--compare-versions", versions[0], "lt", versions[1]]).returncode == 0, versions


def test_a_version_is_native_and_tells_the_system():
    assert deb.debian_version("0.1.0", "deb12") == "0.1.0+deb12"
    of_systems = {deb.debian_version("1", chosen.suite) for chosen in map(target.load, target.names())}
    assert of_systems == {"1+deb12", "1+deb13", "1+ubuntu22.04"}
    assert not any("-" in version for version in of_systems)


@pytest.mark.parametrize("name", target.names())
def test_a_target_has_an_architecture_and_depends_on_its_own_python(name: str):
    chosen = target.load(name)
    assert chosen.machines[0] in deb.ARCHITECTURES
    depends, recommends = deb.relations(chosen)
    minor = int(chosen.python.split(".")[1])
    assert depends[:2] == [f"python3 (>= 3.{minor})", f"python3 (<< 3.{minor + 1})"]
    assert {*depends, *recommends} >= set(chosen.apt)
    assert ("python3-numpy" in depends) == ("numpy" in chosen.from_apt)


@pytest.mark.parametrize("name", deb.SCRIPTS)
def test_the_scripts_are_whole_and_a_shell_understands_them(name: str):
    text = deb.filled(name, groups="video render")
    assert "@" not in text.replace("vigild@", "").replace("vigild-retry@", "")
    assert subprocess.run(["sh", "-n"], input=text, text=True).returncode == 0


def test_a_field_of_which_nothing_is_left_goes():
    text = deb.filled("control", **FIELDS)
    assert "Recommends" not in text and "@" not in text.replace("a@b", "")
    assert "Version: 1\n" in text and "Depends: c\n" in text


def test_a_wheel_is_unpacked_as_pip_would_without_what_is_not_used(tmp_path: Path):
    path = tmp_path / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in (
            "thing/__init__.py",
            "thing-1.0.dist-info/METADATA",
            "thing-1.0.dist-info/RECORD",
            "thing-1.0.data/purelib/other.py",
            "thing-1.0.data/scripts/thing",
            "ai_edge_litert/vendors/x/compiler.so",
            "ai_edge_litert/interpreter.py",
        ):
            archive.writestr(name, name)
    assert dict(deb.unpacked(path)) == {
        "thing/__init__.py": b"thing/__init__.py",
        "thing-1.0.dist-info/METADATA": b"thing-1.0.dist-info/METADATA",
        "other.py": b"thing-1.0.data/purelib/other.py",
        "ai_edge_litert/interpreter.py": b"ai_edge_litert/interpreter.py",
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thing/../../../../etc/passwd", "")
    with pytest.raises(CrossError, match="would lie outside"):
        dict(deb.unpacked(path))


@needs_dpkg
def test_the_same_bytes_at_another_time_in_another_place_by_somebody_else(tmp_path: Path):
    made = []
    for number, mask in enumerate((0o022, 0o077)):
        previous = os.umask(mask)
        try:
            tree = deb.Tree(tmp_path / f"{number}-tree")
            for name in ("etc/b", "etc/a")[:: 1 - 2 * number]:
                tree.write(name, b"text")
            tree.link("usr/bin/a", "../../etc/a")
            tree.write("DEBIAN/control", deb.filled("control", **FIELDS).encode())
            tree.pack(tmp_path / f"{number}.deb", deb.COMPRESSION)
        finally:
            os.umask(previous)
        made.append((tmp_path / f"{number}.deb").read_bytes())
    assert made[0] == made[1]
    listed = subprocess.run(["dpkg-deb", "-c", tmp_path / "1.deb"], capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        assert line.split()[1] == "root/root"
        assert line[:10] in ("drwxr-xr-x", "-rw-r--r--", "lrwxrwxrwx"), line


def test_units_run_the_command_of_the_package(tmp_path: Path):
    for name in ("amd64-bookworm", "rpi64-trixie"):
        tree = deb.Tree(tmp_path / name)
        deb._units(tree, target.load(name))
        units = tree.root / "usr/lib/systemd/system"
        text = (units / "vigild.service").read_text()
        assert "ExecStart=/usr/bin/vigild run" in text and "/opt/" not in text
        newer = {path.parent.name for path in units.rglob("notify-reload.conf")}
        assert newer == ({"vigild.service.d", "vigild@.service.d"} if name == "rpi64-trixie" else set())


def test_without_dpkg_deb_one_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CrossError, match=r"^dpkg-deb, which makes packages, is not installed here: [^\n]*$"):
        deb.make(target.load("amd64-bookworm"), tmp_path)


def test_a_bundle_is_not_installed_over_the_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "usr/lib/vigild/bin").mkdir(parents=True)
    (tmp_path / "usr/lib/vigild/bin/vigild").touch()
    assert main(["--root", str(tmp_path), "missing", "--target", "{}"]) == 1
    assert "sudo apt-get remove vigild" in capsys.readouterr().err


def test_enabled_instances_do_not_outlive_an_undeploy(tmp_path: Path):
    layout = Layout(tmp_path)
    wants = layout.units / "multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / "vigild@yard.service").symlink_to(tmp_path / "gone/vigild@.service")
    (wants / "ssh.service").symlink_to(tmp_path / "gone/ssh.service")
    Setup(layout, Disk(), Nothing(), print).undeploy(purge=False)
    assert [path.name for path in wants.iterdir()] == ["ssh.service"]


def test_the_changelog_tells_no_other_time_than_the_files(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1600000000")
    assert wheels.epoch() == 1600000000
    assert deb.changelog_date() == "Sun, 13 Sep 2020 12:26:40 +0000"
