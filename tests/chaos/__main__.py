"""`python -m chaos --minutes 30 --seed 7`: random faults; exit status 1 when something is left unexplained."""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from pathlib import Path

from chaos.faults import FAULTS
from chaos.ledger import Ledger
from chaos.rig import CAMERAS, Rig

CLIENTS = 12
GIVE_UP_S = 60.0
"""A camera that is not seen again so long after a fault is over is lost: no back-off of the daemon's is as long."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description="Random faults, and a ledger of every frame and client.")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1, help="the same faults in the same order")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where the log goes when something is wrong")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vigild-chaos-") as folder:
        rig = Rig(Path(folder), CLIENTS)
        with rig.daemon:
            ledger = _run(rig, args.minutes, args.seed)
            rig.crowd.close()
        if ledger.wrong and args.keep is not None:
            args.keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(rig.daemon.log, args.keep / f"chaos-{args.seed}.log")
    print(ledger.text())
    for text in ledger.wrong:
        print(f"UNEXPLAINED: {text}")
    print(f"seed {args.seed}: {len(ledger.wrong)} things unexplained")
    return 1 if ledger.wrong else 0


def _run(rig: Rig, minutes: float, seed: int) -> Ledger:
    chance = random.Random(seed)
    ledger = Ledger(rig)
    began_s = time.monotonic()
    faults = 0
    while time.monotonic() - began_s < 60 * minutes and rig.crowd.members:
        rig.crowd.pump(chance.uniform(0.1, 1.5))
        (fault,) = chance.choices(FAULTS, [fault.weight for fault in FAULTS])
        fault_s = time.monotonic()
        try:
            with fault.begin(rig, chance) as said:
                if fault.stops_hub:
                    rig.crowd.excused_until_s = time.monotonic() + 5.0
        except (OSError, RuntimeError, AssertionError) as error:
            # What was asked of the daemon in the course of it failed: that is a finding, and the run goes on.
            ledger.wrong.append(f"{fault.name}: {error!r}"[:1000])
            continue
        over_s = time.monotonic()
        back = rig.all_deliver(GIVE_UP_S)
        ledger.note(fault, said, fault_s, time.monotonic() - over_s if back else None)
        faults += 1
        print(f"{time.monotonic() - began_s:7.1f} s  {said}; back after {time.monotonic() - over_s:.2f} s", flush=True)
    print(
        f"{faults} faults in {(time.monotonic() - began_s) / 60:.1f} minutes; {rig.crowd.lines} lines to "
        f"{len(rig.crowd.members)} of {CLIENTS} clients, all of {', '.join(CAMERAS)}"
    )
    ledger.close()
    return ledger


if __name__ == "__main__":
    raise SystemExit(main())
