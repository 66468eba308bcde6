"""What was learned of the board, kept in the state folder from one run to the next.

    learned = Learned(Path("/"))
    model = learned.load()                      # None: nothing, or of another board
    learned.save(model)
    learned.replace(model)                      # the same for a command: raises OSError

Written by the daemon while it runs and by `vigild tune --sustained`, read by `vigild sensors --model`. A file that
cannot be read or written costs the daemon what was learned, nothing else: that is said once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from vigild import log
from vigild.budget.thermal_model import ThermalModel
from vigild.catalogue import profile, store
from vigild.decoding import decoded

FILE = "thermal.json"
MAX_BYTES = 256 * 1024

_log = log.logger("budget")


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The file."""

    board: profile.Board
    model: ThermalModel


class Learned:
    """The file of one board."""

    def __init__(self, root: Path, environ: Mapping[str, str] = os.environ) -> None:
        """`root`: what /sys and /proc are below."""
        self._board = profile.this_board(root)
        self.path = store.own_folder(environ).parent / FILE
        self._told = False

    def load(self) -> ThermalModel | None:
        try:
            with self.path.open("rb") as file:
                data = file.read(MAX_BYTES)
            kept = decoded(msgspec.json.Decoder(Kept).decode, data)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            self._tell(f"{self.path}, what was learned of this board, cannot be read: {error}")
            return None
        return kept.model if kept.board == self._board else None

    def save(self, model: ThermalModel) -> None:
        """As `replace`; what goes wrong is said once."""
        try:
            self.replace(model)
        except msgspec.MsgspecError as error:
            self._tell(f"what was learned of this board is no longer sound, and is not kept: {error}")
        except OSError as error:
            self._tell(f"what was learned of this board cannot be kept: {self.path}: {error.strerror or error}")

    def replace(self, model: ThermalModel) -> None:
        """Beside it first, then renamed: whoever reads it finds the old one or the new one. Not forced onto the disk
        (`files.write_whole` does that), for which an SD card would keep the hub waiting: it can be learned again.

        Raises OSError, and msgspec's errors for a model with a number that is none.
        """
        beside = self.path.with_suffix(".new")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        data = msgspec.json.encode(Kept(board=self._board, model=model))
        # A number that is none would be written as null, and refused at the next start.
        decoded(msgspec.json.Decoder(Kept).decode, data)
        beside.write_bytes(data)
        beside.replace(self.path)

    @property
    def writable(self) -> bool:
        """Whether this user may write it, as far as can be seen without doing so."""
        return store.writable(self.path.parent)

    def _tell(self, text: str) -> None:
        if not self._told:
            self._told = True
            _log.warning("%s", text)
