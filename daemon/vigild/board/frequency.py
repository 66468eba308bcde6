"""How fast the processor runs, of how fast it can (cpufreq).

    Frequencies(Path("/")).read()       # Frequency(now_hz=1_500_000_000, max_hz=1_800_000_000, measured=False)

Source: Documentation/admin-guide/pm/cpufreq.rst. `scaling_cur_freq` is on most Arm boards what the kernel asked for; a
Raspberry Pi's firmware runs slower without telling it, so its flags are to be believed before this.
"""

from __future__ import annotations

from pathlib import Path

from vigild.board.readings import Frequency
from vigild.board.tree import File, Folder, folders, kilo


class Policy(Folder):
    """Cores that change their frequency together."""

    now_hz = File("scaling_cur_freq", kilo, kept=True)
    max_hz = File("cpuinfo_max_freq", kilo)


class Frequencies:
    """The fastest cores of the board: found once, read often."""

    def __init__(self, root: Path) -> None:
        policies = [Policy(path) for path in folders(root / "sys/devices/system/cpu/cpufreq", "policy")]
        fastest = max(policies, key=lambda policy: policy.max_hz or 0, default=None)
        self._policy = fastest
        self._max_hz = (fastest.max_hz if fastest else None) or 0

    def read(self, counted_hz: int | None = None) -> Frequency | None:
        """None: the kernel cannot change it, or does not tell. `counted_hz`: what the firmware counted, if it did."""
        if self._policy is None or self._max_hz <= 0:
            return None
        now_hz = counted_hz or self._policy.now_hz
        if not now_hz or now_hz <= 0:
            return None
        return Frequency(now_hz=now_hz, max_hz=self._max_hz, measured=counted_hz is not None)
