"""What lies at a path is compared by content; a change is told once, and not while it is being made."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from vigild.catalogue import library
from vigild.catalogue.contents import ABSENT, Contents, Watcher
from vigild.config.schema import ModelConfig


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def config(tmp_path: Path) -> ModelConfig:
    (tmp_path / "m.tflite").write_text("network")
    (tmp_path / "l.txt").write_text("cat")
    return ModelConfig(path=str(tmp_path / "m.tflite"), labels=str(tmp_path / "l.txt"))


def test_everything_that_a_model_is_made_of(tmp_path: Path, config: ModelConfig) -> None:
    contents = Contents()
    path = str(tmp_path / "m.tflite")
    found = contents.fingerprint(config)
    assert found == {
        path: sha("network"),
        f"{path}.anchors.json": ABSENT,
        str(tmp_path / "m.anchors.json"): ABSENT,
        str(tmp_path / "l.txt"): sha("cat"),
    }
    (tmp_path / "m.anchors.json").write_text("{}")
    assert contents.fingerprint(config) != found


@pytest.mark.parametrize("keep_times", [True, False])
@pytest.mark.parametrize("young", [True, False])
def test_a_write_is_seen_however_it_is_made(tmp_path: Path, keep_times: bool, young: bool) -> None:
    """In place or by a rename, with the file's size and its time of writing as they were."""
    clock = [0]
    contents = Contents(lambda: clock[0])
    path = tmp_path / "file"
    path.write_text("one")
    times = path.stat()
    clock[0] = times.st_ctime_ns + (0 if young else 10**10)
    assert contents.digest(str(path)) == sha("one")
    with path.open("r+") as file:
        file.write("two")
    if keep_times:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    clock[0] += 10**10
    assert contents.digest(str(path)) == sha("two")
    other = tmp_path / "other"
    other.write_text("six")
    other.rename(path)
    assert contents.digest(str(path)) == sha("six")


def test_a_file_that_did_not_change_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    contents = Contents(lambda: path.stat().st_ctime_ns + 10**10)
    assert contents.digest(str(path)) == sha("one")
    monkeypatch.setattr("vigild.catalogue.contents._sha256", lambda path: pytest.fail("read again"))
    assert contents.digest(str(path)) == sha("one")


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    contents = Contents()
    for path in (tmp_path / "nothing", tmp_path, tmp_path / "fifo", Path("a\0b"), Path(os.fsdecode(b"/\xff"))):
        assert contents.digest(str(path)) == ABSENT


def test_an_entry_of_the_manifest_counts(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.toml"
    text = 'format = 1\n[model.mine]\n[[model.mine.variant]]\nname = "a"\nfile = "m.tflite"\nlabels = "l.txt"\n'
    manifest.write_text(text)
    (tmp_path / "m.tflite").write_text("network")
    (tmp_path / "l.txt").write_text("cat")
    environ = {"VIGILD_MANIFEST": str(manifest)}
    contents, config = Contents(), ModelConfig(name="mine")
    loaded = str(tmp_path / "m.tflite")
    found = contents.fingerprint(config, loaded, environ)
    assert found[loaded] == sha("network")
    assert found[str(tmp_path / "l.txt")] == sha("cat"), "which only the manifest names"
    manifest.write_text(text + '[model.other]\n[[model.other.variant]]\nname = "a"\nfile = "o.tflite"\n')
    assert contents.fingerprint(config, loaded, environ) == found, "another entry is none of its business"
    manifest.write_text(text + 'resize = "letterbox"\n')
    changed = contents.fingerprint(config, loaded, environ)
    assert {path for path in found if changed[path] != found[path]} == {f"{manifest}#mine"}
    manifest.write_text("broken")
    assert contents.fingerprint(config, loaded, environ)["manifest#mine"] == ABSENT


def test_manifests_that_did_not_change_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = tmp_path / "manifest.toml"
    text = 'format = 1\n[model.mine]\n[[model.mine.variant]]\nname = "a"\nfile = "m.tflite"\n'
    manifest.write_text(text)
    environ = {"VIGILD_MANIFEST": str(manifest)}
    read: list[int] = []
    load = library.load
    monkeypatch.setattr("vigild.catalogue.library.load", lambda environ: (read.append(1), load(environ))[1])
    contents, config = Contents(lambda: time.time_ns() + 10**10), ModelConfig(name="mine")
    found = contents.fingerprint(config, "", environ)
    assert contents.fingerprint(config, "", environ) == found
    assert len(read) == 1
    manifest.write_text(text + 'resize = "letterbox"\n')
    assert contents.fingerprint(config, "", environ) != found
    manifest.unlink()
    assert contents.fingerprint(config, "", environ)["manifest#mine"] == ABSENT
    assert len(read) == 3
    # Within the resolution of a file's times a second change cannot be seen: not trusted yet.
    manifest.write_text(text)
    young = Contents()
    assert young.fingerprint(config, "", environ) == young.fingerprint(config, "", environ)
    assert len(read) == 5


def test_the_watcher_tells_each_change_once_and_when_it_is_whole(tmp_path: Path, config: ModelConfig) -> None:
    path = tmp_path / "m.tflite"
    watcher = Watcher(Contents(), config, str(path), {})
    assert watcher.look() == []
    path.write_text("netw")
    assert watcher.look() == [], "it may be half of a copy"
    path.write_text("another")
    assert watcher.look() == []
    assert watcher.look() == [f"{path} now holds something else than what runs; vigild reload takes it up"]
    assert watcher.look() == []
    path.unlink()
    watcher.look()
    assert watcher.look() == [f"{path} is gone or cannot be read; what was loaded from it goes on"]
    path.write_text("network")
    assert [watcher.look() for _ in range(3)] == [[], [], []], "what runs is back"
    path.write_text("another")
    watcher.look()
    assert len(watcher.look()) == 1, "and gone again"


def test_what_changed_before_the_watch_began_is_told_too(tmp_path: Path, config: ModelConfig) -> None:
    path = str(tmp_path / "m.tflite")
    watcher = Watcher(Contents(), config, path, {path: sha("what was loaded")})
    watcher.look()
    assert len(watcher.look()) == 1
