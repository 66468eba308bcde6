"""A camera's password in a file beside the configuration, without systemd."""

from __future__ import annotations

import sys
from pathlib import Path

from harness import Daemon
from test_sources import Server


def test_a_secret_beside_the_configuration(tmp_path: Path, model: Path) -> None:
    secret = tmp_path / "credentials/gate"
    secret.parent.mkdir()
    secret.write_text("p@ss/word\n")
    secret.chmod(0o644)
    with Server(sys.executable, "mjpeg_server.py", "digest=viewer:p@ss/word") as server:
        source = f"http://viewer:${{credential:gate}}@127.0.0.1:{server.port}/stream"
        text = f'[daemon]\nlog_level = "debug"\n[model]\npath = "{model}"\n[camera.gate]\nsource = "{source}"\n'
        with Daemon(tmp_path, text) as daemon:
            client = daemon.connect()
            client.watch(empty=True)
            lost = client.event("camera_lost", camera="gate")
            assert f"may be read by others: {secret} has mode 0644; chmod 600 {secret}" in lost["reason"]
            secret.chmod(0o600)
            client.until("detections")
            shown = [str(client.ask(type="status")), daemon.logged(), str(lost)]
            for pid in daemon.processes():
                shown.append(Path(f"/proc/{pid}/cmdline").read_text())
                shown.append(Path(f"/proc/{pid}/environ").read_text())
        for text in shown:
            assert "p@ss" not in text
            assert "p%40ss" not in text
