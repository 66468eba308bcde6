"""Manual pages for the wheel, made while it is built: share/man in it, where pip and pipx put what `man` finds.

They are made by the program's own parser, which imports what vigild depends on. Whoever builds by the rules (pip, pipx,
build) has that installed beside hatchling, as asked for here. A build without it is a wheel without manual pages.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# The folder goes into the path when Python runs: pip's isolated environment throws out what PYTHONPATH names.
_MAKE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from vigild.cli.manual import main
main(Path(sys.argv[2]))
"""


class ManPages(BuildHookInterface):  # type: ignore[type-arg]
    def dependencies(self) -> list[str]:
        return list(self.metadata.core.dependencies)

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        if importlib.util.find_spec("msgspec") is None:
            self.app.display_warning("msgspec is not here, so the wheel has no manual pages")
            return
        self._pages = tempfile.TemporaryDirectory()
        folder = Path(self._pages.name)
        subprocess.run(
            [sys.executable, "-c", _MAKE, str(Path(self.root) / "daemon"), str(folder)],
            check=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"},
        )
        for page in folder.iterdir():
            build_data["shared_data"][str(page)] = f"share/man/man{page.suffix[1:]}/{page.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "_pages"):
            self._pages.cleanup()
