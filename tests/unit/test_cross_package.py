"""What a board refuses of a bundle, in words, before anything is switched; and how pieces of it come."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cross import sign
from cross.board import package as packages
from cross.board.disk import Disk
from cross.board.package import DESCRIPTION, Package, Refused, receive
from cross.board.system import System

DESCRIBED = json.dumps({"format": 1, "version": "1.2"}).encode()


def hash_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sums(**files: bytes) -> bytes:
    named = {DESCRIPTION: DESCRIBED, **files}
    return "".join(f"{hash_of(data)}  {name}\n" for name, data in named.items()).encode()


def store(folder: Path, *contents: bytes) -> Path:
    for data in (DESCRIBED, *contents):
        (folder / hash_of(data)).write_bytes(data)
    return folder


def stream(*pieces: tuple[str, bytes], end: bytes = b"end 0\n") -> io.BytesIO:
    return io.BytesIO(b"".join(f"{name} {len(data)}\n".encode() + data for name, data in pieces) + end)


def test_a_bundle_is_named_by_version_and_content(tmp_path: Path):
    one, two = Package.read(sums(a=b"1"), None), Package.read(sums(a=b"2"), None)
    name = one.release_name(store(tmp_path))
    assert name.startswith("1.2-")
    assert name == Package.read(sums(a=b"1"), None).release_name(tmp_path)
    assert name != two.release_name(tmp_path)


@pytest.mark.parametrize(
    "line", [b"", b"abc  a\n", b"0" * 64 + b"  ../etc/passwd\n", b"0" * 64 + b"  /etc/passwd\n", b"\xff\n"]
)
def test_a_damaged_list_is_refused(line: bytes):
    with pytest.raises(Refused, match="damaged"):
        Package.read(line, None)


def test_a_file_that_rotted_in_the_store_is_refused_and_sent_again(tmp_path: Path):
    package = Package.read(sums(a=b"wheel"), None)
    (store(tmp_path, b"wheel") / hash_of(b"wheel")).write_bytes(b"wheal")
    with pytest.raises(Refused, match="a does not have the hash"):
        package.verify(tmp_path, Disk())
    assert package.missing(tmp_path) == [hash_of(b"wheel")]


def test_a_bundle_of_another_format_is_refused(tmp_path: Path):
    described = b'{"format": 99, "version": "9"}'
    (tmp_path / hash_of(described)).write_bytes(described)
    package = Package.read(f"{hash_of(described)}  {DESCRIPTION}\n".encode(), None)
    with pytest.raises(Refused, match="format 99"):
        package.description(tmp_path)


def test_pieces_go_to_the_store_and_small_ones_are_handed_over(tmp_path: Path):
    others, stored = receive(stream((hash_of(b"wheel"), b"wheel"), ("SHA256SUMS", b"list")), tmp_path / "s", Disk())
    assert (others, stored) == ({"SHA256SUMS": b"list"}, 1)
    assert [path.name for path in (tmp_path / "s").iterdir()] == [hash_of(b"wheel")]


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (stream(end=b""), "ended in the middle"),
        (stream((hash_of(b"wheel"), b"wheal")), "damaged"),
        (io.BytesIO(f"{hash_of(b'wheel')} 5\nwhe".encode()), "ended in the middle"),
        (io.BytesIO(b"GET / HTTP/1.1\n"), "ended in the middle"),
    ],
)
def test_what_comes_damaged_or_half_leaves_nothing(tmp_path: Path, sent: io.BytesIO, message: str):
    with pytest.raises(Refused, match=message):
        receive(sent, tmp_path, Disk())
    assert list(tmp_path.iterdir()) == []


TARGET = {
    "name": "this",
    "machines": [packages._userland()],
    "python": f"{sys.version_info.major}.{sys.version_info.minor}",
    "glibc": "2.17",
}


def test_this_machine_fits_its_own_target():
    packages.fits(TARGET)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"machines": ["riscv64"]}, "is for this .riscv64. and this board is"),
        ({"python": "3.4"}, "for Python 3.4"),
        ({"glibc": "9.1"}, "needs glibc 9.1"),
    ],
)
def test_a_bundle_for_another_board_is_refused(wrong: dict[str, object], message: str):
    with pytest.raises(Refused, match=message):
        packages.fits({**TARGET, **wrong})


# ---- signatures

signing = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    sign.make_key(tmp_path / "signing_key")
    return tmp_path / "signing_key"


@signing
def test_the_right_signature_is_taken(tmp_path: Path, key: Path):
    board = tmp_path / "allowed_signers"
    board.write_bytes(sign.signers(key))
    Package.read(sums(), sign.sign(sums(), key)).trusted(board, System())


@signing
def test_a_changed_list_an_unsigned_one_and_another_key_are_refused(tmp_path: Path, key: Path):
    board = tmp_path / "allowed_signers"
    board.write_bytes(sign.signers(key))
    with pytest.raises(Refused, match="not by a key"):
        Package.read(sums(a=b"more"), sign.sign(sums(), key)).trusted(board, System())
    with pytest.raises(Refused, match="not signed"):
        Package.read(sums(), None).trusted(board, System())
    sign.make_key(tmp_path / "other")
    with pytest.raises(Refused, match="not by a key"):
        Package.read(sums(), sign.sign(sums(), tmp_path / "other")).trusted(board, System())


@signing
def test_a_signature_for_something_else_is_no_signature_of_a_bundle(tmp_path: Path, key: Path):
    board, data = tmp_path / "allowed_signers", tmp_path / "data"
    board.write_bytes(sign.signers(key))
    data.write_bytes(sums())
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", "git", data], check=True)
    with pytest.raises(Refused, match="not by a key"):
        Package.read(sums(), data.with_suffix(".sig").read_bytes()).trusted(board, System())


def test_a_board_that_knows_no_key_takes_unsigned_bundles(tmp_path: Path):
    Package.read(sums(), None).trusted(tmp_path / "allowed_signers", System())
