"""One file with everything a board needs: dist/vigild-VERSION-TARGET.tar.

path = make(target, key)           # the same input gives the same bytes
bundle = Bundle.open(path)

SHA256SUMS, SHA256SUMS.sig         what is in it; the signature, if there is a key
allowed_signers                    the key's public half, for a board that knows none yet
bundle.json                        target, version, which wheel is what
lock.txt wheels/                   what is installed, and pip itself
systemd/ vigild.toml share/        units, the first configuration, pages
guard/ vigild-deploy               the installer, and its own units
sbom.cdx.json                      what is in it, for programs
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from cross import lock, sbom, sign, wheels
from cross.board import FORMAT
from cross.board.package import DESCRIPTION, SIGNATURE, SUMS, Package
from cross.board.setup import OWN_UNITS, TOOL
from cross.errors import CrossError
from cross.target import HERE, REPOSITORY, Target

DIST = REPOSITORY / "dist"
SIGNERS = "allowed_signers"

UNIT_SUFFIXES = (".service", ".socket", ".timer", ".conf")


def make(target: Target, key: Path | None, folder: Path = DIST) -> Path:
    """Raises CrossError."""
    files = _files(target)
    sums = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)).encode()
    head = {SUMS: sums}
    if key is not None:
        head |= {SIGNATURE: sign.sign(sums, key), SIGNERS: sign.signers(key)}
    version = json.loads(files[DESCRIPTION])["version"]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"vigild-{version}-{target.name}.tar"
    new = path.with_suffix(".new")
    with tarfile.open(new, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in [*head, *sorted(files)]:
            _add(tar, name, head.get(name) or files[name])
    new.replace(path)
    return path


def _files(target: Target) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as temporary:
        own = wheels.project(Path(temporary))
        fetched = wheels.fetch(target)
        version = own.name.split("-")[1]
        pinned = lock.read(target)
        pip = next(each for each in pinned if each.name == "pip")
        models = sorted((REPOSITORY / "models/embedded").glob("*.tflite"))
        files = {f"wheels/{path.name}": path.read_bytes() for path in [*fetched, own]}
        files |= _units() | pages()
        files |= {f"guard/{name}": (HERE / "guard" / name).read_bytes() for name in OWN_UNITS}
        described = {
            "format": FORMAT,
            "name": "vigild",
            "version": version,
            "target": target.described(),
            "package": f"wheels/{own.name}",
            "requirement": f"vigild=={version} --hash=sha256:{hashlib.sha256(own.read_bytes()).hexdigest()}",
            "pip": f"wheels/{pip.file}",
        }
        files |= {
            DESCRIPTION: json.dumps(described, indent=1, sort_keys=True).encode() + b"\n",
            "lock.txt": "".join(f"{each.line()}\n" for each in pinned if each.name != "pip").encode(),
            "vigild.toml": (HERE / "vigild.toml").read_bytes(),
            "sbom.cdx.json": sbom.document(f"vigild-{target.name}", version, [*fetched, own], models),
            TOOL: tool(),
        }
        return files


def _units() -> dict[str, bytes]:
    folder = REPOSITORY / "systemd"
    return {
        f"systemd/{path.relative_to(folder)}": path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in UNIT_SUFFIXES
    }


def pages() -> dict[str, bytes]:
    found = [*sorted((REPOSITORY / "docs").glob("*.md")), REPOSITORY / "LICENSE"]
    return {f"share/doc/vigild/{path.name}": path.read_bytes() for path in found}


def tool() -> bytes:
    """cross/board as one program for the board's Python (zipapp), the same bytes every time."""
    data = io.BytesIO(b"")
    data.write(b"#!/usr/bin/python3 -I\n")
    with zipfile.ZipFile(data, "a", zipfile.ZIP_DEFLATED) as archive:
        entry = "import sys\nfrom vigild_deploy.cli import main\nsys.exit(main())\n"
        contents = {"__main__.py": entry.encode()}
        for path in sorted((HERE / "board").glob("*.py")):
            contents[f"vigild_deploy/{path.name}"] = path.read_bytes()
        for name, content in contents.items():
            info = zipfile.ZipInfo(name, (2020, 2, 2, 0, 0, 0))
            info.external_attr = 0o100644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return data.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mtime = wheels.epoch()
    info.mode = 0o755 if name == TOOL else 0o644
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    tar.addfile(info, io.BytesIO(data))


class Member(NamedTuple):
    sha256: str
    offset: int
    size: int


class Bundle:
    """A bundle's file, read in place."""

    def __init__(self, path: Path, package: Package, members: dict[str, Member], signers: bytes | None) -> None:
        self.path = path
        self.package = package
        self.members = members
        """By name."""
        self.signers = signers

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Raises CrossError."""
        try:
            with tarfile.open(path, "r:") as tar:
                infos = {info.name: info for info in tar if info.isfile()}

                def data(name: str) -> bytes | None:
                    file = tar.extractfile(infos[name]) if name in infos else None
                    return file.read() if file else None

                package = Package.read(data(SUMS) or b"", data(SIGNATURE))
                signers = data(SIGNERS)
        except FileNotFoundError:
            raise CrossError(f"{path} is not there; make it with: make bundle") from None
        except tarfile.TarError as error:
            raise CrossError(f"{path} is no bundle: {error}") from None
        if lacking := [name for name in package.files if name not in infos]:
            raise CrossError(f"{path} is damaged: {lacking[0]} is missing; make it again: make bundle")
        members = {
            name: Member(sha256, infos[name].offset_data, infos[name].size) for name, sha256 in package.files.items()
        }
        return cls(path, package, members, signers)

    def read(self, name: str) -> bytes:
        member = self.members[name]
        with self.path.open("rb") as file:
            file.seek(member.offset)
            return file.read(member.size)

    def release_name(self) -> str:
        """As the board will call it."""
        return self.package.name_for(str(self._described()["version"]))

    def target(self) -> dict[str, Any]:
        """What it is for: see `cross.board.package.fits`."""
        return dict(self._described()["target"])

    def _described(self) -> Any:
        return json.loads(self.read(DESCRIPTION))
