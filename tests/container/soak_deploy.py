"""`make soak-deploy N=50`: deploys one after the other to one board; none may leave a process, mount or file behind.

Two bundles take turns. What is on the board after each pair of deploys is compared with what was there after the first.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

from board import Board, unavailable  # noqa: E402

from cross import bundle as bundles  # noqa: E402
from cross import deploy, target  # noqa: E402
from cross.bundle import Bundle  # noqa: E402
from cross.deploy import Job  # noqa: E402


def state(board: Board) -> dict[str, list[str]]:
    """Processes by name (those of our own ssh aside), mounts, and files, when the board's guard is done sweeping."""
    board.wait_for(lambda: board.status("systemctl is-active --quiet vigild-confirm.service"), "the guard has ended")
    files = board.run("find /opt/vigild /etc/systemd/system /etc/vigild /run/vigild-deploy /tmp -xdev | sort")
    files = re.sub(r"(/tmp/systemd-private-.*\.service-)\w+", r"\1#", files)  # PrivateTmp=: another name at each start
    return {
        "processes": sorted(board.run("ps -eo comm= | grep -v ^sshd").split("\n")),
        "mounts": board.run("cut -d' ' -f2 /proc/mounts | grep -v systemd-private | sort").split("\n"),
        "files": [line for line in files.split("\n") if "__pycache__" not in line and "/run/credentials" not in line],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-n", type=int, default=50, help="deploys")
    count = parser.parse_args().n
    if reason := unavailable():
        print(f"soak-deploy: {reason}", file=sys.stderr)
        return 1
    chosen = target.load("amd64-bookworm")
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two, Board("soak") as board:
        os.environ["VIGILD_SSH"] = f"ssh -F {board.ssh_config}"
        first = Bundle.open(bundles.make(chosen, None, Path(one)))
        os.environ["SOURCE_DATE_EPOCH"] = "1600000000"
        second = Bundle.open(bundles.make(chosen, None, Path(two)))
        before: dict[str, list[str]] = {}
        for number in range(1, count + 1):
            outcome = deploy.deploy((second, first)[number % 2], Job("pi@soak"), lambda text: None)
            print(f"{number}: {outcome.detail} ({outcome.seconds:.1f} s)", flush=True)
            if not outcome.good:
                return 1
            if number == 2:
                before = state(board)
            elif number % 2 == 0:
                for kind, now in state(board).items():
                    if extra := sorted(set(now) - set(before[kind])):
                        print(f"{kind} left behind after {number} deploys: {extra[:20]}", file=sys.stderr)
                        return 1
                    if len(now) > len(before[kind]):
                        print(f"{kind}: {len(now)}, and {len(before[kind])} at first", file=sys.stderr)
                        return 1
    print(f"{count} deploys left nothing behind")
    return 0


if __name__ == "__main__":
    sys.exit(main())
