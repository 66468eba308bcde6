"""The examples of docs/clients.md, run as they stand against a real server in a process of its own."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from rawclient import RawClient
from vigild.wire import messages, requests

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "clients.md").read_text()
EXAMPLES = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def examples(language: str) -> list[str]:
    return [text for found, text in EXAMPLES if found == language]


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("page")
    path = folder / "s"
    # `vigild` of this checkout, not whatever is installed.
    command = folder / "vigild"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m vigild "$@"\n')
    command.chmod(0o755)
    environ = os.environ | {
        "VIGILD_SOCKET": str(path),
        "PYTHONPATH": str(ROOT / "daemon"),
        "PATH": f"{folder}:{os.environ['PATH']}",
    }
    daemon = subprocess.Popen(
        [sys.executable, ROOT / "tests" / "standin_hub.py", path, "20"], env=environ, stdout=subprocess.PIPE
    )
    assert daemon.stdout is not None and daemon.stdout.readline() == b"listening\n"
    yield environ
    daemon.kill()
    daemon.wait()


def run(command: list[str], environ: dict[str, str], folder: Path) -> str:
    done = subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def shell(text: str, environ: dict[str, str], folder: Path) -> str:
    return run(["bash", "-ec", text], environ, folder)


def needs(tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")


def test_the_commands(environ: dict[str, str], tmp_path: Path) -> None:
    # The first two run until Ctrl-C.
    text = (
        examples("sh")[0]
        .replace("vigild watch ", "vigild watch --count 1 ")
        .replace("--count 1 --json --count 2", "--json --count 2")
    )
    output = shell(text, environ, tmp_path)
    assert "person" in output and '"type":"detections","seq":2' in output and "xnnpack (60 of 64 nodes)" in output
    assert (tmp_path / "front.jpg").read_bytes().startswith(b"\xff\xd8")


def test_netcat(environ: dict[str, str], tmp_path: Path) -> None:
    needs("nc")
    lines = shell(examples("sh")[1], environ, tmp_path).splitlines()
    assert [msgspec.json.decode(line)["type"] for line in lines] == ["hello", "status"]


def test_socat(environ: dict[str, str], tmp_path: Path) -> None:
    needs("socat")
    assert shell(examples("sh")[2], environ, tmp_path) == "front sees a person\n" * 2


def test_python(environ: dict[str, str], tmp_path: Path) -> None:
    output = run([sys.executable, "-c", examples("python")[0]], environ, tmp_path)
    assert "watching ['front', 'back']" in output
    assert output.count("front: person 0.90 at x 0.10..0.30") == 3


def test_asyncio(environ: dict[str, str], tmp_path: Path) -> None:
    output = run([sys.executable, "-c", examples("python")[1]], environ, tmp_path)
    assert "cameras: ['front']" in output and "['person', 'cat']" in output


def test_node(environ: dict[str, str], tmp_path: Path) -> None:
    needs("node")
    output = run(["node", "-e", examples("js")[0]], environ, tmp_path)
    assert output.count("front person 0.9 [ 0.1, 0.2, 0.3, 0.4 ]") == 3


def test_the_tables_name_every_field_and_the_limits(environ: dict[str, str]) -> None:
    for kind in requests.AnyRequest.__args__:
        row = next(
            line for line in PAGE.splitlines() if line.startswith("|") and f"`{kind.__struct_config__.tag}`" in line
        )
        for field in set(kind.__struct_encode_fields__) - {"id"}:
            assert f"`{field}`" in row, f"{kind.__name__}.{field}"
    for kind in messages.ServerMessage.__args__:
        rows = [line for line in PAGE.splitlines() if re.match(rf"\| .*`{kind.__struct_config__.tag}`.* \|", line)]
        for field in kind.__struct_encode_fields__:
            assert any(f"`{field}`" in row for row in rows), f"{kind.__name__}.{field}"
    with RawClient(Path(environ["VIGILD_SOCKET"])) as client:
        limits = client.hello["limits"]
    assert f"{limits['request_bytes'] // 1024} KiB a request line" in PAGE
    assert f"{limits['requests_per_second']} requests a second" in PAGE
    assert f"{limits['queue_lines']} `detections` lines or {limits['queue_bytes'] // 1024} KiB" in PAGE
    assert (
        f"{limits['pending_bytes'] // 2**20} MiB waiting in all, or no byte accepted for {limits['stall_s']:.0f} s"
        in PAGE
    )


def test_every_error_code_is_explained() -> None:
    source = "".join(
        (ROOT / "daemon/vigild" / name).read_text() for name in ("wire/requests.py", "wire/policy.py", "hub/server.py")
    )
    codes = set(re.findall(r'(?:RequestError\(|unknown\(|code=)\s*"(\w+)"', source))
    assert {"not_json", "busy", "unknown_label", "too_many_clients"} <= codes
    for code in codes:
        assert f"`{code}`" in PAGE, code
