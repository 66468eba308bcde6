"""`python -m bench [ROW ...]`: measure, print the table and all samples, write JSON.

Exit status: 0; 1 when a figure that could be judged was missed, or a row failed; 2 when something needed is not there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from pathlib import Path

from bench import clips, machine
from bench.figures import QUIET_CORES, Figure
from bench.rows import ROWS
from bench.run import FULL, QUICK, say, table


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="bench", description="The daemon's speed, as ratios to the raw interpreter.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"default: all of {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="a few short windows, not judged: to see that it works")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write everything, every sample included, to FILE")
    parser.add_argument(
        "--wait", metavar="SECONDS", type=float, default=30.0,
        help="before each row, wait so long at most for others to leave the machine alone (default: 30)",
    )  # fmt: skip
    args = parser.parse_args()
    if unknown := [row for row in args.rows if row not in ROWS]:
        parser.error(f"there is no row {unknown[0]!r}; known are: {', '.join(ROWS)}")
    plan = QUICK if args.quick else FULL
    facts = machine.facts()
    started = time.strftime("%Y-%m-%d %H:%M:%S %z")
    say(f"{started}\n" + "\n".join(f"{name:9} {value}" for name, value in facts.items()))
    say(f"foreign load with nothing running: {machine.idle_load().foreign:.2f} cores\n")

    figures: list[Figure] = []
    failed: list[str] = []
    for name in args.rows or ROWS:
        machine.wait_until_quiet(QUIET_CORES, 0.0 if args.quick else args.wait)
        try:
            figures += ROWS[name](plan)
        except clips.Missing as missing:
            print(f"bench: {missing}", file=sys.stderr)
            return 2
        except (OSError, RuntimeError, ValueError, AssertionError) as error:
            # The other rows are worth having all the same.
            traceback.print_exc()
            failed.append(f"{name}: {type(error).__name__}: {error}".splitlines()[0])
    judge = not args.quick
    if args.json:
        report = {
            "started": started,
            "machine": facts,
            "quick": args.quick,
            "quiet_below_cores": QUIET_CORES,
            "failed": failed,
            "figures": [figure.as_json(judge) for figure in figures],
        }
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    say("\nSamples (* : others used the machine, or another reason; these do not count)")
    for figure in figures:
        if all(len(sample.values) == 1 for sample in figure.samples):
            shown = " ".join(f"{s.values[0]:.{figure.digits}f}{'' if s.quiet else '*'}" for s in figure.samples)
            say(f"  {figure.name}: {shown}")
    say("\n" + table(figures, judge))
    say(f"\nWindows with more than {QUIET_CORES:g} cores of foreign load do not count.")
    for line in failed:
        say(f"The row could not be measured: {line}")
    return int(bool(failed) or any(figure.verdict(judge)[0] == "missed" for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
