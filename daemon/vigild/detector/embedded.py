"""The model that comes with the package: what runs when the configuration names none."""

from __future__ import annotations

from pathlib import Path

from vigild.detector.errors import ModelError

DEFAULT_NAME = "testcard_ssd_int8.tflite"


def default_model() -> Path:
    """Its path: in an installed package, else in a checkout. Raises ModelError when it is in neither."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "models", package.parents[1] / "models" / "embedded"):
        if (folder / DEFAULT_NAME).is_file():
            return folder / DEFAULT_NAME
    raise ModelError(
        "missing", f"The embedded model {DEFAULT_NAME} is not installed; name a model with model.path or --model."
    )
