"""The Debian package on a board in a container: installed, upgraded, removed and purged, as apt does it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from board import Board, Failed
from service import configure, main_pid, show, watch

import vigild
from cross import bundle, deb, target, wheels

TARGET = "amd64-bookworm"
NEWER = "99.1"
UNCOMPRESSED = ("-Znone",)

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb, which makes packages, is not here")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Uncompressed: made, unpacked and thrown away within a minute.
    return deb.make(target.load(TARGET), tmp_path_factory.mktemp("package"), UNCOMPRESSED)


def newer(package: Path, folder: Path) -> Path:
    """The same in another version, which takes a fraction of the time of making it."""
    tree = folder / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    for path in (tree / "DEBIAN/control", *tree.glob("usr/lib/vigild/lib/*/site-packages/vigild/__init__.py")):
        text = path.read_text()
        assert vigild.__version__ in text
        path.write_text(text.replace(vigild.__version__, NEWER))
    command = ["dpkg-deb", "--root-owner-group", *UNCOMPRESSED, "--build", tree, folder / "newer.deb"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / "newer.deb"


@pytest.fixture(scope="module")
def packaged(package: Path) -> Iterator[Board]:
    """The tests below follow one another through its life."""
    with Board("packaged") as board:
        # The disk is thrown away too: nothing has to reach it.
        board.write("/etc/dpkg/dpkg.cfg.d/test", "force-unsafe-io\n")
        board.push(package, "/root/vigild.deb")
        yield board


def apt(board: Board, command: str) -> str:
    """The lists of what there is to download are not on this board: all that vigild depends on is."""
    return board.run(f"DEBIAN_FRONTEND=noninteractive apt-get --yes {command} 2>&1", timeout_s=150)


def named_so(board: Board) -> list[str]:
    """What there is of vigild, but for what dpkg and the journal remember."""
    elsewhere = "-not -path '/proc/*' -not -path '/var/log/*' -not -path '/var/lib/dpkg/*' -not -path '/root/*'"
    return sorted(board.run(f"find / -xdev -name '*vigild*' {elsewhere}").split())


def test_it_does_not_take_over_what_was_deployed(packaged: Board) -> None:
    packaged.write("/opt/vigild/vigild-deploy", "")
    with pytest.raises(Failed, match="sudo vigild-deploy undeploy"):
        packaged.run("dpkg --install /root/vigild.deb")
    packaged.run("rm -r /opt/vigild")
    assert named_so(packaged) == []


def test_installed_it_runs_and_the_first_client_gets_detections(packaged: Board) -> None:
    said = apt(packaged, "install /root/vigild.deb")
    assert "no camera at /dev/video0" in said
    assert show(packaged, "ActiveState") == "active"
    assert show(packaged, "StatusText").startswith("no detections yet: front: ")
    enabled = packaged.run("systemctl is-enabled vigild.service vigild.socket").split()
    assert enabled == ["enabled", "enabled"]
    assert packaged.run("dpkg --verify vigild") == ""
    assert packaged.run("vigild --version").strip() == f"vigild {vigild.__version__}"
    configure(packaged, '[camera.front]\nsource = "testcard"\n')
    packaged.run("systemctl stop vigild.service")
    assert show(packaged, "ActiveState") == "inactive"
    assert watch(packaged).until("detections")["status"] == "ok"


def test_a_bundle_is_not_installed_over_it(packaged: Board, tmp_path: Path) -> None:
    tool = tmp_path / "vigild-deploy"
    tool.write_bytes(bundle.tool())
    packaged.push(tool, "/root/vigild-deploy")
    with pytest.raises(Failed, match="sudo apt-get remove vigild"):
        packaged.run("python3 -I /root/vigild-deploy install /root/vigild.deb")
    assert show(packaged, "ActiveState") == "active"


def test_upgraded_it_runs_anew_with_the_configuration_that_was_there(
    packaged: Board, package: Path, tmp_path: Path
) -> None:
    packaged.push(newer(package, tmp_path), "/root/newer.deb")
    edited = '# mine\n[camera.yard]\nsource = "testcard"\n'
    configure(packaged, edited)
    packaged.run("systemctl disable vigild.service")
    before = main_pid(packaged)
    apt(packaged, "install /root/newer.deb")
    assert packaged.run("cat /etc/vigild/vigild.toml") == edited
    assert show(packaged, "ActiveState") == "active" and main_pid(packaged) != before
    assert show(packaged, "UnitFileState") == "disabled", "who disabled it decides"
    client = watch(packaged)
    assert client.hello["version"] == NEWER
    assert client.until("detections")["camera"] == "yard"


def test_removed_it_leaves_configuration_and_data(packaged: Board) -> None:
    packaged.run("touch /var/lib/vigild/mine; cp /etc/vigild/vigild.toml /etc/vigild/two.toml")
    packaged.run("systemctl enable --now vigild@two")
    apt(packaged, "remove vigild")
    assert named_so(packaged) == ["/etc/vigild", "/etc/vigild/vigild.toml", "/var/lib/vigild"]
    assert packaged.run("ls /var/lib/vigild/mine")
    assert packaged.run("ps -u vigild -o pid=", check=False).strip() == ""


def test_purged_it_leaves_nothing(packaged: Board) -> None:
    apt(packaged, "purge vigild")
    assert named_so(packaged) == []
    assert packaged.status("getent passwd vigild || getent group vigild") != 0
    assert packaged.run("dpkg-query --show vigild 2>&1", check=False).startswith("dpkg-query: no packages found")


def test_lintian_finds_no_error_in_what_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheels of others, with which it takes a minute: .ci/run shows it the whole package."""
    if shutil.which("lintian") is None:
        pytest.skip("lintian is not installed (apt-get install lintian)")
    monkeypatch.setattr(wheels, "fetch", lambda target: [])
    path = deb.make(target.load(TARGET), tmp_path)
    command = ["lintian", "--allow-root", "--fail-on=error", "--no-tag-display-limit", str(path)]
    environ = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not re.search(r"^E: ", done.stdout, re.MULTILINE)
