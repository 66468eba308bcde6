"""A trained network's weights without PyTorch: arrays by name in an .npz, with the network's configuration.

    save_weights(detector, Path("net.npz"))                  # where PyTorch is
    config, arrays = load_weights(Path("net.npz"))           # anywhere

The way from one framework to the other: names, shapes and layouts are PyTorch's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from forge.errors import ForgeError

_CONFIG = "config"


class Trained(Protocol):
    """A network of `forge.training.net`."""

    config: Any

    def state_dict(self) -> dict[str, Any]: ...


def save_weights(detector: Trained, path: Path) -> None:
    """All parameters and statistics, and the configuration as JSON."""
    arrays = {name: value.numpy() for name, value in detector.state_dict().items() if "num_batches" not in name}
    np.savez(path, **{_CONFIG: np.array(json.dumps(detector.config.as_dict()))}, **arrays)


def load_weights(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """(configuration: the fields of NetConfig, arrays by name). Raises ForgeError."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            config = json.loads(str(archive[_CONFIG]))
            return config, {name: archive[name] for name in archive.files if name != _CONFIG}
    except (OSError, ValueError, KeyError) as error:
        raise ForgeError(f"{path} holds no weights of forge ({error}); make it with `forge weights`") from None
