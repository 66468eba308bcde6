"""The model that comes with the package: what runs when the configuration names none."""

from __future__ import annotations

from pathlib import Path

from vigild.detector.errors import ModelError
from vigild.models.store import EMBEDDED_FOLDER, package_folder

DEFAULT_NAME = "testcard_ssd_int8.tflite"


def default_model() -> Path:
    """Its path: in an installed package, else in a checkout. Raises ModelError when it is in neither."""
    path = package_folder() / EMBEDDED_FOLDER / DEFAULT_NAME
    if path.is_file():
        return path
    raise ModelError(
        "missing", f"The embedded model {DEFAULT_NAME} is not installed; name a model with model.path or --model."
    )
