"""The TFLite runtimes vigild knows, and which release of one is installed. Nothing of them is imported.

version(PACKAGES[0])            # "2.3.0"; empty where it is not installed
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple


class Package(NamedTuple):
    """A runtime."""

    name: str
    """As `model.runtime` calls it."""
    module: str
    """The module with its interpreter."""
    distribution: str
    """The package that `module` is in, which its metadata is named after."""
    install: str


PACKAGES = (
    Package("litert", "ai_edge_litert.interpreter", "ai_edge_litert", "pip install 'vigild[litert]'"),
    Package("tflite-runtime", "tflite_runtime.interpreter", "tflite_runtime", "pip install 'vigild[tflite]'"),
)
"""The preferred one first."""


def version(package: Package) -> str:
    """Of the installed package, from the name of its metadata's folder; empty when it is not installed.

    importlib.metadata would cost 20 ms and 2 MiB.
    """
    spec = importlib.util.find_spec(package.distribution)
    if spec is None or not spec.submodule_search_locations:
        return ""
    site = Path(next(iter(spec.submodule_search_locations))).parent
    for folder in site.glob(f"{package.distribution}-*.dist-info"):
        return folder.name.removesuffix(".dist-info").rsplit("-", 1)[-1]
    return "unknown"


def preferred(wanted: str) -> str:
    """Name and release of the runtime that `wanted` (model.runtime) means here, "litert 2.3.0", as far as installed."""
    for package in PACKAGES:
        if wanted in ("auto", package.name) and (found := version(package)):
            return f"{package.name} {found}"
    return "none" if wanted == "auto" else f"no {wanted}"
