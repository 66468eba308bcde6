"""One input: the files that are read, how, and where it came from.

case.save(folder); Case.load(folder)
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

FACTS = "case.json"


class Case(NamedTuple):
    target: str
    """Which reader it is for; see `targets`."""
    files: dict[str, bytes]
    """File name -> content."""
    options: dict[str, str]
    """How it is read: the delegate, the number of classes."""
    origin: str
    """Seed, number and mutators, for people."""

    @property
    def name(self) -> str:
        """The same for the same content."""
        digest = hashlib.sha256(self.target.encode())
        for name in sorted(self.files):
            digest.update(name.encode() + b"\0" + self.files[name])
        return f"{self.target}-{digest.hexdigest()[:12]}"

    def write(self, folder: Path) -> None:
        """The files alone, as a target reads them; nothing else stays in `folder`."""
        for old in folder.iterdir():
            if old.name not in self.files:
                old.unlink()
        for name, data in self.files.items():
            (folder / name).write_bytes(data)

    def save(self, folder: Path, why: str) -> Path:
        """A reproducer below `folder`; returns its place."""
        place = folder / self.name
        place.mkdir(parents=True, exist_ok=True)
        self.write(place)
        facts = {"target": self.target, "options": self.options, "origin": self.origin, "why": why}
        (place / FACTS).write_text(json.dumps(facts, indent=1) + "\n")
        return place

    @classmethod
    def load(cls, place: Path) -> Case:
        facts = json.loads((place / FACTS).read_text())
        files = {path.name: path.read_bytes() for path in sorted(place.iterdir()) if path.name != FACTS}
        return cls(facts["target"], files, facts["options"], facts["origin"])
