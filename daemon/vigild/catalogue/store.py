"""The folders that model files are in.

    folder = own_folder()                  # where a download goes, e.g. /var/lib/vigild/models
    path = find(entry, variant)            # the file, wherever it is; None when it is not here

A file of the manifest is kept as FOLDER/ENTRY/FILE. When its hash is not in the manifest, the one
it had at the first download lies beside it, as FILE.sha256 in the form of sha256sum.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from vigild.catalogue.entry import Entry, Variant

SYSTEM = Path("/var/lib/vigild/models")
EMBEDDED_FOLDER = "embedded"
_RECORD = re.compile(r"([0-9a-f]{64})[ *]")


def package_folder() -> Path:
    """The shipped manifest's folder: in an installed package, else in a checkout."""
    package = Path(__file__).resolve().parents[1]
    shipped = package / "models"
    return shipped if (shipped / "manifest.toml").is_file() else package.parents[1] / "models"


def folders(environ: Mapping[str, str] = os.environ, system: Path = SYSTEM) -> list[Path]:
    """Where model files are looked for, first to last. With $VIGILD_MODELS: only there."""
    if environ.get("VIGILD_MODELS"):
        return [Path(os.path.abspath(environ["VIGILD_MODELS"]))]  # noqa: PTH100 - a link stays one
    found: list[Path] = []
    # systemd gives the folders of StateDirectory=, separated by colons.
    state = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if state.startswith("/"):
        found.append(Path(state) / "models")
    found.append(system)
    data = environ.get("XDG_DATA_HOME", "")
    home = environ.get("HOME", "")
    if data.startswith("/"):
        found.append(Path(data) / "vigild" / "models")
    elif home.startswith("/"):
        found.append(Path(home) / ".local" / "share" / "vigild" / "models")
    return list(dict.fromkeys(found))


def own_folder(environ: Mapping[str, str] = os.environ, system: Path = SYSTEM) -> Path:
    """The first of `folders` that this user may write to, else the last."""
    candidates = folders(environ, system)
    return next((folder for folder in candidates if writable(folder)), candidates[-1])


def present(path: Path) -> bool:
    """Whether it is there, as far as this user may look; Path.exists raises where a folder is closed to them."""
    return os.path.exists(path)  # noqa: PTH110


def writable(folder: Path) -> bool:
    """Whether it can be written to, or made."""
    existing = next(path for path in (folder, *folder.parents) if present(path))
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def place(folder: Path, entry: Entry, variant: Variant) -> Path:
    """Where a download of the variant is kept below `folder`."""
    return folder / entry.name / variant.file


def candidates(entry: Entry, variant: Variant, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Everywhere the variant's file may be, first to last."""
    if variant.embedded:
        return [Path(entry.folder) / EMBEDDED_FOLDER / variant.file]
    places = [place(folder, entry, variant) for folder in folders(environ)]
    # A user's own file is named relative to the manifest, or absolute; one with a URL never is.
    return places if variant.url else [Path(entry.folder) / variant.file, *places]


def find(entry: Entry, variant: Variant, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The variant's file on this machine, or None."""
    return next((path for path in candidates(entry, variant, environ) if os.path.isfile(path)), None)  # noqa: PTH113 - see `present`


def record_path(path: Path) -> Path:
    """Where the hash of a first download is kept."""
    return path.with_name(path.name + ".sha256")


def recorded(path: Path) -> str:
    """The hash a file had when it was first downloaded; empty when that is not known."""
    try:
        with record_path(path).open("rb") as file:
            match = _RECORD.match(file.read(100).decode("ascii", errors="replace"))
    except OSError:
        return ""
    return match[1] if match else ""


def expected_hash(variant: Variant, path: Path) -> str:
    """The hash the file at `path` must have: the manifest's, else the recorded one, else empty."""
    return variant.sha256 or ("" if variant.embedded else recorded(path))


def hash_file(path: Path) -> str:
    """SHA-256 in hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1024 * 1024):
            digest.update(chunk)
    return digest.hexdigest()
