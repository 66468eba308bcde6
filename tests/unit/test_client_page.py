"""The examples of docs/clients.md, run as they stand against the daemon with its defaults."""

import os
import re
import shutil
import subprocess
import sys
import time
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
    # No configuration: the embedded model. The source is said only because the machine of a test may have a camera.
    command = [sys.executable, "-m", "vigild", "run", "--source", "testcard"]
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(command, env=environ, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        with connect(path, daemon) as client:
            client.watch(events=["detections"])
            while client.until("detections")["status"] != "ok":
                pass
        yield environ
    finally:
        daemon.terminate()
        assert daemon.wait(60) == 0, (folder / "log").read_text()


def connect(path: Path, daemon: subprocess.Popen[bytes]) -> RawClient:
    """As soon as the daemon listens."""
    give_up = time.monotonic() + 60
    while True:
        try:
            return RawClient(path)
        except OSError:
            assert daemon.poll() is None and time.monotonic() < give_up
            time.sleep(0.02)


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
    assert "circle" in output and '"type":"detections","seq":2' in output and "people_vehicles_ssd" in output
    assert (tmp_path / "now.jpg").read_bytes().startswith(b"\xff\xd8")


def test_netcat(environ: dict[str, str], tmp_path: Path) -> None:
    needs("nc")
    lines = shell(examples("sh")[1], environ, tmp_path).splitlines()
    assert [msgspec.json.decode(line)["type"] for line in lines] == ["hello", "status"]


def test_socat(environ: dict[str, str], tmp_path: Path) -> None:
    needs("socat")
    assert re.fullmatch(r"(camera sees a \w+\n){2}", shell(examples("sh")[2], environ, tmp_path))


def test_python(environ: dict[str, str], tmp_path: Path) -> None:
    output = run([sys.executable, "-c", examples("python")[0]], environ, tmp_path)
    assert "watching ['camera']" in output
    assert len(re.findall(r"^camera: circle 0\.\d\d at x [01]\.\d\d\.\.[01]\.\d\d$", output, re.MULTILINE)) >= 3


def test_asyncio(environ: dict[str, str], tmp_path: Path) -> None:
    output = run([sys.executable, "-c", examples("python")[1]], environ, tmp_path)
    assert "cameras: ['camera']" in output and re.search(
        r"^\d+ \[.*'(circle|star|square|triangle)'", output, re.MULTILINE
    )


def test_node(environ: dict[str, str], tmp_path: Path) -> None:
    needs("node")
    output = run(["node", "-e", examples("js")[0]], environ, tmp_path)
    assert len(re.findall(r"^camera circle 0\.\d+ \[", output, re.MULTILINE)) >= 3


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
        (ROOT / "daemon/vigild" / name).read_text()
        for name in ("wire/requests.py", "wire/policy.py", "hub/server.py", "hub/requests.py", "hub/places.py")
    )
    codes = set(re.findall(r'(?:RequestError\(|unknown\(|code=)\s*"(\w+)"', source))
    assert {"not_json", "busy", "unknown_label", "too_many_clients"} <= codes
    for code in codes:
        assert f"`{code}`" in PAGE, code
