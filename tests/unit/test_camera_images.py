import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from vigild.camera.frames import BadFrame, Buffers
from vigild.camera.sources.base import Grab, SourceFailed
from vigild.camera.sources.images import ImagesSource

BUFFERS = Buffers(2)


def fill(folder: Path, *names: str) -> None:
    for level, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), np.full((24, 32, 3), 10 * level, np.uint8))


def read_all(source: ImagesSource) -> list[str]:
    names = []
    while source.grab() is Grab.FRAME:
        try:
            names.append(source.retrieve(BUFFERS).file)
        except BadFrame as error:
            names.append(f"bad: {error}")
    return names


def test_all_kinds_sorted_by_name(tmp_path: Path) -> None:
    fill(tmp_path, "b.JPG", "a.jpeg", "d.png", "c.bmp", "e.webp")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "folder.jpg").mkdir()
    source = ImagesSource(str(tmp_path), None)
    assert source.open().fps == 1.0
    assert read_all(source) == ["a.jpeg", "b.JPG", "c.bmp", "d.png", "e.webp"]


def test_broken_files_are_named(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "c.jpg")
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8 broken")
    (tmp_path / "d.png").write_bytes(b"")
    source = ImagesSource(str(tmp_path), None)
    source.open()
    first, broken, third, empty = read_all(source)
    assert (first, third) == ("a.jpg", "c.jpg")
    assert "b.jpg" in broken
    assert "d.png" in empty


def test_skip_and_rewind(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "b.png", "c.png")
    source = ImagesSource(str(tmp_path), None)
    source.open()
    assert source.skip(2) == 2
    assert read_all(source) == ["c.png"]
    assert source.skip(5) == 0
    fill(tmp_path, "d.png")
    source.rewind()
    assert read_all(source) == ["a.png", "b.png", "c.png", "d.png"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_text(""), "not a folder"),
        (lambda path: path.mkdir(), "holds no picture"),
    ],
)
def test_what_is_wrong_with_the_folder(tmp_path: Path, make, words: str) -> None:
    make(tmp_path / "here")
    with pytest.raises(SourceFailed, match=words) as caught:
        ImagesSource(str(tmp_path / "here"), None).open()
    assert caught.value.cause == "open"


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ([], "holds no picture: it is empty; expected files that end in .bmp, "),
        (["a.txt", "b.tif"], "holds a.txt, b.tif; expected .*; put some there, or name another folder$"),
        (["a", "b", "c", "d\x1b", "e"], "holds a, b, c and 2 more; "),
        (["train/", "x.txt"], "holds train/, x.txt; .*name one, as images:/.*/here/train/$"),
    ],
)
def test_a_folder_without_a_picture_says_what_it_holds(tmp_path: Path, there: list[str], words: str) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for name in there:
        (here / name).mkdir() if name.endswith("/") else (here / name).touch()
    with pytest.raises(SourceFailed, match=words):
        ImagesSource(str(here), None).open()


def test_exif_orientation_is_kept_for_later(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    tiff = b"II" + struct.pack("<HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)
    segment = b"Exif\0\0" + tiff
    (tmp_path / "a.jpg").write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:])
    source = ImagesSource(str(tmp_path), None)
    source.open()
    source.grab()
    picture = source.retrieve(BUFFERS)
    assert (picture.width, picture.height) == (32, 24)
    assert picture.orientation.size(32, 24) == (24, 32)


# ---- nothing about one file may stop the others


def test_names_are_bytes(tmp_path: Path) -> None:
    fill(tmp_path, "a.png")
    data = (tmp_path / "a.png").read_bytes()
    for name in (b"b\xff\xfe.png", b"c\x1b[31m\n.png", "d\u202eß.png".encode(), b"e" * 250 + b".png"):
        (tmp_path / os.fsdecode(name)).write_bytes(data)
    source = ImagesSource(str(tmp_path), None)
    source.open()
    names = read_all(source)
    assert names == ["a.png", "b\ufffd\ufffd.png", "c\ufffd[31m .png", "d\ufffdß.png", "e" * 250 + ".png"]
    for name in names:
        name.encode()


def test_a_folder_whose_name_is_no_utf8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    with pytest.raises(SourceFailed) as caught:
        ImagesSource(str(folder), None).open()
    caught.value.reason.encode()
    folder.mkdir()
    fill(tmp_path, "a.png")
    (tmp_path / "a.png").rename(folder / "a.png")
    source = ImagesSource(str(folder), None)
    source.open().detail.encode()
    assert read_all(source) == ["a.png"]


def test_files_that_are_odd_in_other_ways(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "z.png")
    os.utime(tmp_path / "a.png", (0, -(10**9)))
    (tmp_path / "b.png").symlink_to("nowhere")
    (tmp_path / "c.png").symlink_to("c.png")
    os.mkfifo(tmp_path / "d.png")
    with (tmp_path / "e.png").open("wb") as file:
        file.truncate(2**40)
    size = struct.pack(">II5B", 2**30, 2**30, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + b"IHDR" + size + struct.pack(">I", zlib.crc32(b"IHDR" + size))
    (tmp_path / "f.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + (tmp_path / "z.png").read_bytes()[33:])
    source = ImagesSource(str(tmp_path), None)
    source.open()
    first, nowhere, loop, huge, promises, last = read_all(source)
    assert (first, last) == ("a.png", "z.png")
    for told, name in ((nowhere, "b.png"), (loop, "c.png"), (huge, "e.png"), (promises, "f.png")):
        assert told.startswith(f"bad: {name} ")
