"""Parts of a bundle that are made without a package index: the same input, the same bytes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from cross import bundle, sbom, wheels
from cross.bundle import Bundle
from cross.errors import CrossError


def wheel(folder: Path, name: str = "thing", licence: str = "License-Expression: MIT\n") -> Path:
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Name: {name}\nVersion: 1.0\n{licence}\n")
    return path


def test_the_boards_program_has_the_same_bytes_and_runs_without_this_repository(tmp_path: Path):
    assert bundle.tool() == bundle.tool()
    path = tmp_path / "vigild-deploy"
    path.write_bytes(bundle.tool())
    done = subprocess.run([sys.executable, "-I", path, "--help"], capture_output=True, text=True, cwd="/", check=True)
    assert "rollback" in done.stdout


def test_the_boards_program_needs_the_standard_library_only(tmp_path: Path):
    path = tmp_path / "vigild-deploy"
    path.write_bytes(bundle.tool())
    code = f"""import sys; sys.path.insert(0, {str(path)!r}); import vigild_deploy.cli
print([n for n in sys.modules if n.split('.')[0] not in sys.stdlib_module_names | {{'vigild_deploy', '__main__'}}])"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_list_of_parts_is_cyclonedx_and_always_the_same(tmp_path: Path):
    one, two = wheel(tmp_path), wheel(tmp_path, "other", "Classifier: License :: OSI Approved :: BSD License\n")
    listed = sbom.document("vigild-x", "1", [one, two], [])
    assert listed == sbom.document("vigild-x", "1", [two, one], [])
    told = json.loads(listed)
    assert (told["bomFormat"], told["specVersion"]) == ("CycloneDX", "1.5")
    assert [each["purl"] for each in told["components"]] == ["pkg:pypi/other@1.0", "pkg:pypi/thing@1.0"]
    assert told["components"][1]["licenses"] == [{"expression": "MIT"}]
    assert told["components"][0]["licenses"] == [{"license": {"name": "BSD License"}}]


def test_what_is_no_wheel_is_told(tmp_path: Path):
    (tmp_path / "a.whl").write_bytes(b"no")
    with pytest.raises(CrossError, match="is no wheel"):
        sbom.document("vigild-x", "1", [tmp_path / "a.whl"], [])


def test_entries_have_one_owner_one_time_and_fixed_permissions(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1600000000")
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        bundle._add(tar, "vigild.toml", b"text")
        bundle._add(tar, "vigild-deploy", b"tool")
    data.seek(0)
    with tarfile.open(fileobj=data) as tar:
        kept = [(each.uid, each.gid, each.mtime, oct(each.mode)) for each in tar]
    assert kept == [(0, 0, 1600000000, "0o644"), (0, 0, 1600000000, "0o755")]


@pytest.mark.parametrize("text", ["yesterday", "1", "-5"])
def test_an_epoch_that_no_archive_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    with pytest.raises(CrossError, match="SOURCE_DATE_EPOCH"):
        wheels.epoch()


def test_a_file_that_is_no_bundle_is_told(tmp_path: Path):
    (tmp_path / "x.tar").write_bytes(b"no")
    with pytest.raises(CrossError, match="no bundle"):
        Bundle.open(tmp_path / "x.tar")
    with pytest.raises(CrossError, match="make bundle"):
        Bundle.open(tmp_path / "y.tar")


def test_vigilds_own_wheel_has_the_same_bytes_twice(tmp_path: Path):
    pytest.importorskip("hatchling")
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(wheels.project(tmp_path / name).read_bytes())
    assert made[0] == made[1]
    names = zipfile.ZipFile(io.BytesIO(made[0])).namelist()
    assert "vigild/models/manifest.toml" in names
    assert [name for name in names if name.endswith(".tflite")]
