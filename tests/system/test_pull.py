"""`vigild models pull` against a real server that drops, truncates, corrupts, redirects and hangs."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import pty
import resource
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from embedded_model import default_file
from publisher import Publisher, Reply
from vigild.catalogue import embedded, manifest, store
from vigild.catalogue.download import Download, DownloadError, Partial, next_url
from vigild.catalogue.entry import Entry, ManifestError
from vigild.catalogue.pull import pull, wanted

REPO = Path(__file__).resolve().parents[2]
HANG_S = 60

MODEL = b"\x1c\x00\x00\x00TFL3" + bytes(range(256)) * 1200
"""300 KB that begin as a TFLite file does."""
SHA = hashlib.sha256(MODEL).hexdigest()
PATH = "/m.tflite"


@pytest.fixture
def publisher():
    with Publisher() as publisher:
        publisher.files[PATH] = MODEL
        yield publisher


@pytest.fixture(autouse=True)
def without_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


def text(url: str, **keys: object) -> str:
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in {"sha256": SHA, **keys}.items() if value)
    return (
        f'format = 1\n[model.m]\n[[model.m.variant]]\nname = "v"\nfile = "m.tflite"\nurl = {json.dumps(url)}\n{lines}\n'
    )


def entry_of(url: object, **keys: object) -> Entry:
    found = manifest.parse(text(url, **keys), "m.toml", "/nowhere")
    assert not found.refused, found.refused
    return found.entries["m"]


class Puller:
    """Pulls into a folder without waiting between attempts, and remembers the waits and the progress."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.target = folder / "m" / "m.tflite"
        self.part = folder / "m" / "m.tflite.part"
        self.waits: list[float] = []
        self.progress: list[tuple[int, int]] = []

    def __call__(self, entry: Entry, timeout_s: float = 20.0, **options: bool):
        return pull(
            entry,
            entry.variants[0],
            self.folder,
            lambda here, total: self.progress.append((here, total)),
            timeout_s=timeout_s,
            sleep=self.waits.append,
            **options,
        )

    def fails(self, entry: Entry, **options: float) -> str:
        with pytest.raises(DownloadError) as failure:
            self(entry, **options)
        assert not self.target.exists(), "only what is whole and right gets the name"
        said = str(failure.value)
        assert "\n" not in said
        return said

    def files(self) -> set[str]:
        return {path.name for path in (self.folder / "m").glob("*")}


@pytest.fixture
def puller(tmp_path):
    return Puller(tmp_path)


# ---- what goes well


def test_a_file_is_fetched_checked_and_given_its_name(publisher, puller):
    done = puller(entry_of(publisher.url(PATH), bytes=len(MODEL)))
    assert (done.path, done.sha256, done.fetched, done.first) == (puller.target, SHA, True, False)
    assert puller.target.read_bytes() == MODEL
    assert puller.files() == {"m.tflite"}, "nothing else is left"
    assert puller.progress[0] == (0, len(MODEL))
    assert puller.progress[-1] == (len(MODEL), len(MODEL))
    again = puller(entry_of(publisher.url(PATH)))
    assert not again.fetched
    assert len(publisher.requests) == 1
    assert puller(entry_of(publisher.url(PATH)), force=True).fetched


def test_a_damaged_file_is_fetched_again(publisher, puller):
    puller(entry_of(publisher.url(PATH)))
    puller.target.write_bytes(b"damage")
    assert puller(entry_of(publisher.url(PATH))).fetched
    assert puller.target.read_bytes() == MODEL


def test_a_hash_that_is_not_known_is_taken_and_holds(publisher, puller):
    entry = entry_of(publisher.url(PATH), sha256=None)
    done = puller(entry)
    assert (done.first, done.sha256) == (True, SHA)
    assert store.recorded(puller.target) == SHA
    assert store.record_path(puller.target).read_text() == f"{SHA}  m.tflite\n"
    assert not puller(entry).first
    publisher.files[PATH] = MODEL + b"other"
    puller.target.unlink()
    assert "but " + SHA + " is expected" in puller.fails(entry)


def test_a_file_put_there_by_hand_is_taken_as_it_is(publisher, puller):
    puller.target.parent.mkdir()
    puller.target.write_bytes(MODEL)
    done = puller(entry_of(publisher.url(PATH), sha256=None))
    assert (done.fetched, done.first, publisher.requests) == (False, True, [])


@pytest.mark.parametrize("reply", [Reply(chunked=True), Reply(length=False), Reply(etag=False)])
def test_servers_that_say_little_about_the_file(publisher, puller, reply):
    publisher.always(PATH, reply)
    assert puller(entry_of(publisher.url(PATH))).sha256 == SHA


def test_the_next_address_is_tried(publisher, puller):
    done = puller(entry_of([publisher.url("/gone"), publisher.url(PATH)]))
    assert done.sha256 == SHA
    assert [path for path, _ in publisher.requests] == ["/gone", PATH]
    puller.target.unlink()
    said = puller.fails(entry_of([publisher.url("/gone"), publisher.url("/too")]))
    assert (
        said == f"{publisher.url('/gone')}: the server answers 404 Not Found; {publisher.url('/too')}: "
        "the server answers 404 Not Found"
    )


def test_a_member_of_an_archive(publisher, puller):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labelmap.txt", "a\n")
        archive.writestr("detect.tflite", MODEL)
    publisher.files["/m.zip"] = packed.getvalue()
    url = publisher.url("/m.zip")
    done = puller(entry_of(url, member="detect.tflite", bytes=len(MODEL)))
    assert done.path.read_bytes() == MODEL
    assert puller.files() == {"m.tflite"}
    puller.target.unlink()
    assert "the archive holds no other.tflite" in puller.fails(entry_of(url, member="other.tflite"))
    assert "more than the 1000 bytes expected" in puller.fails(entry_of(url, member="detect.tflite", bytes=1000))
    publisher.files["/m.zip"] = MODEL
    assert "expected a ZIP archive with detect.tflite" in puller.fails(entry_of(url, member="detect.tflite"))
    assert puller.files() == set()


def test_an_unpacked_file_is_not_continued_as_the_archive(publisher, puller, monkeypatch):
    """When the file could not be given its name, a later run fetches the archive again."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("detect.tflite", MODEL)
    publisher.files["/m.zip"] = packed.getvalue()
    entry = entry_of(publisher.url("/m.zip"), member="detect.tflite")
    with monkeypatch.context() as context:
        context.setattr(os, "fsync", lambda fd: os.close(-1))
        assert "cannot be written: Bad file descriptor" in puller.fails(entry)
    assert puller.part.read_bytes() == MODEL
    assert puller(entry).sha256 == SHA
    assert publisher.ranges("/m.zip") == ["", ""]


# ---- connections that break


def test_a_dropped_connection_goes_on_where_it_ended(publisher, puller):
    publisher.script(PATH, Reply(drop_after=100_000), Reply(drop_after=50_000))
    assert puller(entry_of(publisher.url(PATH))).sha256 == SHA
    assert publisher.ranges(PATH) == ["", "bytes=100000-", "bytes=150000-"]
    assert puller.waits == [1.0, 1.0], "each had brought something"


def test_a_chunked_answer_that_breaks_off_goes_on(publisher, puller):
    publisher.script(PATH, Reply(chunked=True, drop_after=100_000))
    assert puller(entry_of(publisher.url(PATH))).sha256 == SHA
    assert len(publisher.requests) == 2


def test_a_later_run_goes_on_where_an_earlier_ended(publisher, puller):
    publisher.script(PATH, Reply(drop_after=100_000), *[Reply(drop_after=0)] * 3)
    assert "given up after 4 attempts" in puller.fails(entry_of(publisher.url(PATH)))
    assert puller.part.stat().st_size == 100_000
    assert puller.waits == [1.0, 2.0, 4.0]
    publisher.requests.clear()
    assert puller(entry_of(publisher.url(PATH))).sha256 == SHA
    assert publisher.ranges(PATH) == ["bytes=100000-"]
    assert puller.files() == {"m.tflite"}


def test_without_a_hash_only_the_same_file_is_continued(publisher, puller):
    entry = entry_of(publisher.url(PATH), sha256=None)
    publisher.script(PATH, Reply(drop_after=100_000), *[Reply(drop_after=0)] * 3)
    puller.fails(entry)
    other = MODEL[:8] + bytes(300_000)
    publisher.files[PATH] = other
    assert puller(entry).path.read_bytes() == other, "the validator changed, so the server sends all of it"
    puller.target.unlink()
    store.record_path(puller.target).unlink()
    publisher.script(PATH, Reply(drop_after=1000, etag=False), *[Reply(drop_after=0, etag=False)] * 3)
    puller.fails(entry)
    publisher.requests.clear()
    assert puller(entry).path.read_bytes() == other
    assert publisher.ranges(PATH) == [""], "nothing says that it is the same file"


def test_the_servers_validator_is_sent_back_and_compared(publisher, puller):
    entry = entry_of(publisher.url(PATH), sha256=None)
    publisher.script(PATH, Reply(drop_after=100_000), *[Reply(drop_after=0)] * 3)
    puller.fails(entry)
    etag = f'"{SHA[:16]}"'
    assert [headers.get("if-range", "") for _, headers in publisher.requests] == ["", etag, etag, etag]
    other = MODEL[:8] + bytes(300_000)
    publisher.files[PATH] = other
    publisher.always(PATH, Reply(if_range=False))
    assert puller(entry).path.read_bytes() == other, "half of each would be no model"


def test_a_file_without_hash_and_validator_is_never_pieced_together(publisher, puller):
    publisher.always(PATH, Reply(etag=False))
    publisher.script(PATH, Reply(etag=False, drop_after=100_000))
    assert puller(entry_of(publisher.url(PATH), sha256=None)).sha256 == SHA
    assert publisher.ranges(PATH) == ["", ""]


def test_a_server_without_ranges_begins_anew(publisher, puller):
    publisher.always(PATH, Reply(ranges=False))
    publisher.script(PATH, Reply(drop_after=100_000))
    assert puller(entry_of(publisher.url(PATH))).sha256 == SHA


def test_a_range_that_was_not_asked_for_is_not_used(publisher, puller):
    publisher.script(PATH, Reply(drop_after=100_000), Reply(wrong_range=True))
    assert puller(entry_of(publisher.url(PATH))).sha256 == SHA
    assert publisher.ranges(PATH) == ["", "bytes=100000-", ""]


def test_leftovers_that_do_not_fit_are_thrown_away(publisher, puller):
    """Bytes of another file, of another address, or too many of them."""
    entry = entry_of(publisher.url(PATH))
    about = puller.part.with_name(puller.part.name + ".json")
    puller.part.parent.mkdir()
    same = json.dumps({"url": publisher.url(PATH), "validator": ""})
    for content, known, asked in (
        (b"x" * 1000, same, ["bytes=1000-", ""]),  # seen by the hash, then fetched whole
        (MODEL[:1000], json.dumps({"url": "https://other/x", "validator": '"e"'}), [""]),
        (MODEL[:1000], "{", [""]),
        (MODEL[:1000], "[1]", [""]),
        (MODEL + b"x", same, [f"bytes={len(MODEL) + 1}-", ""]),
        (MODEL, same, [f"bytes={len(MODEL)}-", ""]),
    ):
        puller.part.write_bytes(content)
        about.write_text(known)
        publisher.requests.clear()
        assert puller(entry).sha256 == SHA
        assert publisher.ranges(PATH) == asked
        puller.target.unlink()


def test_a_whole_leftover_is_not_fetched_again(publisher, puller):
    puller.part.parent.mkdir()
    puller.part.write_bytes(MODEL)
    puller.part.with_name(puller.part.name + ".json").write_text(
        json.dumps({"url": publisher.url(PATH), "validator": ""})
    )
    assert puller(entry_of(publisher.url(PATH), bytes=len(MODEL))).sha256 == SHA
    assert publisher.requests == []


def test_a_server_that_hangs_is_left(publisher, puller):
    publisher.script(PATH, Reply(stall_after=100_000))
    assert puller(entry_of(publisher.url(PATH)), timeout_s=0.3).sha256 == SHA
    assert publisher.ranges(PATH) == ["", "bytes=100000-"]
    puller.target.unlink()
    publisher.always(PATH, Reply(stall_after=0))
    said = puller.fails(entry_of(publisher.url(PATH)), timeout_s=0.2)
    assert said == f"{publisher.url(PATH)}: the server sent nothing for 0.2 s; given up after 4 attempts"


def test_a_server_that_trickles_is_left(publisher, puller):
    """A byte now and then would pass every time-out."""
    publisher.script(PATH, Reply(trickle_s=0.02))
    with Partial(puller.target) as partial:
        download = Download(
            publisher.url(PATH), partial, max_bytes=10**6, hash_known=True, stall_s=0.2, sleep=puller.waits.append
        )
        download.run()
        assert puller.part.read_bytes() == MODEL
    assert puller.waits == [1.0]
    assert len(publisher.requests) == 2


def test_a_server_that_is_not_there(publisher, puller):
    with Publisher() as gone:
        url = gone.url(PATH)
    assert (
        puller.fails(entry_of(url))
        == f"{url}: 127.0.0.1 cannot be reached: Connection refused; given up after 4 attempts"
    )
    assert not (puller.folder / "m").exists(), "no folder is left where there was none"
    long_label = "a" * 70
    assert puller.fails(entry_of(f"https://{long_label}.example/m")).startswith(f"https://{long_label}.example/m: ")


def test_a_busy_server_is_asked_again_and_a_refusing_one_is_not(publisher, puller):
    publisher.script(PATH, Reply(status=503, body=b""), Reply(status=429, body=b""))
    assert puller(entry_of(publisher.url(PATH))).sha256 == SHA
    puller.target.unlink()
    publisher.requests.clear()
    publisher.always(PATH, Reply(status=403, body=b""))
    assert puller.fails(entry_of(publisher.url(PATH))).endswith("the server answers 403 Forbidden")
    assert len(publisher.requests) == 1


# ---- what is not the file


def test_a_corrupted_file_is_refused_and_nothing_of_it_stays(publisher, puller):
    publisher.files[PATH] = MODEL[:-1] + b"x"
    found = hashlib.sha256(MODEL[:-1] + b"x").hexdigest()
    said = puller.fails(entry_of(publisher.url(PATH)))
    assert said == f"{publisher.url(PATH)}: the file has the SHA-256 {found}, but {SHA} is expected"
    assert puller.files() == set()


def test_another_size_is_refused_before_it_is_fetched(publisher, puller):
    said = puller.fails(entry_of(publisher.url(PATH), bytes=1000))
    assert f"the server has {len(MODEL)} bytes, but the manifest says 1000" in said
    assert puller.progress == []


def test_no_more_is_read_than_was_said(publisher, puller):
    publisher.always(PATH, Reply(chunked=True))
    assert "sends more than the 1000 bytes expected" in puller.fails(entry_of(publisher.url(PATH), bytes=1000))
    publisher.always(PATH, Reply(headers={"Content-Length": str(2**40)}))
    assert f"has {2**40} bytes; up to {512 * 2**20} are expected" in puller.fails(entry_of(publisher.url(PATH)))
    publisher.always(PATH, Reply(headers={"Content-Length": "-5"}))
    assert "gives the length '-5'; expected a number" in puller.fails(entry_of(publisher.url(PATH)))


def test_too_short_a_file_is_no_file(publisher, puller):
    publisher.always(PATH, Reply(headers={"Content-Length": str(len(MODEL) + 10)}, ranges=False))
    said = puller.fails(entry_of(publisher.url(PATH)))
    assert f"the connection ended after {len(MODEL)} of {len(MODEL) + 10} bytes; given up after" in said


def test_a_file_whose_end_nobody_can_know_is_refused(publisher, puller):
    publisher.always(PATH, Reply(length=False))
    assert "does not say how large the file is" in puller.fails(entry_of(publisher.url(PATH), sha256=None))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<!DOCTYPE html><html>Sign in</html>", "(a web page)"),
        (b"version https://git-lfs.github.com/spec/v1\n", "(a Git LFS pointer)"),
        (b"PK\x03\x04" + bytes(100), "(a ZIP archive; member names the file in it)"),
        (b"short", "what came is no TFLite model; expected"),
    ],
)
def test_what_is_no_model_is_refused_even_without_a_hash(publisher, puller, body, kind):
    publisher.files[PATH] = body
    assert kind in puller.fails(entry_of(publisher.url(PATH), sha256=None))
    assert puller.files() == set()


def test_a_compressed_answer_that_was_not_asked_for_is_refused(publisher, puller):
    publisher.always(PATH, Reply(headers={"Content-Encoding": "gzip"}))
    assert "sends it as gzip, unasked" in puller.fails(entry_of(publisher.url(PATH)))


# ---- redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(publisher, puller, status):
    publisher.redirect("/a", "/b/../b?x=1#part", status)
    publisher.redirect("/b?x=1", publisher.url(PATH), status)
    publisher.redirect("/b/../b?x=1", "/b?x=1", status)
    publisher.script(PATH, Reply(drop_after=1000))
    assert puller(entry_of(publisher.url("/a"))).sha256 == SHA
    assert publisher.ranges(PATH) == ["", "bytes=1000-"]


def test_redirects_that_lead_nowhere(publisher, puller):
    publisher.redirect("/a", "/b")
    publisher.redirect("/b", "/a")
    assert f"redirects in a circle, back to {publisher.url('/a')}" in puller.fails(entry_of(publisher.url("/a")))
    publisher.redirect("/self", "/self")
    assert "redirects in a circle" in puller.fails(entry_of(publisher.url("/self")))
    for number in range(20):
        publisher.redirect(f"/{number}", f"/{number + 1}")
    assert "redirects more than 8 times" in puller.fails(entry_of(publisher.url("/0")))
    for location in ("file:///etc/passwd", "ftp://h/x", "", "http://", "//", "http://h:x/", "https://u:p@h/", "/a b"):
        publisher.redirect("/c", location)
        assert "which is no http or https address" in puller.fails(entry_of(publisher.url("/c"))), location


def test_a_redirect_never_leaves_encryption():
    assert next_url("https://h/a", "https://other/b") == "https://other/b"
    assert next_url("http://h/a", "https://other/b") == "https://other/b"
    with pytest.raises(DownloadError, match="from https to unencrypted http://h/b"):
        next_url("https://h/a", "http://h/b")


# ---- the folder


def test_two_downloads_of_one_file_do_not_meet(publisher, puller, tmp_path):
    with Partial(puller.target), pytest.raises(DownloadError, match="is being written by another download"):
        puller(entry_of(publisher.url(PATH)))
    assert puller(entry_of(publisher.url(PATH))).sha256 == SHA


def test_a_file_that_got_its_name_meanwhile_is_not_written_to(puller, monkeypatch):
    """Another download may end between opening the partial file and locking it."""
    lock = fcntl.flock

    def late_lock(file: object, operation: int) -> None:
        if puller.part.exists() and not puller.target.exists():
            puller.part.rename(puller.target)
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", late_lock)
    with Partial(puller.target) as partial:
        partial.write(b"new")
        assert puller.target.read_bytes() == b""
        assert puller.part.read_bytes() == b"new"


def test_many_at_once_end_with_one_whole_file(publisher, tmp_path):
    entry = entry_of(publisher.url(PATH))
    outcomes: list[object] = []

    def one() -> None:
        try:
            outcomes.append(Puller(tmp_path)(entry).sha256)
        except DownloadError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert SHA in outcomes
    assert all(outcome == SHA or "another download" in str(outcome) for outcome in outcomes)
    assert (tmp_path / "m" / "m.tflite").read_bytes() == MODEL


def test_a_folder_that_cannot_be_used_is_a_sentence(publisher, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match=r"m.tflite.part cannot be written: Not a directory"):
        Puller(tmp_path / "file")(entry_of(publisher.url(PATH)))
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "m.tflite.part").symlink_to(tmp_path / "victim")
    with pytest.raises(DownloadError, match="cannot be written: Too many levels of symbolic links"):
        Puller(tmp_path)(entry_of(publisher.url(PATH)))
    assert not (tmp_path / "victim").exists()


def test_a_file_that_cannot_grow_is_a_sentence(publisher, puller):
    """As on a full disk; what is there already is kept for a later run."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        said = puller.fails(entry_of(publisher.url(PATH)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert said == f"{puller.target} cannot be written: File too large"
    publisher.requests.clear()
    assert puller(entry_of(publisher.url(PATH))).sha256 == SHA
    assert publisher.ranges(PATH) == ["bytes=100000-"]


def test_too_little_room_is_seen_before(publisher, puller, monkeypatch):
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result((4096, 4096, 99, 50, 50, 9, 9, 9, 0, 255)))
    said = puller.fails(entry_of(publisher.url(PATH)))
    assert said.endswith("has 0 MiB left, but the file needs 1 MiB; make room")
    assert puller.progress == []


# ---- what is fetched


def test_what_pull_fetches():
    found = manifest.parse(
        """
        format = 1
        [model.m]
        [[model.m.variant]]
        name = "tpu"
        file = "a"
        url = "https://h/a"
        delegate = "edgetpu"
        cpu_twin = "int8"
        [[model.m.variant]]
        name = "own"
        file = "b"
        [[model.m.variant]]
        name = "int8"
        file = "c"
        url = "https://h/c"
        """,
        "m.toml",
        "/m",
    ).entries["m"]
    assert [v.name for v in wanted(found)] == ["int8"]
    assert [v.name for v in wanted(found, "tpu")] == ["tpu", "int8"]
    assert [v.name for v in wanted(found, "own")] == ["own"]
    with pytest.raises(ManifestError, match="its variants are tpu, own, int8"):
        wanted(found, "x")
    with pytest.raises(ManifestError, match=r"not published as a .tflite file; put the file at .*/m/b"):
        pull(found, found.variants[1], Path("/d"))


# ---- the command


class Command:
    def __init__(self, folder: Path, manifest_text: str) -> None:
        (folder / "m.toml").write_text(manifest_text)
        self.models = folder / "models"
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(REPO / "daemon"),
            "VIGILD_MANIFEST": str(folder / "m.toml"),
            "VIGILD_MODELS": str(self.models),
            "no_proxy": "*",
        }

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "vigild", "models", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=HANG_S,
        )


def test_the_command_pulls_lists_shows_and_verifies(publisher, tmp_path):
    command = Command(tmp_path, text(publisher.url(PATH), bytes=len(MODEL), size=[320, 240], dtype="uint8"))
    done = command("pull", "m:v")
    path = command.models / "m" / "m.tflite"
    assert (done.returncode, done.stdout) == (0, f"m:v: fetched: {path}, SHA-256 {SHA}\n"), done.stderr
    assert done.stderr == "m:v: downloading 0.3 MB\n", "one line where there is no terminal"
    listed = command("list").stdout.splitlines()
    assert listed[0].split() == ["MODEL", "VARIANT", "INPUT", "SIZE", "COCO", "AP", "HERE"]
    assert next(line for line in listed if line.startswith("m ")).split() == [
        *("m", "v", "320x240", "uint8", "0.3", "MB", "yes")
    ]
    entry = next(entry for entry in json.loads(command("list", "--json").stdout) if entry["name"] == "m")
    assert entry["variants"][0]["path"] == str(path)
    assert SHA in command("show", "m").stdout
    verified = command("verify", "m")
    assert (verified.returncode, verified.stdout) == (0, f"m:v: ok ({path})\n")
    path.write_bytes(b"damage")
    verified = command("verify")
    assert verified.returncode == 1
    assert f"m:v: damaged: its SHA-256 is {hashlib.sha256(b'damage').hexdigest()}, but {SHA}" in verified.stdout


def test_what_is_here_is_listed_with_its_size(tmp_path):
    """Also where the manifest does not say it, as of the embedded models."""
    listed = Command(tmp_path, text("https://h/x"))("list").stdout.splitlines()
    default = embedded.entry().variants[0]
    (line,) = [line for line in listed if line.split()[:2] == [embedded.ENTRY, default.name]]
    assert line.endswith("yes")
    assert f" {default_file().stat().st_size / 1e6:.1f} MB " in line


def test_the_command_says_in_a_sentence_what_failed(publisher, tmp_path):
    command = Command(tmp_path, text(publisher.url("/gone")) + "\n[model.bad]\ntypo = 1\n")
    done = command("pull", "m")
    assert done.returncode == 1
    assert f"vigild: m:v: {publisher.url('/gone')}: the server answers 404 Not Found.\n" in done.stderr
    assert '"typo" is unknown' in done.stderr, "and what else is wrong with the manifest"
    assert "Traceback" not in done.stderr
    for arguments, sentence in (
        (("pull", "nothing"), "There is no model named 'nothing'"),
        (("pull", "m:w"), "m has no variant 'w'; its variants are v."),
        (("show", "bad"), "The model bad of the manifest is refused"),
        (("pull", embedded.ENTRY), "comes with the package"),
    ):
        done = command(*arguments)
        assert (done.returncode, sentence in done.stderr) == (1, True), done.stderr


def test_a_terminal_gets_a_bar(publisher, tmp_path):
    command = Command(tmp_path, text(publisher.url(PATH)))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "vigild", "models", "pull", "m"],
        env=command.environment,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 4096):
            seen += chunk
    except OSError:
        pass  # EIO: the other end is closed
    os.close(ours)
    assert process.wait(HANG_S) == 0
    assert b"m:v  [########################] 100 %  0.3 of 0.3 MB" in seen
    assert seen.endswith(b"\r\n")
