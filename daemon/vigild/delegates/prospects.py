"""Which rungs of the delegate ladder are worth trying for a model on this board, and why one failed.

    ladder_for(config, Path("/"))         # Ladder of edgetpu, xnnpack, none
    why(rung, message, code, Path("/"))   # a death or a refusal in plain words

Files are read here, nothing native is loaded.
"""

from __future__ import annotations

import mmap
import signal
from pathlib import Path

from vigild.catalogue.entry import ManifestError
from vigild.catalogue.resolve import resolve
from vigild.config.schema import ModelConfig
from vigild.delegates import edgetpu
from vigild.delegates.ladder import Ladder, is_edgetpu, is_external, rungs

EDGETPU_OP = b"edgetpu-custom-op"
"""What the Edge TPU compiler makes of a model; the name stands in the file as it is."""

MAX_SCANNED_BYTES = 64 * 2**20
"""An Edge TPU model has some megabytes; a larger file is none."""

_ABI_SIGNALS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL)


def ladder_for(config: ModelConfig, root: Path) -> Ladder:
    """The ladder of a model, on its best rung."""
    if config.delegate != "auto" or not (edgetpu.devices(root) or edgetpu.library_installed()):
        return Ladder(rungs(config.delegate, edgetpu=False, cpu=True))
    on_edgetpu, on_cpu = builds(config)
    return Ladder(rungs("auto", edgetpu=on_edgetpu, cpu=on_cpu))


def builds(config: ModelConfig) -> tuple[bool, bool]:
    """Whether there is a build of the model for the Edge TPU on this machine, and one for the CPU."""
    if config.name is None:
        compiled = config.path is not None and _compiled(Path(config.path))
        return compiled, not compiled
    return _resolves(config, "edgetpu"), _resolves(config, "xnnpack")


def _resolves(config: ModelConfig, rung: str) -> bool:
    try:
        resolve(config, rung)
    except ManifestError:
        return False
    return True


def _compiled(path: Path) -> bool:
    try:
        # A pipe or a device has no size, and must not be waited for.
        if not 0 < path.stat().st_size <= MAX_SCANNED_BYTES:
            return False
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.find(EDGETPU_OP) >= 0
    except (OSError, ValueError):
        return False  # the detector says what is wrong with it


def died_of_delegate(rung: str, exit_status: int | None) -> bool:
    """Whether a worker that never got ready on `rung` was, by its exit status, most likely killed by its delegate."""
    return is_external(rung) and -(exit_status or 0) in (*_ABI_SIGNALS, signal.SIGABRT, signal.SIGFPE)


def why(rung: str, reason: str, exit_status: int | None, root: Path) -> str:
    """The reason a rung failed, with what it means and what to do where that is known.

    `reason`: a refusal's sentence, or how the worker died. `exit_status`: as subprocess gives it,
    None for a refusal.
    """
    number = -(exit_status or 0)
    advice = ""
    if is_external(rung) and number in _ABI_SIGNALS:
        library = edgetpu.LIBRARY if is_edgetpu(rung) else "the library"
        advice = (
            f"{library} was most likely built for another version of TensorFlow Lite than the runtime in use; "
            "install the build that matches it"
        )
    elif is_edgetpu(rung) and (number == signal.SIGABRT or reason.startswith("hung")):
        advice = "the Edge TPU stopped answering; check its cable, port, power and cooling"
    elif is_edgetpu(rung) and exit_status is None:
        advice = edgetpu.diagnosis(root)
    return f"{reason.rstrip('.')}; {advice}" if advice else reason
