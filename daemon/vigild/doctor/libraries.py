"""OpenCV, the TFLite runtimes and what executes a graph on them, each tried.

The embedded model is loaded and run once on every runtime with XNNPACK, then with plain kernels on
the first that works, then the Edge TPU's delegate is loaded where there is a sign of one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vigild.config.schema import ModelConfig
from vigild.delegates import edgetpu
from vigild.doctor import tasks
from vigild.doctor.finding import Finding, note, ok, problem
from vigild.doctor.tasks import ModelTask
from vigild.figures import milliseconds
from vigild.runtimes import PACKAGES
from vigild.sandbox.parent import TaskResult, run

_NEEDS = "pip install 'vigild[daemon]'"


def checks(root: Path, config: ModelConfig) -> Iterator[Finding]:
    """`config`: whose runtime, delegate and delegate options matter here; its model does not."""
    yield _opencv(run(tasks.__name__, "opencv", {}))
    results = {
        package.name: run(
            tasks.__name__, "model", ModelTask(config=ModelConfig(), runtime=package.name, delegate="xnnpack")
        )
        for package in PACKAGES
    }
    working = [name for name, one in results.items() if _works(one)]
    for package in PACKAGES:
        yield _runtime(package.name, results[package.name], package.install, config.runtime, working)
    if working:
        task = ModelTask(config=ModelConfig(), runtime=working[0], delegate="none")
        yield _plain_kernels(run(tasks.__name__, "model", task))
        yield note("results", "whether they are right is not looked at here", "vigild selftest does that, in seconds")
    yield _edgetpu(root, config, working[0] if working else "")


def _works(result: TaskResult) -> bool:
    return result.answer is not None and "refused" not in result.answer


def _opencv(result: TaskResult) -> Finding:
    answer = result.answer
    if answer is None:
        return problem("OpenCV", result.death, f"install it again: {_NEEDS}", blocks=True)
    if "refused" in answer:
        if answer.get("missing"):
            return problem("OpenCV", f"{answer['missing']} is not installed", _NEEDS, blocks=True)
        return problem("OpenCV", f"it cannot be used: {answer['refused']}", import_todo(answer), blocks=True)
    found = f"{answer['version']} with NumPy {answer['numpy']}; reads from {', '.join(answer['backends'])}"
    return ok("OpenCV", found)


def import_todo(answer: dict[str, Any]) -> str:
    """What to do about an import that failed, or a runtime that was refused."""
    text = answer["refused"]
    if "numpy" in text.lower():
        return "install the NumPy it was built for: pip install 'numpy<2' for tflite-runtime, else a newer package"
    if "GLIBC" in text:
        return "take a newer release of the operating system, or an older version of the package"
    if "libGL" in text:
        return "install opencv-python-headless in place of opencv-python, which needs a desktop's libraries"
    if "cannot open shared object file" in text:
        return "install the library that is named, with apt"
    return "install the package again, for this Python and this processor"


def _runtime(name: str, result: TaskResult, install: str, wanted: str, working: list[str]) -> Finding:
    """One runtime: a problem if it is demanded, broken, or the last hope."""
    answer = result.answer
    if answer is not None and "refused" not in answer:
        return _runtime_works(name, answer)
    needed = wanted == name or not working
    if answer is None:
        todo = f"install a build that fits this system: {install}"
        return problem(
            name, result.death, todo if needed else f"{todo}; until then {working[0]} is used", blocks=needed
        )
    if answer["code"] == "import":
        # NumPy is told of by OpenCV's line.
        return problem(name, answer["refused"], _NEEDS, blocks=needed)
    text = str(answer["refused"]).removeprefix(f"No TFLite runtime works here: {name} cannot be used: ").rstrip(".")
    if text.startswith("it is not installed"):
        unavailable = "no wheel" in text
        text = text.replace(f" ({install}", " (" if unavailable else "").replace("(; ", "(").rstrip(")")
        text += ")" if unavailable else ""
        if not needed:
            return note(name, f"{text}; it is not needed")
        todo = f"take the other runtime, or another Python than {sys.version.split()[0]}" if unavailable else install
        return problem(name, text, todo, blocks=True)
    return problem(name, text, import_todo(answer), blocks=needed)


def _runtime_works(name: str, answer: dict[str, Any]) -> Finding:
    found = f"{answer['version']}, the embedded model runs in {milliseconds(answer['first_invoke_ms'])}"
    if answer["delegate"] == "none":
        return note(name, f"{found}; XNNPACK took none of its {answer['nodes']} nodes, so 8-bit models are slow on it")
    return ok(name, f"{found}; XNNPACK took {answer['taken']} of {answer['nodes']} nodes")


def _plain_kernels(result: TaskResult) -> Finding:
    """The last rung of the delegate ladder."""
    answer = result.answer
    if answer is not None and "refused" not in answer:
        return ok("plain kernels", f"the embedded model runs in {milliseconds(answer['first_invoke_ms'])}")
    reason = result.death if answer is None else answer["refused"]
    return problem("plain kernels", reason, "install the runtime again; XNNPACK has nothing to fall back on")


def _edgetpu(root: Path, config: ModelConfig, runtime: str) -> Finding:
    wanted = config.delegate.partition(":")[0] == "edgetpu"
    devices = edgetpu.devices(root)
    names = " and ".join(device.name for device in devices)
    if not (devices or wanted or edgetpu.library_installed()):
        return ok("Edge TPU", "none")
    if not edgetpu.library_installed():
        found = f"{names or 'none connected'}, but {edgetpu.LIBRARY} is not installed"
        return problem("Edge TPU", found, "install libedgetpu1-std (coral.ai/software)", blocks=wanted)
    if not devices and not wanted:
        return note("Edge TPU", f"none is connected; {edgetpu.LIBRARY} is installed")
    if not runtime:
        return note("Edge TPU", f"{names}; not tried, because no runtime works")
    rung = config.delegate if wanted else "edgetpu"
    result = run(tasks.__name__, "delegate", ModelTask(config=config, runtime=runtime, delegate=rung))
    if result.answer is None:
        todo = f"{edgetpu.diagnosis(root)}; if it crashed, install the {edgetpu.LIBRARY} built for {runtime}"
        return problem("Edge TPU", f"its library: {result.death}", todo, blocks=wanted)
    if "refused" in result.answer:
        return problem("Edge TPU", result.answer["refused"].rstrip("."), edgetpu.diagnosis(root), blocks=wanted)
    return ok("Edge TPU", f"{names} answers through {edgetpu.LIBRARY}")
