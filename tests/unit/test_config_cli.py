"""The command line around the configuration, as a process: what it prints, where, and its exit status."""

import ast
import hashlib
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from vigild import __version__, lean
from vigild.cli.parser import COMMANDS

DAEMON = Path(__file__).resolve().parents[2] / "daemon"
TIMEOUT_S = 60


def python(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(DAEMON), "PYTHONUTF8": "1", **environment},
        check=False,
    )


def vigild(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "vigild", *arguments, cwd=cwd, **environment)


def test_version() -> None:
    done = vigild("--version")
    assert (done.returncode, done.stdout) == (0, f"vigild {__version__}\n")


def test_without_a_command_it_says_how_to_use_it() -> None:
    done = vigild()
    assert done.returncode == 2
    assert "usage: vigild" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_lists_every_command() -> None:
    done = vigild("--help")
    assert done.returncode == 0
    for name, command in COMMANDS.items():
        assert f"    {name}" in [line[: len(name) + 4] for line in done.stdout.splitlines()]
        assert command.help in " ".join(done.stdout.split())


def test_an_unknown_command_is_refused() -> None:
    done = vigild("wach")
    assert done.returncode == 2
    assert "wach" in done.stderr


def test_config_prints_a_file_that_check_takes(tmp_path: Path) -> None:
    printed = vigild("config")
    assert (printed.returncode, printed.stderr) == (0, "")
    file = tmp_path / "vigild.toml"
    file.write_text(printed.stdout, encoding="utf-8")
    done = vigild("check", "vigild.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "vigild.toml: ok: 1 camera (front), the embedded model\n")


def test_a_terminal_that_knows_ascii_only_gets_everything(tmp_path: Path) -> None:
    ascii_only = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii:strict"}
    printed = vigild("config", **ascii_only)
    assert (printed.returncode, printed.stderr) == (0, "")
    assert '"75 °C"' in printed.stdout  # UTF-8: it is a TOML file
    file = tmp_path / "größe.toml"
    file.touch()
    done = vigild("check", str(file), **ascii_only)
    assert (done.returncode, done.stderr) == (0, "")
    assert "gr\\xf6" in done.stdout


def test_check_says_what_a_file_has(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").touch()
    file = tmp_path / "v.toml"
    file.write_text(
        "[model]\npath = 'm.tflite'\n[camera.a]\nsource = 'testcard'\n"
        "[camera.b]\nsource = 'none.mp4'\nfourcc = 'MJPG'\n"
    )
    done = vigild("check", str(file))
    assert done.returncode == 0
    assert done.stdout == f"{file}: ok: 2 cameras (a, b), model {tmp_path}/m.tflite\n"
    assert f"camera.b.source: {tmp_path}/none.mp4 does not exist here" in done.stderr
    assert "camera.b.fourcc has no effect" in done.stderr
    assert "m.tflite does not exist" not in done.stderr


def test_check_prints_a_line_for_each_problem(tmp_path: Path) -> None:
    file = tmp_path / "v.toml"
    file.write_text("[model]\nthreads = 0\nmin_scor = 1\n")
    done = vigild("check", str(file), "-o", "budget.dwell=5")
    assert done.returncode == 1
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert sum(line.startswith(f"{file}: model.") for line in lines) == 2
    assert sum(line.startswith("-o budget.dwell=5: budget.dwell: found 5") for line in lines) == 1


def test_check_of_a_missing_file() -> None:
    done = vigild("check", "/absent/v.toml")
    assert (done.returncode, done.stderr) == (1, "/absent/v.toml: cannot be read: No such file or directory\n")


def test_run_with_a_wrong_configuration_prints_it_and_exits_2(tmp_path: Path) -> None:
    file = tmp_path / "v.toml"
    file.write_text("[model]\nthreads = 0\nmin_scor = 1\n")
    done = vigild("run", "--config", str(file))
    assert done.returncode == 2
    assert done.stdout == ""
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == ["model.threads", "model.min_scor"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nope.mp4", "camera.camera.source: there is no video file"),
        ("images:nope", "camera.camera.source: there is no folder"),
        (".", 'is a folder; write "images:'),
        (os.fsdecode(b"caf\xe9.mp4"), "no UTF-8"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--exit-at-end",)])
def test_run_refuses_a_file_or_folder_that_is_not_there(
    tmp_path: Path, source: str, words: str, options: tuple[str, ...]
) -> None:
    done = vigild("run", "--source", source, *options, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("key", ["labels_allowed", "labels_denied"])
def test_check_knows_the_models_classes(tmp_path: Path, key: str) -> None:
    file = tmp_path / "f.toml"
    file.write_text(f"[model]\n{key} = ['persn']\n")
    done = vigild("check", str(file))
    assert done.returncode == 1
    assert f'model.{key}: found "persn", which no class of the model is called; did you mean person?' in done.stderr
    file.write_text(f"[model]\n{key} = ['person']\n")
    assert vigild("check", str(file)).returncode == 0
    file.write_text(f"[model]\npath = 'absent.tflite'\n{key} = ['persn']\n")
    assert vigild("check", str(file)).returncode == 0, "of a model that is not here nothing is known"


def test_a_command_whose_module_is_missing_stops_only_itself(tmp_path: Path) -> None:
    program = (
        "import sys; from vigild.cli import main; from vigild.cli.parser import Command; "
        "main.COMMANDS['gone'] = Command('vigild.cli.gone', 'x'); "
        "main.COMMANDS['broken'] = Command('broken', 'x'); "
        "sys.exit(main.main(sys.argv[1:]))"
    )
    (tmp_path / "broken.py").write_text("import no_such_library\n")
    environment = {**os.environ, "PYTHONPATH": f"{DAEMON}:{tmp_path}"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            env=environment,
            check=False,
        )

    gone = run("gone")
    assert (gone.returncode, gone.stderr) == (1, "vigild: the command gone is not part of this installation\n")
    broken = run("broken")
    assert broken.returncode == 1
    assert "no_such_library" in broken.stderr
    assert "pip install" in broken.stderr
    assert run("config").returncode == 0


def test_a_closed_pipe_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "vigild", "config"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT_S,
        env={**os.environ, "PYTHONPATH": str(DAEMON), "PYTHONUTF8": "1"},
        check=False,
    )
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 0


def test_the_hub_brings_along_only_what_it_needs() -> None:
    """TLS, the compressors, the tables of Unicode and a comparison of texts: no running daemon looks at them."""
    done = python(
        "-c",
        "import sys\nfrom vigild import lean\nfrom vigild.cli.main import main\n"
        "try:\n    main(['run', '--help'])\nexcept SystemExit:\n    pass\n"
        "lean.without_openssl()\nlean.import_msgspec()\n"  # as `run` does
        "import vigild.hub.main\n"
        "print(sorted(name for name, module in sys.modules.items() if module is not None), file=sys.stderr)",
    )
    modules = set(ast.literal_eval(done.stderr.strip().splitlines()[-1]))
    assert "vigild.hub.hub" in modules
    assert not modules & {"numpy", "ssl", "_ssl", "shutil", "lzma", "bz2", "unicodedata", "difflib", "secrets"}
    assert "typing_extensions" not in modules or sys.version_info < (3, 11)
    # Where the interpreter has no digests of its own, OpenSSL's are taken.
    assert "_hashlib" not in modules or not all(map(find_spec, lean.DIGESTS))


def test_digests_without_openssl_are_the_same() -> None:
    done = python(
        "-c",
        "from vigild import lean\nlean.without_openssl()\nimport hashlib\nprint(hashlib.sha256(b'vigild').hexdigest())",
    )
    assert (done.stdout.strip(), done.stderr) == (hashlib.sha256(b"vigild").hexdigest(), "")


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_command_imports_only_what_it_is_for(command: str) -> None:
    """`vigild watch` does not pay for the hub; nothing on the command line imports NumPy, OpenCV or an interpreter."""
    done = python(
        "-c",
        "import sys\nfrom vigild.cli.main import main\n"
        "try:\n    main([sys.argv[1], '--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted(sys.modules), file=sys.stderr)",
        command,
    )
    if "not part of this installation" in done.stderr:
        pytest.skip(f"{command} is not there yet")
    modules = set(ast.literal_eval(done.stderr.strip().splitlines()[-1]))
    assert not modules & {"numpy", "cv2", "ai_edge_litert", "tflite_runtime"}
    assert not any(module.startswith(("vigild.hub", "vigild.camera", "vigild.detector")) for module in modules)
    if command != "run":
        others = {command.module for command in COMMANDS.values()} - {COMMANDS[command].module}
        assert not modules & others
