"""The manifests of this machine, merged by name.

    library = load()
    entry = library.get("coco_ssd_mobilenet_v1")    # raises ManifestError, naming what there is
    library.problems                                # sentences about entries and files that are refused

Read in this order, later ones standing for earlier ones of the same name: the shipped one,
/etc/vigild/manifest.toml, $XDG_CONFIG_HOME/vigild/manifest.toml (~/.config/...), $VIGILD_MANIFEST.
A refused entry also hides earlier ones: what a user meant to replace must not run in its place.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from vigild.catalogue import manifest, store
from vigild.catalogue.entry import Entry, ManifestError
from vigild.closest import closest

FILE = "manifest.toml"
SYSTEM = Path("/etc/vigild")


class Library(NamedTuple):
    entries: dict[str, Entry]
    refused: dict[str, str]
    problems: list[str]

    def get(self, name: str) -> Entry:
        """The entry of that name. Raises ManifestError "missing" or "manifest"."""
        if name in self.entries:
            return self.entries[name]
        if name in self.refused:
            reason = "; ".join(self.refused[name].splitlines())
            raise ManifestError(f"The model {name} of the manifest is refused: {reason}.")
        near = closest(name, self.entries)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(self.entries)}."
        unread = f" Not read: {'; '.join(self.problems)}." if self.problems else ""
        raise ManifestError(f"There is no model named {name!r} in the manifest; {hint}{unread}", "missing")


def paths(environ: Mapping[str, str] = os.environ, system: Path = SYSTEM) -> list[Path]:
    """The manifests that are looked for, in the order they are read."""
    found = [store.package_folder() / FILE, system / FILE]
    config, home = environ.get("XDG_CONFIG_HOME", ""), environ.get("HOME", "")
    if config.startswith("/"):
        found.append(Path(config) / "vigild" / FILE)
    elif home.startswith("/"):
        found.append(Path(home) / ".config" / "vigild" / FILE)
    if environ.get("VIGILD_MANIFEST"):
        found.append(Path(os.path.abspath(environ["VIGILD_MANIFEST"])))  # noqa: PTH100 - a link stays one
    return list(dict.fromkeys(found))


def load(environ: Mapping[str, str] = os.environ, system: Path = SYSTEM) -> Library:
    """Read them all. Only the file that $VIGILD_MANIFEST names has to be there."""
    entries: dict[str, Entry] = {}
    refused: dict[str, str] = {}
    problems: list[str] = []
    looked_for = paths(environ, system)
    for path in looked_for:
        try:
            text = _read(path, required=bool(environ.get("VIGILD_MANIFEST")) and path == looked_for[-1])
            if text is None:
                continue
            found = manifest.parse(text, str(path), str(path.parent))
        except ManifestError as error:
            problems.append(error.message)
            continue
        for name, why in found.refused.items():
            entries.pop(name, None)
            refused[name] = why
            problems += why.splitlines()
        for name, entry in found.entries.items():
            refused.pop(name, None)
            entries[name] = entry
    return Library(entries, refused, problems)


def _read(path: Path, required: bool) -> str | None:
    """A manifest's text; None when there is none. Raises ManifestError."""
    try:
        with path.open("rb") as file:
            data = file.read(manifest.MAX_TEXT_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        if required:
            raise ManifestError(f"{path}: cannot be read: {error.strerror}; correct $VIGILD_MANIFEST") from None
        return None
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > manifest.MAX_TEXT_BYTES:
        raise ManifestError(f"{path}: larger than {manifest.MAX_TEXT_BYTES // 1024} KiB, which no manifest is")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
