"""What is tried in a process of its own, with packages on PYTHONPATH that break in the ways real ones do."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from boardkit import write
from vigild.config.schema import CameraConfig, ModelConfig
from vigild.doctor import cameras, libraries, models, tasks
from vigild.doctor.finding import Finding
from vigild.doctor.tasks import ModelTask
from vigild.sandbox.parent import run

SEGFAULT = "import ctypes\nctypes.string_at(0)\n"
ABORT = "import os, sys\nsys.stderr.write('F driver/usb.cc:1148] transfer failed\\n')\nos.abort()\n"
ILLEGAL = "import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n"
HANG = "import time\ntime.sleep(3600)\n"
GLIBC = 'raise ImportError("/lib/libm.so.6: version `GLIBC_2.38\' not found (required by _pywrap.so)")\n'
NUMPY = "raise ImportError('numpy.core.multiarray failed to import')\n"
ABSENT = "raise ModuleNotFoundError(\"No module named '{0}'\", name='{0}')\n"

NOBODY = 65534
NOWHERE = Path("/nowhere")
"""No such root: nothing is connected."""

Break = Callable[..., None]


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Break:
    """broken(ai_edge_litert=SEGFAULT): what these packages do when they are imported."""

    def put(**packages: str) -> None:
        for name, body in packages.items():
            folder = tmp_path / "site" / name
            body = body.format(name) if body == ABSENT else body
            write(folder / "__init__.py", body if "ModuleNotFound" in body or name == "cv2" else "")
            write(folder / "interpreter.py", body)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))

    return put


def by_name(findings: Iterable[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def examined(config: ModelConfig | None = None, root: Path = NOWHERE) -> dict[str, Finding]:
    return by_name(libraries.checks(root, config or ModelConfig()))


def litert_line(config: ModelConfig | None = None, working: list[str] | None = None) -> Finding:
    """The report's line on LiteRT alone, beside runtimes that work."""
    result = run(tasks.__name__, "model", ModelTask(config=ModelConfig(), runtime="litert", delegate="xnnpack"))
    return libraries._runtime(
        "litert", result, "pip install 'vigild[litert]'", (config or ModelConfig()).runtime, working or []
    )


def opencv_line() -> Finding:
    return libraries._opencv(run(tasks.__name__, "opencv", {}))


def litert(limit_s: float = 60.0) -> str:
    result = run(
        tasks.__name__, "model", ModelTask(config=ModelConfig(), runtime="litert", delegate="xnnpack"), limit_s
    )
    assert result.answer is None, result.answer
    return result.death


def test_a_segfault_is_put_into_words(broken: Break) -> None:
    broken(ai_edge_litert=SEGFAULT)
    death = litert()
    assert death.startswith(
        "killed by SIGSEGV while starting litert with the model: it crashed; its build does not fit"
    )


def test_an_abort_says_its_last_words(broken: Break) -> None:
    broken(ai_edge_litert=ABORT)
    death = litert()
    assert death.startswith("killed by SIGABRT while starting litert")
    assert "transfer failed" in death


def test_instructions_that_the_processor_lacks(broken: Break) -> None:
    broken(ai_edge_litert=ILLEGAL)
    assert "instructions that this processor does not have" in litert()


def test_a_hang_ends_at_its_limit(broken: Break) -> None:
    broken(ai_edge_litert=HANG)
    assert litert(limit_s=3.0) == "it hung for 3 s while starting litert with the model, and was killed"


def opencv_death() -> str:
    result = run(tasks.__name__, "opencv", {})
    assert result.answer is None, result.answer
    return result.death


def test_a_traceback_is_told_by_its_last_line(broken: Break) -> None:
    broken(cv2="raise KeyError('surprise')")
    assert opencv_death() == "exited with status 1 while importing OpenCV (KeyError: 'surprise')"


def test_what_is_printed_to_the_standard_output_does_not_come_between(broken: Break) -> None:
    broken(cv2="import os\nos.write(1, b'{\"answer\": {}}\\n')\nraise KeyError('surprise')")
    assert "surprise" in opencv_death()


def test_no_core_file_is_left(broken: Break) -> None:
    broken(cv2="import resource\nraise KeyError(resource.getrlimit(resource.RLIMIT_CORE))")
    assert "KeyError: (0, 0)" in opencv_death()


# ---- runtimes


def test_a_broken_runtime_is_a_problem_and_blocks_without_another(broken: Break) -> None:
    broken(ai_edge_litert=SEGFAULT, tflite_runtime=ABSENT)
    found = examined()
    assert found["litert"].state == "problem" and found["litert"].blocks
    assert "SIGSEGV" in found["litert"].found and "vigild[litert]" in found["litert"].todo
    assert found["tflite-runtime"].blocks and found["tflite-runtime"].todo == "pip install 'vigild[tflite]'"
    assert "plain kernels" not in found


def test_a_broken_runtime_beside_one_that_works_does_not_block(broken: Break) -> None:
    broken(ai_edge_litert=SEGFAULT)
    finding = litert_line(working=["tflite-runtime"])
    assert finding.state == "problem" and not finding.blocks
    assert "tflite-runtime is used" in finding.todo
    assert litert_line(ModelConfig(runtime="litert"), ["tflite-runtime"]).blocks


def test_an_absent_runtime_beside_one_that_works_is_no_problem(broken: Break) -> None:
    broken(ai_edge_litert=ABSENT)
    finding = litert_line(working=["tflite-runtime"])
    assert finding.state == "note" and not finding.todo and finding.found == "it is not installed; it is not needed"
    assert litert_line(ModelConfig(runtime="litert"), ["tflite-runtime"]).blocks


@pytest.mark.parametrize(
    ("body", "found", "todo"),
    [
        (GLIBC, "GLIBC_2.38", "newer release of the operating system"),
        (NUMPY, "another NumPy", "numpy<2"),
        ("raise ImportError('wrong ELF class: ELFCLASS32')", "wrong ELF class", "install the package again"),
        ("raise KeyError('surprise')", "KeyError: 'surprise'", "install the package again"),
    ],
)
def test_imports_that_fail_are_put_into_words(broken: Break, body: str, found: str, todo: str) -> None:
    broken(ai_edge_litert=body)
    finding = litert_line()
    assert finding.state == "problem" and finding.blocks
    assert found in finding.found and todo in finding.todo


def test_opencv_that_is_missing_or_crashes_blocks(broken: Break) -> None:
    broken(cv2="")  # a package without anything in it
    finding = opencv_line()
    assert finding.blocks and "has no attribute" in finding.found
    broken(cv2=ABSENT)
    finding = opencv_line()
    assert finding.blocks and finding.found == "cv2 is not installed" and "vigild[daemon]" in finding.todo


def test_opencv_that_needs_a_desktop(broken: Break) -> None:
    text = "libGL.so.1: cannot open shared object file: No such file or directory"
    broken(cv2=f"raise ImportError({text!r})")
    finding = opencv_line()
    assert finding.blocks and "headless" in finding.todo


def test_an_edge_tpu_without_its_library(tmp_path: Path) -> None:
    write(tmp_path / "dev/apex_0", "")
    finding = libraries._edgetpu(tmp_path, ModelConfig(), "litert")
    assert finding.state == "problem" and not finding.blocks
    assert "PCIe apex_0" in finding.found and "libedgetpu1-std" in finding.todo
    assert libraries._edgetpu(tmp_path, ModelConfig(delegate="edgetpu"), "litert").blocks


# ---- models


def test_a_model_that_is_no_model_blocks(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_text("<html>404</html>")
    finding = by_name(models.checks(NOWHERE, ModelConfig(path=str(tmp_path / "m.tflite"))))["model"]
    assert finding.blocks and "m.tflite" in finding.found and "TFLite" in finding.found


def test_the_embedded_model_on_demand_of_a_delegate() -> None:
    finding = by_name(models.checks(NOWHERE, ModelConfig(delegate="none")))["model"]
    assert finding.state == "ok" and "none takes" in finding.found
    finding = by_name(models.checks(NOWHERE, ModelConfig(delegate="/nowhere/lib.so")))["model"]
    assert finding.blocks and "/nowhere/lib.so" in finding.found


INSTALLED = """
import sys
sys.path = [path for path in sys.path if path != {site!r}]
for name in [name for name in sys.modules if name.partition(".")[0] == {sound!r}]:
    del sys.modules[name]
import {sound}.interpreter as installed
from {sound}.interpreter import *
Interpreter, OpResolverType, load_delegate = installed.Interpreter, installed.OpResolverType, installed.load_delegate
"""


@pytest.mark.skipif(importlib.util.find_spec("ai_edge_litert") is None, reason="LiteRT stands in for the sound runtime")
def test_a_model_runs_on_the_other_runtime_when_the_first_is_deadly(broken: Break, tmp_path: Path) -> None:
    sound = INSTALLED.format(site=str(tmp_path / "site"), sound="ai_edge_litert")
    broken(ai_edge_litert=SEGFAULT, tflite_runtime=sound)
    found = by_name(models.checks(NOWHERE, ModelConfig(delegate="none")))["model"]
    assert found.state == "ok" and "on tflite-runtime" in found.found
    broken(tflite_runtime=ABSENT)
    found = by_name(models.checks(NOWHERE, ModelConfig(delegate="none")))["model"]
    assert found.blocks and "SIGSEGV" in found.found


# ---- cameras


def test_a_camera_is_opened_for_one_frame() -> None:
    (finding,) = cameras.checks(NOWHERE, {"front": CameraConfig(source="testcard", size=(320, 240))})
    assert finding.state == "ok" and "320x240" in finding.found


def test_one_camera_that_fails_is_lived_with_and_all_are_not(tmp_path: Path) -> None:
    gone = CameraConfig(source=str(tmp_path / "gone.mp4"))
    card = CameraConfig(source="testcard")
    found = by_name(cameras.checks(NOWHERE, {"a": gone, "b": card}))
    assert found["camera a"].state == "problem" and not found["camera a"].blocks
    assert found["camera b"].state == "ok"
    (finding,) = cameras.checks(NOWHERE, {"a": gone})
    assert finding.blocks and "gone.mp4" in finding.found


def test_a_command_that_gives_no_picture_and_its_secrets() -> None:
    config = CameraConfig(source="exec:echo no --password hunter2 >&2; exit 3")
    (finding,) = cameras.checks(NOWHERE, {"a": config})
    assert finding.state == "problem" and "status 3" in finding.found
    assert "hunter2" not in finding.found + finding.todo


def test_a_camera_that_the_running_daemon_reads_is_left_alone(tmp_path: Path) -> None:
    sign = tmp_path / "opened"
    config = CameraConfig(source=f"exec:touch {sign}")
    (finding,) = cameras.checks(NOWHERE, {"a": config}, ["a"])
    assert finding.state == "note" and "running daemon" in finding.found
    assert not sign.exists()


def test_a_node_that_is_no_camera(tmp_path: Path) -> None:
    write(tmp_path / "dev/video0", "")
    write(tmp_path / "sys/class/video4linux/video0/name", "UVC Camera (046d:0825)\n")
    found = by_name(cameras.checks(tmp_path, {}))
    assert "UVC Camera (046d:0825)" in found["/dev/video0"].found and found["/dev/video0"].state == "note"
    assert "none that can be read" in found["cameras"].found


def test_a_node_that_this_user_may_not_open() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        node = Path(folder) / "dev/video0"
        write(node, "")
        node.chmod(0)
        if os.getuid() == 0:  # root may open everything
            os.seteuid(NOBODY)
        try:
            (finding,) = cameras.checks(Path(folder), {})
        finally:
            os.seteuid(os.getuid())
    assert finding.state == "problem" and "usermod -aG video" in finding.todo
