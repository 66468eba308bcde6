"""What a source means, and that its credentials never show."""

import contextlib
import os
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vigild.config.source import SourceError, SourceSpec, absent, parse_source, redact


@pytest.mark.parametrize(
    ("text", "kind", "target"),
    [
        ("/dev/video0", "v4l2", "/dev/video0"),
        ("/dev/v4l/by-id/usb-cam-index0", "v4l2", "/dev/v4l/by-id/usb-cam-index0"),
        ("/dev/shm/clip.mp4", "file", "/dev/shm/clip.mp4"),
        ("clip.mp4", "file", "clip.mp4"),
        ("/videos/a clip.mkv", "file", "/videos/a clip.mkv"),
        ("images:frames", "images", "frames"),
        ("images:/data/frames/", "images", "/data/frames/"),
        ("rtsp://10.0.0.7:554/stream", "rtsp", "rtsp://10.0.0.7:554/stream"),
        ("rtsps://cam/stream", "rtsp", "rtsps://cam/stream"),
        ("RTSP://cam/stream", "rtsp", "RTSP://cam/stream"),
        ("http://cam/mjpeg", "http", "http://cam/mjpeg"),
        ("https://[::1]:8443/mjpeg", "http", "https://[::1]:8443/mjpeg"),
        ("exec:rpicam-vid -t 0 --codec mjpeg -o -", "exec", "rpicam-vid -t 0 --codec mjpeg -o -"),
        ("exec:ffmpeg -i http://x/y -f mjpeg -", "exec", "ffmpeg -i http://x/y -f mjpeg -"),
        ("testcard", "testcard", ""),
        (" testcard ", "testcard", ""),
    ],
)
def test_kinds(text: str, kind: str, target: str) -> None:
    source = parse_source(text)
    assert (source.kind, source.target) == (kind, target)
    assert source.replayable == (kind in ("file", "images", "testcard"))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("0", 'write "/dev/video0"'),
        ("images:", "needs a folder"),
        ("exec: ", "needs a command"),
        ("rtmp://cam/live", "rtmp:// is not read"),
        ("rtsp:///stream", "names no host"),
        ("http://cam:port/", "host and port"),
        ("http://[::1/", "not a valid URL"),
        ("http://cam/a b", "%20"),
        ("frames/", 'write "images:frames/"'),
        ("/dev/v4l/by-id/", "name one device"),
        ("clip\0.mp4", "NUL"),
    ],
)
def test_refusals_say_what_to_write(text: str, part: str) -> None:
    with pytest.raises(SourceError) as refused:
        parse_source(text)
    assert part in str(refused.value)


@given(st.text())
@example("http://[")
def test_any_text_is_a_source_or_refused(text: str) -> None:
    with contextlib.suppress(SourceError):
        parse_source(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://user:secret@10.0.0.7/stream", "rtsp://***@10.0.0.7/stream"),
        ("rtsp://user@10.0.0.7/stream", "rtsp://***@10.0.0.7/stream"),
        ("rtsp://user:a@b@10.0.0.7/stream", "rtsp://***@10.0.0.7/stream"),
        ("rtsp://user:sec/ret@10.0.0.7/stream", "rtsp://***@10.0.0.7/stream"),
        ("rtsp://user:sec?ret@10.0.0.7/stream", "rtsp://***@10.0.0.7/stream"),
        ("rtsp://user:a://b@10.0.0.7/stream", "rtsp://***@10.0.0.7/stream"),
        ("lost:rtsp://user:secret@10.0.0.7/stream", "lost:rtsp://***@10.0.0.7/stream"),
        ("rtsp://user:sec#ret@10.0.0.7/stream", "rtsp://***@10.0.0.7/stream"),
        ("cannot open rtsp://u:secret@cam/x, retry", "cannot open rtsp://***@cam/x, retry"),
        ("http://u:secret@cam/x?to=a@b", "http://***@b"),
        ("rtsp://a/x then http://u:secret@b/y", "rtsp://a/x then http://***@b/y"),
        ("rtsp://a/x,rtsp://u:secret@b/y", "rtsp://a/x,rtsp://***@b/y"),
        ("http://cam/snap?user=admin&password=secret&ch=1", "http://cam/snap?user=***&password=***&ch=1"),
        ("http://cam/snap?access_token=secret", "http://cam/snap?access_token=***"),
        ("http://cam/snap?Auth=secret;x=1", "http://cam/snap?Auth=***;x=1"),
        ("rtsp://cam:554/user=admin_password=secret_channel=1.sdp", "rtsp://cam:554/user=***"),
        ("exec:ffmpeg -i 'rtsp://u:secret@cam/x' -f mjpeg -", "exec:ffmpeg -i 'rtsp://***@cam/x' -f mjpeg -"),
        ("exec:curl -u admin:secret http://cam/", "exec:curl -u *** http://cam/"),
        ("exec:get --password 'a secret' http://cam/", "exec:get --password *** http://cam/"),
        ("exec:get --password=secret http://cam/", "exec:get --password=*** http://cam/"),
        ("exec:TOKEN=secret run", "exec:TOKEN=*** run"),
        ("curl -H 'Authorization: Basic secret' http://x", "curl -H 'Authorization: ***' http://x"),
    ],
)
def test_credentials_are_hidden(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "/dev/video0",
        "clip.mp4",
        "rtsp://10.0.0.7:554/stream?channel=1&subtype=0",
        "http://cam:8080/@2x.jpg",
        "http://[fe80::1]/x@y",
        "https://[::1]:8443/x@y",
        "exec:rpicam-vid -t 0 --width=640 --framerate=30 --codec mjpeg -o -",
        "mail someone@example.org",
        "camera.front.fps: found 0, expected a number above 0 and at most 1000",
    ],
)
def test_what_is_no_credential_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "secret",
    [
        "Zq7]/7qZ",
        "Zq7]?7qZ",
        "Zq7]",
        "Zq7]a://7qZ",
        "Zq7,rtsp://7qZ",
        "123456/Zq7",
        "[Zq7]/7qZ",
        "Zq7\u0661/7qZ",
        "\u0661/Zq7",
    ],
)
def test_a_password_that_looks_like_part_of_an_address_never_shows(secret: str) -> None:
    shown = redact(f"cannot open rtsp://admin:{secret}@10.0.0.7/live now")
    assert shown == "cannot open rtsp://***@10.0.0.7/live now"


def test_urls_that_follow_one_another_are_hidden_each() -> None:
    shown = redact("rtsp://a:secret@h1/x,rtsp://b:secret@h2/y,rtsp://h3:554/z")
    assert shown == "rtsp://***@h1/x,rtsp://***@h2/y,rtsp://h3:554/z"


_SECRETS = st.text(
    st.characters(codec="ascii", categories=("L", "N", "P", "S"), exclude_characters="'\"&;#"), min_size=1
).map(lambda text: "Zq7" + text + "7qZ")


@given(
    _SECRETS, st.sampled_from(["rtsp", "http", "https", "rtsps"]), st.sampled_from(["", "exec:play ", "open failed: "])
)
def test_a_password_in_a_url_never_shows(secret: str, scheme: str, before: str) -> None:
    shown = redact(f"{before}{scheme}://admin:{secret}@10.0.0.7:554/stream?x=1 -o -")
    assert "Zq7" not in shown
    assert "7qZ" not in shown
    assert "10.0.0.7:554/stream" in shown


@given(_SECRETS, st.sampled_from(["password", "pwd", "token", "auth", "api_key", "loginpas", "sig"]))
def test_a_password_in_a_query_never_shows(secret: str, name: str) -> None:
    shown = redact(f"cannot read http://10.0.0.7/snap?ch=1&{name}={secret}&q=2")
    assert "Zq7" not in shown
    assert "7qZ" not in shown


@given(st.text() | st.from_regex(r"(https?://[\w:@/?#=&.]{0,30} ?){1,3}", fullmatch=True))
def test_hiding_twice_changes_nothing_more(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


def test_hiding_takes_linear_time() -> None:
    # A pattern that backtracks would take minutes here; the suite's time-out would end it.
    for text in ("pass" * 50_000, "://" * 50_000, "a://" * 20_000 + "@", "-" * 100_000, "authorization" * 10_000):
        redact(text)


def test_a_source_hides_its_credentials_in_text() -> None:
    source = parse_source("rtsp://user:secret@cam/x")
    assert isinstance(source, SourceSpec)
    assert "secret" in source.target
    assert "secret" not in f"{source} {source!r}"


# ---- what is not there


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("clip.mp4", None),
        ("images:pictures", None),
        ("images:pictures/", None),
        ("/dev/video99", None),
        ("rtsp://10.0.0.7/none", None),
        ("exec:nothing", None),
        ("testcard", None),
        ("clip.mp5", "there is no video file .*; did you mean clip.mp4"),
        ("nope/x.mp4", "there is no video file .*; correct the source"),
        ("x" * 300 + ".mp4", "there is no video file"),
        ("pictures", 'is a folder; write "images:.*pictures" to read the pictures'),
        ("images:picture", "there is no folder .*; did you mean pictures"),
        ("images:clip.mp4", "is no folder"),
    ],
)
def test_files_and_folders_that_are_absent(tmp_path, monkeypatch, source: str, words: str | None) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.mp4").write_bytes(b"x")
    (tmp_path / "pictures").mkdir()
    found = absent(source)
    if words is None:
        assert found is None
    else:
        assert found is not None
        assert re.search(words, found), found


def test_bytes_that_are_no_utf8_are_told(tmp_path) -> None:
    with pytest.raises(SourceError, match="no UTF-8"):
        parse_source(os.fsdecode(b"images:/tmp/caf\xe9"))
