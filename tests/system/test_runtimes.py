"""`model.runtime = "auto"` on a board where a runtime is installed that ends the process that starts it.

The deadly runtime is a package on PYTHONPATH; the sound one beside it goes by the other runtime's
name and is the one that is installed.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
from harness import Client, Daemon

from boardkit import write

CAMERA = '[camera.front]\nsource = "testcard"\nsize = [320, 240]\n'

SEGFAULT = "import ctypes\nctypes.string_at(0)\n"
ABORTS_WHEN_USED = (
    "import os\nclass OpResolverType:\n    BUILTIN_WITHOUT_DEFAULT_DELEGATES = 0\n"
    "def Interpreter(**_):\n    os.abort()\n"
)
ABSENT = "raise ModuleNotFoundError(\"No module named '{package}'\", name='{package}')\n"

# The installed LiteRT, from behind the packages of the test.
INSTALLED = """
import sys
sys.path = [path for path in sys.path if path != {site!r}]
for name in [name for name in sys.modules if name.partition(".")[0] == "ai_edge_litert"]:
    del sys.modules[name]
import ai_edge_litert.interpreter as installed
from ai_edge_litert.interpreter import *
_, OpResolverType, load_delegate = installed.Interpreter, installed.OpResolverType, installed.load_delegate
"""

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None, reason="LiteRT is what stands in for the sound runtime"
)


class Packages:
    """Runtimes in the way of the installed one. A body may use {site} and {package}."""

    def __init__(self, folder: Path) -> None:
        self.site = folder / "site"

    def put(self, package: str, body: str) -> None:
        text = body.replace("{site!r}", repr(str(self.site))).replace("{package}", package)
        write(self.site / package / "__init__.py", "__version__ = '0'\n" if body != ABSENT else text)
        write(self.site / package / "interpreter.py", text)

    @property
    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": os.pathsep.join([str(self.site), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture
def packages(tmp_path: Path) -> Packages:
    return Packages(tmp_path)


def daemon_with(packages: Packages, tmp_path: Path, model: str = "") -> Daemon:
    return Daemon(tmp_path, f"[model]\n{model}\n{CAMERA}", env=packages.environment).start()


def watching(daemon: Daemon) -> Client:
    client = daemon.connect()
    client.watch(empty=True, events=["detections", "event"])
    return client


def detector(daemon: Daemon) -> dict[str, Any]:
    return next(w for w in daemon.status()["health"]["workers"] if w["name"] == "detector")


def runtime(daemon: Daemon) -> tuple[str, str]:
    point = daemon.status()["health"]["operating_point"]
    return point["runtime"], point["delegate"]


@pytest.mark.parametrize(
    ("body", "how"),
    [
        (SEGFAULT, "killed by SIGSEGV"),
        (ABORTS_WHEN_USED, "killed by SIGABRT"),
        ("import os\nos._exit(7)", "exited with status 7"),
    ],
    ids=["segfaults", "aborts", "exits"],
)
def test_a_deadly_runtime_is_left_for_the_other(packages: Packages, tmp_path: Path, body: str, how: str) -> None:
    packages.put("ai_edge_litert", body)
    packages.put("tflite_runtime", INSTALLED)
    with daemon_with(packages, tmp_path) as daemon:
        watching(daemon).until("detections")
        assert runtime(daemon) == ("tflite-runtime", "xnnpack")  # not a rung lower for it
        told = detector(daemon)
        assert told["restarts"] == 1
        assert told["reason"].startswith(f"detector {how} while starting litert")
        assert "; tflite-runtime from now on; restarted, 1 of 5" in told["reason"]


def test_a_sound_runtime_costs_no_further_process(packages: Packages, tmp_path: Path) -> None:
    packages.put("tflite_runtime", SEGFAULT)  # never even looked at
    with daemon_with(packages, tmp_path) as daemon:
        watching(daemon).until("detections")
        assert runtime(daemon)[0] == "litert"
        assert detector(daemon)["restarts"] == 0


def test_without_another_runtime_the_deadly_one_is_tried_again_and_both_are_named(
    packages: Packages, tmp_path: Path
) -> None:
    sign = tmp_path / "mended"
    packages.put("ai_edge_litert", f"import os\nif not os.path.exists({str(sign)!r}):\n    os.abort()\n" + INSTALLED)
    packages.put("tflite_runtime", ABSENT)
    with daemon_with(packages, tmp_path) as daemon:
        client = watching(daemon)
        told = client.until(lambda m: "not installed" in m.get("reason", ""))["reason"]
        assert "killed by SIGABRT while starting litert" in told and "tflite-runtime cannot be used" in told
        sign.touch()
        client.until("detections")
        assert runtime(daemon)[0] == "litert"


def test_a_kill_from_outside_is_not_blamed_on_the_runtime(packages: Packages, tmp_path: Path) -> None:
    sign = tmp_path / "killed"
    once = (
        f"import os\nif not os.path.exists({str(sign)!r}):\n    open({str(sign)!r}, 'w')\n    os.kill(os.getpid(), 9)\n"
    )
    packages.put("ai_edge_litert", once + INSTALLED)
    packages.put("tflite_runtime", INSTALLED)
    with daemon_with(packages, tmp_path) as daemon:
        watching(daemon).until("detections")
        assert runtime(daemon)[0] == "litert"
        assert detector(daemon)["reason"].startswith("detector killed by SIGKILL while starting litert")


def test_a_runtime_that_was_demanded_is_not_left(packages: Packages, tmp_path: Path) -> None:
    packages.put("ai_edge_litert", SEGFAULT)
    packages.put("tflite_runtime", INSTALLED)
    with daemon_with(packages, tmp_path, 'runtime = "litert"') as daemon:
        client = watching(daemon)
        for _ in range(3):
            assert "tflite-runtime" not in client.event("worker_died")["reason"]


def test_a_change_to_auto_passes_the_deadly_one_by(packages: Packages, tmp_path: Path) -> None:
    packages.put("ai_edge_litert", SEGFAULT)
    packages.put("tflite_runtime", INSTALLED)
    with daemon_with(packages, tmp_path, 'runtime = "tflite-runtime"\nthreads = 1') as daemon:
        client = watching(daemon)
        client.until("detections")
        answer = client.ask(type="set", key="model.runtime", value="auto")
        assert answer["type"] != "error", answer
        client.until("detections")
        assert runtime(daemon)[0] == "tflite-runtime"
        # ... and where nothing else works, it is said and the model in service stays.
        packages.put("tflite_runtime", ABSENT)
        answer = client.ask(type="set", key="model.threads", value=2)
        assert answer["type"] == "error" and answer["code"] == "crashed", answer
        assert (
            "killed by SIGSEGV while starting litert with the model; and otherwise: No TFLite runtime works"
            in answer["message"]
        )
        client.until("detections")
