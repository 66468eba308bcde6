"""A bundle on the board: a list of files with their hashes, maybe signed, and the store the files are kept in.

    package = Package.read(sums, signature)       # SHA256SUMS and its signature
    package.missing(store)                        # hashes that have to be sent
    package.trusted(key, system)                  # raises Refused
    package.file(store, "lock.txt")               # bytes, checked

The signature covers SHA256SUMS, and SHA256SUMS covers every other file, so a bundle may come in pieces.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from . import FORMAT
from .disk import Disk
from .system import System

SUMS = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.sig"
DESCRIPTION = "bundle.json"
NAMESPACE = "vigild-bundle"
SIGNER = "vigild"
"""Whose key it is, in the file of allowed signers (ssh-keygen(1), ALLOWED SIGNERS)."""

_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9_.+@/-]+)")
_FILE = re.compile(r"[0-9a-f]{64}")


class Refused(Exception):
    """A sentence: what is wrong with the bundle or the board, and what to do. Nothing was switched."""


class Package:
    def __init__(self, sums: bytes, signature: bytes | None, files: dict[str, str]) -> None:
        self.sums = sums
        self.signature = signature
        self.files = files
        """Hash by name."""

    @classmethod
    def read(cls, sums: bytes, signature: bytes | None) -> Package:
        files: dict[str, str] = {}
        for line in sums.decode("ascii", errors="replace").splitlines():
            match = _LINE.fullmatch(line)
            if match is None or ".." in match[2].split("/") or match[2].startswith("/"):
                raise Refused(f"the bundle is damaged: its {SUMS} has the line {line[:100]!r}; make it again")
            files[match[2]] = match[1]
        if DESCRIPTION not in files:
            raise Refused(f"the bundle is damaged: its {SUMS} names no {DESCRIPTION}; make it again")
        return cls(sums, signature, files)

    def missing(self, store: Path) -> list[str]:
        """Hashes that the store does not have, without doubles."""
        return [hash for hash in dict.fromkeys(self.files.values()) if not (store / hash).is_file()]

    def file(self, store: Path, name: str) -> bytes:
        """Checked against its hash, because flash memory forgets."""
        wanted = self.files[name]
        try:
            data = (store / wanted).read_bytes()
        except FileNotFoundError:
            raise Refused(f"the bundle is not whole: {name} is missing; deploy again") from None
        if hashlib.sha256(data).hexdigest() != wanted:
            raise Refused(f"the bundle is damaged: {name} does not have the hash that {SUMS} says")
        return data

    def verify(self, store: Path, disk: Disk) -> None:
        """Every file is there and is what it should be; one that is not is thrown away, to be sent again."""
        for name, wanted in self.files.items():
            try:
                self.file(store, name)
            except Refused:
                disk.remove(store / wanted)
                raise

    def description(self, store: Path) -> dict[str, Any]:
        described: dict[str, Any] = json.loads(self.file(store, DESCRIPTION))
        if described.get("format") != FORMAT:
            raise Refused(
                f"the bundle has format {described.get('format')!r} and this vigild-deploy knows {FORMAT}: "
                "make the bundle and deploy it from the same version of the repository"
            )
        return described

    def release_name(self, store: Path) -> str:
        """Version and content: the same bundle has the same name everywhere."""
        return self.name_for(str(self.description(store)["version"]))

    def name_for(self, version: str) -> str:
        return f"{re.sub(r'[^A-Za-z0-9.+]', '_', version)}-{hashlib.sha256(self.sums).hexdigest()[:12]}"

    def trusted(self, key: Path, system: System) -> None:
        """Raises Refused when there is a key on this board and the bundle is not signed with it."""
        if not key.is_file():
            return
        if self.signature is None:
            raise Refused(
                f"the bundle is not signed, and this board takes only bundles signed by a key in {key}: "
                "sign it (make bundle SIGN_KEY=...), or remove that file on the board to take unsigned ones"
            )
        with tempfile.NamedTemporaryFile(prefix="vigild-") as file:
            file.write(self.signature)
            file.flush()
            done = system.run(
                ["ssh-keygen", "-Y", "verify", "-f", str(key), "-I", SIGNER, "-n", NAMESPACE, "-s", file.name],
                stdin=self.sums,
            )
        if done.status == 127:
            raise Refused("ssh-keygen is not on this board, so no signature can be checked: install openssh-client")
        if done.status != 0:
            raise Refused(
                f"the bundle's signature is not by a key in {key} ({done.output.strip().splitlines()[-1:]}): "
                "deploy with the key of the first deploy, or lay down another there by hand"
            )


def receive(stream: BinaryIO, store: Path, disk: Disk) -> tuple[dict[str, bytes], int]:
    """Take in pieces of a bundle: lines `NAME SIZE`, each followed by as many bytes, `end 0` last.

    Names of 64 hexadecimal digits go to the store under that hash; the others are returned.
    Returns them and the number of files that were stored. Raises Refused, OSError.
    """
    disk.folder(store)
    others: dict[str, bytes] = {}
    stored = 0
    for name, size in _headers(stream):
        if _FILE.fullmatch(name) is None:
            others[name] = stream.read(size)
            continue
        new = store / f".{name}.new"
        try:
            disk.copy_stream(stream, new, size)
        except EOFError:
            disk.remove(new)
            raise Refused("the connection ended in the middle of the bundle; deploy again") from None
        except OSError:
            disk.remove(new)
            raise
        with new.open("rb") as file:
            found = hash_of(file)
        if found != name:
            disk.remove(new)
            raise Refused(f"the bundle is damaged: a file with the hash {found} came as {name}; make the bundle again")
        disk.rename(new, store / name)
        stored += 1
    return others, stored


def _headers(stream: BinaryIO) -> Iterator[tuple[str, int]]:
    while True:
        name, _, size = stream.readline(200).decode("ascii", errors="replace").strip().partition(" ")
        if (name, size) == ("end", "0"):
            return
        if not size.isdigit():
            raise Refused("the connection ended in the middle of the bundle; deploy again")
        yield name, int(size)


def hash_of(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while piece := file.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def fits(target: dict[str, Any]) -> None:
    """Raises Refused when the bundle is for another kind of board than this one."""
    machine = _userland()
    if machine not in target["machines"]:
        raise Refused(
            f"the bundle is for {target['name']} ({', '.join(target['machines'])}) and this board is {machine}: "
            "deploy with the TARGET of this board"
        )
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    if python != target["python"]:
        raise Refused(
            f"the bundle is for Python {target['python']} ({target['name']}) and this board's is {python}: "
            "deploy with the TARGET of this board's release of the system"
        )
    libc, version = platform.libc_ver()
    if libc == "glibc" and _number(version) < _number(target["glibc"]):
        raise Refused(f"the bundle needs glibc {target['glibc']} and this board has {version}: use an older TARGET")


def _userland() -> str:
    """A 64-bit kernel may run a 32-bit system (Raspberry Pi OS): what counts is the interpreter."""
    machine = platform.machine()
    if sys.maxsize < 2**32:
        return {"aarch64": "armv7l", "x86_64": "i686"}.get(machine, machine)
    return machine


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
