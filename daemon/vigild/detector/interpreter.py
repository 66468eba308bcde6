"""The interpreter behind one seam: LiteRT or tflite-runtime, with a delegate and threads.

    interpreter = open_interpreter("auto", "/proc/self/fd/5", delegate="xnnpack", threads=2, options={})
    interpreter.allocate()
    interpreter.invoke()

"xnnpack" leaves the runtime's default delegate on, "none" turns it off; "edgetpu[:DEVICE]" and a
path load an external delegate before it. Whether a delegate really took nodes is read from the
graph, never from what the runtime prints.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from vigild.detector import native_delegate
from vigild.detector.errors import ModelError
from vigild.ipc.progress import RUNTIME_STAGES, Stage
from vigild.runtimes import PACKAGES, Package, version


class Interpreter:
    """A loaded model. Views from `view` must not outlive the statement they are used in."""

    def __init__(self, native: Any, package: Package, delegate: str) -> None:
        self._native = native
        self.runtime = package.name
        self.version = version(package)
        self.delegate = delegate
        # An external delegate takes its nodes at once, the default one only in allocate(): what
        # stands in the graph by now is the external one's.
        self._external_ops = 0 if delegate in ("xnnpack", "none") else len(_nodes(native))
        self.invoke: Callable[[], None] = native.invoke

    def allocate(self) -> None:
        self._native.allocate_tensors()

    def view(self, index: int) -> Callable[[], Any]:
        """A function that views a tensor as a NumPy array; the view must be gone before `invoke`."""
        function: Callable[[], Any] = self._native.tensor(index)
        return function

    def nodes(self) -> tuple[int, int]:
        """(nodes that the delegate took, nodes of the graph); what an external one left to the default one is not its.

        The runtime lists the graph's own nodes and, behind them, a DELEGATE node for each part that
        was handed over; a node is taken when a DELEGATE node stands between it and its users.
        """
        details = _nodes(self._native)
        own = [op for op in details if op["op_name"] != "DELEGATE"]
        made_by = {int(output): i for i, op in enumerate(own) for output in op["outputs"]}
        taken: set[int] = set()
        for op in details[: self._external_ops or None]:
            if op["op_name"] != "DELEGATE":
                continue
            given = {int(i) for i in op["inputs"]}
            todo = [int(i) for i in op["outputs"]]
            while todo:
                tensor = todo.pop()
                node = made_by.get(tensor)
                if node is None or node in taken or tensor in given:
                    continue
                taken.add(node)
                todo.extend(int(i) for i in own[node]["inputs"])
        return len(taken), len(own)


def _nodes(native: Any) -> list[dict[str, Any]]:
    """The runtime's list of nodes. Raises ModelError "corrupt"."""
    try:
        details: list[dict[str, Any]] = native._get_ops_details()
    except UnicodeDecodeError as error:
        raise ModelError(
            "corrupt", f"A tensor of the model has a name that is not UTF-8 ({error.reason}); the file is damaged."
        ) from None
    return details


class PassedOver(NamedTuple):
    """Why a runtime that was to be preferred is not used: absent (usual), or there and broken."""

    notes: list[str]
    warnings: list[str]


def open_interpreter(
    runtime: str,
    path: str,
    delegate: str,
    threads: int,
    options: Mapping[str, str],
    enter: Callable[[Stage], object] = lambda stage: None,
) -> tuple[Interpreter, PassedOver]:
    """An interpreter for the model at `path`, and why a preferred runtime was passed over.

    `runtime`: "litert", "tflite-runtime" or "auto". `enter` is told which runtime is being started,
    so that whoever finds this process dead knows which one it was. Raises ModelError ("runtime", "delegate",
    "unsupported_op", "corrupt").
    """
    passed_over = PassedOver([], [])
    for package in PACKAGES:
        if runtime not in ("auto", package.name):
            continue
        try:
            enter(RUNTIME_STAGES[package.name])
            module = _import(package)
            if delegate not in ("xnnpack", "none"):
                enter(Stage.LOAD)  # from here on the delegate may be what kills this process
            native = _construct(module, path, delegate, threads, options)
        except Exception as error:
            reason = _runtime_fault(package, error)
            if reason is None:
                raise
            absent = isinstance(error, ModuleNotFoundError)
            (passed_over.notes if absent else passed_over.warnings).append(f"{package.name} cannot be used: {reason}")
        else:
            enter(Stage.LOAD)
            return Interpreter(native, package, delegate), passed_over
    raise ModelError(
        "runtime", "No TFLite runtime works here: " + "; ".join(passed_over.notes + passed_over.warnings) + "."
    )


def _import(package: Package) -> Any:
    """The runtime's module. Raises ImportError or SystemError, whatever went wrong in it."""
    try:
        return importlib.import_module(package.module)
    except (ImportError, SystemError):
        raise
    except Exception as error:  # a library of others: it may raise anything
        raise ImportError(f"{type(error).__name__}:") from error  # _flat adds the cause's text


def _runtime_fault(package: Package, error: BaseException) -> str | None:
    """In words, when the runtime itself is at fault; None when it is not."""
    text = _flat(error)
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == package.distribution:
        return f"it is not installed ({package.install}{_no_wheel(package)})"
    if isinstance(error, SystemError) or "_ARRAY_API" in text or "numpy.core.multiarray" in text:
        numpy = sys.modules.get("numpy")
        version = getattr(numpy, "__version__", "?")
        return (
            f"it was built for another NumPy than the installed {version} (for tflite-runtime: pip install 'numpy<2')"
        )
    if isinstance(error, ImportError):
        glibc = re.search(r"version `(GLIBC(?:XX)?_[\d.]+)' not found", text)
        if glibc:
            return f"it needs {glibc[1]}, newer than this system's C library; a newer OS release has it"
        return f"importing it fails: {text}"
    return None


def _no_wheel(package: Package) -> str:
    python = sys.version_info
    if package.name == "tflite-runtime" and python >= (3, 12):
        return f"; there is no wheel for Python {python.major}.{python.minor}, 3.11 is the last"
    if package.name == "litert" and sys.maxsize < 2**32:
        return "; there is no wheel for 32-bit systems"
    return ""


def _flat(error: BaseException) -> str:
    """An exception's text in one line, with that of its cause."""
    cause = error.__cause__ or error.__context__
    texts = [str(error)] + ([str(cause)] if cause is not None else [])
    return " ".join(" ".join(texts).split())


def _construct(module: Any, path: str, delegate: str, threads: int, options: Mapping[str, str]) -> Any:
    arguments: dict[str, Any] = {"model_path": path, "num_threads": threads}
    if delegate == "none":
        arguments["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    elif delegate != "xnnpack":
        arguments["experimental_delegates"] = [native_delegate.load(module, delegate, options)]
    try:
        return module.Interpreter(**arguments)
    except (ValueError, RuntimeError) as error:
        if "_ARRAY_API" in _flat(error):
            raise
        raise refusal(error, delegate) from None


_UNRESOLVED = re.compile(r"unresolved custom op: ([\w\-]+)|Select TensorFlow op.*\((Flex\w+)\)")
_UNKNOWN_BUILTIN = re.compile(r"Didn't find op for builtin opcode '([A-Z0-9_]+)' version '(\d+)'")


def refusal(error: Exception, delegate: str, step: str = "load") -> ModelError:
    """The runtime's exception as a refusal. `step`: "load", "allocate" or "invoke"."""
    text = _flat(error)
    if (found := _UNRESOLVED.search(text)) is not None:
        custom = found[1] or found[2]
        if custom == "edgetpu-custom-op" and delegate not in ("xnnpack", "none"):
            return ModelError(
                "delegate",
                f"The delegate {delegate} took none of the model's nodes, not even what is compiled for the Edge TPU "
                f"({custom}); install the libedgetpu that matches the runtime.",
            )
        if custom == "edgetpu-custom-op":
            return edgetpu_model()
        kind = "a TensorFlow (Flex) operator" if custom.startswith("Flex") else "a custom operator"
        return ModelError(
            "unsupported_op",
            f"The model uses {custom}, {kind} that this runtime does not have; convert the model with built-in "
            "operators only, or name the delegate that runs it.",
        )
    if (found := _UNKNOWN_BUILTIN.search(text)) is not None:
        return ModelError(
            "unsupported_op",
            f"The model uses {found[1]} version {found[2]}, which this runtime is too old for; "
            "take a newer runtime (model.runtime) or convert the model for an older one.",
        )
    external = delegate not in ("xnnpack", "none")
    if external and ("delegate" in text.lower() or step == "invoke"):
        return ModelError("delegate", f"The delegate {delegate} failed to {_STEPS[step]} the model: {text}.")
    if step == "invoke":
        return ModelError(
            "invoke",
            f"The model fails on a first, grey picture: {text}; a tensor in it has a type or shape that its "
            "operator does not take, so it has to be converted again.",
        )
    return ModelError("corrupt", f"The runtime cannot {_STEPS[step]} the model: {text}; the file may be damaged.")


_STEPS = {"load": "load", "allocate": "prepare", "invoke": "run"}


def edgetpu_model(twin: str = "") -> ModelError:
    """`twin`: what to use instead, in words, when that is known."""
    return ModelError(
        "edgetpu_model",
        'The model is compiled for the Edge TPU (edgetpu-custom-op) and runs nowhere else; use delegate = "edgetpu" '
        f"with a device, or {twin or 'the same model without _edgetpu in its name'}.",
    )
