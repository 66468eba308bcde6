"""What `forge tensorflow` takes: a Keras model, a SavedModel, or the weights of forge's own detector.

source = open_model(Path("net.npz"))
source.function                 # to convert
source.with_ranges(images)      # the same with ranges in the graph, for legacy uint8
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from forge.anchors import make_anchors
from forge.errors import ForgeError
from forge.routes import keras_net
from forge.routes.tensorflow import Image, of_keras, of_saved_model
from forge.weights import load_weights
from vigild.catalogue.decoding import Decoding


class Opened(NamedTuple):
    """A model and what is known of it beyond its graph."""

    function: Any
    labels: tuple[str, ...] = ()
    """Empty: not known."""
    decoding: Decoding | None = None
    """Anchors and encoding of its boxes, when they are known."""
    with_ranges: Callable[[Sequence[Image]], Any] | None = None


def open_model(path: Path) -> Opened:
    """A .keras or .h5 file, a SavedModel's folder, or an .npz of `forge weights`. Raises ForgeError."""
    if path.is_dir():
        return Opened(of_saved_model(path))
    if path.suffix == ".npz":
        return _own_detector(path)
    if path.suffix in (".keras", ".h5"):
        try:
            return Opened(of_keras(keras.models.load_model(path, compile=False)))
        except (OSError, ValueError, TypeError) as error:
            raise ForgeError(f"{path} cannot be read by Keras {keras.__version__}: {error}") from None
    raise ForgeError(
        f"{path}: expected a .keras or .h5 file, the folder of a SavedModel, or an .npz of `forge weights`"
    )


def _own_detector(path: Path) -> Opened:
    config, arrays = load_weights(path)

    def with_ranges(images: Sequence[Image]) -> Any:
        return of_keras(keras_net.build(config, arrays, keras_net.observe(config, arrays, list(images))))

    anchors = np.asarray(make_anchors(config["size"], config["levels"]), np.float64).tolist()
    decoding = Decoding(
        explicit=[(y, x, h, w) for y, x, h, w in anchors], scores="probabilities", background=False, iou_threshold=0.5
    )
    return Opened(of_keras(keras_net.build(config, arrays)), tuple(config["labels"]), decoding, with_ranges)
