from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from vigild.ipc.progress import STAGE_TEXT, Progress, Stage


def test_every_stage_has_words() -> None:
    assert set(STAGE_TEXT) == set(Stage)


def test_another_process_sees_what_this_one_does() -> None:
    progress = Progress.create("test")
    code = (
        "import sys; from vigild.ipc.progress import *; import os, signal\n"
        "Progress(int(sys.argv[1])).lane(3).enter(Stage.INVOKE); os.kill(os.getpid(), signal.SIGKILL)"
    )
    before_ns = time.monotonic_ns()
    subprocess.run([sys.executable, "-c", code, str(progress.fd)], pass_fds=[progress.fd], check=False)
    stage, since_ns = progress.lane(3).read()
    assert stage == Stage.INVOKE
    assert before_ns <= since_ns <= time.monotonic_ns()
    assert progress.lane(0).read() == (Stage.START, 0)
    fd = progress.fd
    progress.close()
    assert not Path(f"/proc/self/fd/{fd}").exists()
