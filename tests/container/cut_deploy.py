"""`make cut-deploy N=20 SEED=1`: the power is cut at a random moment of a deploy, again and again.

Two releases take turns on one board. Whenever the board comes back it must get by itself to one whole release that
runs, whatever was under way: files half sent, pip half done, the link just renamed, the gate half passed.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

from board import Board, unavailable  # noqa: E402
from cuts import SETTLED_S, journal, settled, wrong  # noqa: E402

from cross import bundle as bundles  # noqa: E402
from cross import deploy, target  # noqa: E402
from cross.bundle import Bundle  # noqa: E402
from cross.deploy import Job, Outcome  # noqa: E402
from cross.errors import CrossError  # noqa: E402

LONGEST_S = 20.0
"""Of a deploy on a quiet machine, with some seconds to spare: later cuts would find it done."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-n", type=int, default=20, help="cuts")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if reason := unavailable():
        print(f"cut-deploy: {reason}", file=sys.stderr)
        return 1
    chance = random.Random(arguments.seed)
    chosen = target.load("amd64-bookworm")
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two, Board("cut") as board:
        os.environ["VIGILD_SSH"] = f"ssh -F {board.ssh_config}"
        job = Job("pi@cut")
        releases = [Bundle.open(bundles.make(chosen, None, Path(one)))]
        os.environ["SOURCE_DATE_EPOCH"] = "1600000000"
        releases.append(Bundle.open(bundles.make(chosen, None, Path(two))))
        known = {release.release_name() for release in releases}
        first = deploy.deploy(releases[0], job, lambda text: None)
        print(f"first deploy: {first.detail} ({first.seconds:.1f} s)", flush=True)
        if not first.good:
            return 1
        before: Counter[str] = Counter()
        for number in range(1, arguments.n + 1):
            now = (board.root / "opt/vigild/current").readlink().name
            other = next(release for release in releases if release.release_name() != now)
            if chance.random() < 0.5:
                # Else the second time nothing would have to be sent and installed.
                board.run(f"rm -rf /opt/vigild/releases/{other.release_name()} /opt/vigild/store/*")
            outcomes: list[Outcome | CrossError] = []

            def work(bundle: Bundle = other, outcomes: list[Outcome | CrossError] = outcomes) -> None:
                try:
                    outcomes.append(deploy.deploy(bundle, job, lambda text: None))
                except CrossError as error:
                    outcomes.append(error)

            thread = threading.Thread(target=work)
            thread.start()
            delay_s = chance.uniform(0.3, LONGEST_S)
            time.sleep(delay_s)
            phase = str(journal(board)["phase"])
            board.kill()
            board.start()
            began = time.monotonic()
            board.wait_for(lambda: settled(board), "the board has decided, and its service runs", SETTLED_S)
            thread.join()  # whoever deployed waits for the board, and hears what became of it
            fault = wrong(board, known)
            after = (board.root / "opt/vigild/current").readlink().name
            became = "the new one runs" if after != now else "the old one runs"
            before[f"{phase}: {became}"] += 1
            print(
                f"{number}: cut after {delay_s:4.1f} s ({phase}): {fault or became}, "
                f"{time.monotonic() - began:.0f} s after the start",
                flush=True,
            )
            if fault:
                return 1
    told = ", ".join(f"{count} x {what}" for what, count in sorted(before.items()))
    print(f"{arguments.n} cuts, one whole release each time ({told})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
