"""External delegates: libedgetpu, or a library of the user's own.

    native = load(module, "edgetpu:usb:0", {})        # for Interpreter(experimental_delegates=[native])

The library is loaded into this process and may kill it; the hub puts that into words.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

from vigild.delegates.edgetpu import LIBRARY as EDGETPU_LIBRARY
from vigild.detector.errors import ModelError


def load(module: Any, delegate: str, options: Mapping[str, str]) -> Any:
    """The delegate as the runtime's `module` has it. Raises ModelError "delegate" with what to do."""
    library, settings = delegate, dict(options)
    edgetpu = delegate.partition(":")[0] == "edgetpu"
    if edgetpu:
        library = EDGETPU_LIBRARY
        # libedgetpu drops every option when the device has no index.
        settings["device"] = delegate.partition(":")[2] or settings.get("device", ":0")
    try:
        # Opened first, because load_delegate's half-made object would print a traceback of its own.
        loaded = ctypes.CDLL(library)
        _ = loaded.tflite_plugin_create_delegate, loaded.tflite_plugin_destroy_delegate
        return module.load_delegate(library, settings)
    except ValueError as error:
        said = _said(error)
        if edgetpu and not said:
            text = f"no usable Edge TPU ({settings['device']}): {library} works, but found no device that it may open"
        else:
            text = f"the delegate {library} did not start{': ' + said if said else ''}; check delegate_options"
    except OSError as error:
        if edgetpu:
            text = f"the Edge TPU library {library} cannot be loaded ({error}); install libedgetpu1-std"
        else:
            text = f"the delegate {library} cannot be loaded ({error}); correct model.delegate"
    except AttributeError:
        text = f"{library} is no TFLite delegate: it lacks tflite_plugin_create_delegate; correct model.delegate"
    raise ModelError("delegate", text[0].upper() + text[1:] + ".")


def _said(error: ValueError) -> str:
    """What the delegate itself reported: the runtime puts a line "Failed to load delegate from ..." before it."""
    first, _, rest = str(error).partition("\n")
    return " ".join((rest if first.startswith("Failed to load delegate") else str(error)).split())
