"""The wheel, installed where nothing of this checkout is: `vigild` is on PATH, and finds people with what is in it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from vigild import __version__
from vigild.cli import manual

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 100

WHEEL = """
import os, sys
os.chdir(sys.argv[1])
import hatchling.build
print(hatchling.build.build_wheel(sys.argv[2]))
"""


def build(folder: Path) -> Path:
    """The wheel as pip would have it made, by the same call, without an environment of its own."""
    done = subprocess.run(
        [sys.executable, "-c", WHEEL, str(ROOT), str(folder)], capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def vigild(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed program. What it depends on is taken from the environment of the test; vigild itself is not."""
    pytest.importorskip("hatchling", reason="the wheel is made with hatchling, of the extra `cross`")
    pip = pytest.importorskip("pip", reason="pip installs the wheel, and is not in this environment")
    folder = tmp_path_factory.mktemp("install")
    wheel = build(folder)
    clean = folder / "clean"
    venv.create(clean, with_pip=False)
    python = clean / "bin/python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(clean), "platbase": str(clean)}))
    command = [sys.executable, "-m", "pip", f"--python={python}", "install", "--quiet", "--no-deps", "--no-index"]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", str(wheel)], capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode == 0, (pip.__version__, done.stderr)
    # By sys.path and no .pth file of theirs: an editable vigild must not come along.
    (site / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    return clean / "bin/vigild"


def run(vigild: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIGILD"))}
    environ |= {"PATH": f"{vigild.parent}:{environ['PATH']}"} | more
    return subprocess.run(
        ["vigild", *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, env=environ, cwd=vigild.parent
    )


def test_it_brings_its_manual_pages(vigild: Path) -> None:
    """Where `man` looks for those of a program on PATH, and from where pipx links them."""
    pages = {path.name: path for path in (vigild.parents[1] / "share/man").glob("man?/*")}
    assert {page: pages[page].parent.name for page in ("vigild.1", "vigild-run.1", "vigild.toml.5")} == {
        "vigild.1": "man1",
        "vigild-run.1": "man1",
        "vigild.toml.5": "man5",
    }
    assert dict(manual.pages()) == {name: path.read_text() for name, path in pages.items()}


def test_a_build_without_what_it_depends_on_has_no_manual_pages_and_says_so(tmp_path: Path) -> None:
    """hatchling alone: pip asks it what else it wants, and others may not."""
    pytest.importorskip("hatchling")
    venv.create(tmp_path / "bare", with_pip=False)
    (tmp_path / "bare/site").mkdir()
    for name in ("hatchling", "packaging", "pathspec", "pluggy", "trove_classifiers", "tomli"):
        if found := importlib.util.find_spec(name):
            place = Path(found.origin or "").parent
            (tmp_path / "bare/site" / name).symlink_to(place)
    command = [tmp_path / "bare/bin/python", "-c", WHEEL, ROOT, tmp_path]
    environ = {**os.environ, "PYTHONPATH": str(tmp_path / "bare/site")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, env=environ)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as wheel:
        assert not [name for name in wheel.namelist() if "share/man" in name]
    assert "no manual pages" in done.stdout + done.stderr


def test_it_says_its_version_and_is_the_installed_one(vigild: Path) -> None:
    done = run(vigild, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"vigild {__version__}\n", "")
    asked = "import vigild; print(vigild.__file__)"
    where = subprocess.run([vigild.parent / "python", "-c", asked], capture_output=True, text=True, cwd="/", check=True)
    assert Path(where.stdout.strip()).is_relative_to(vigild.parents[1])


def test_it_lists_the_models_that_come_with_it(vigild: Path) -> None:
    done = run(vigild, "models", "list")
    assert done.returncode == 0 and done.stderr == ""
    assert "people_vehicles_ssd" in done.stdout


def test_it_sees_something_on_the_test_card(vigild: Path, tmp_path: Path) -> None:
    place = {"VIGILD_SOCKET": str(tmp_path / "s"), "STATE_DIRECTORY": str(tmp_path)}
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIGILD"))} | place
    command = [vigild, "run", "--source", "testcard", "--quiet"]
    with (tmp_path / "log").open("wb") as log:
        daemon = subprocess.Popen(command, env=environ, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)
    try:
        seen = run(vigild, "watch", "--wait", "--count", "1", **place)
    finally:
        daemon.terminate()
        assert daemon.wait(60) == 0, (tmp_path / "log").read_text()
    assert seen.returncode == 0, seen.stderr + (tmp_path / "log").read_text()
    assert "camera" in seen.stdout
