"""What must add up at the end of a run.

ledger = Ledger(rig)
ledger.note(fault, said, began_s, took_s)      # for each
ledger.close()                                 # stops the daemon
ledger.wrong                                   # what is left unexplained
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections import defaultdict
from typing import Any

from harness import holdings

from chaos.faults import Fault
from chaos.rig import CAMERAS, EVERY, LIVE, Rig

COUNTED_S = 1.5
"""A camera worker says its counters once a second: what it dropped since then dies with it."""

SLOTS = 4
"""Frames that are in rings, in a detector or on their way when a worker dies, of one camera."""

AFTERMATH_S = 15.0
"""So long after it is over a fault may still be the reason of a death: a call that fails late, a hang that is seen."""

SETTLE_S = 20.0


class Ledger:
    """The books of one run."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.wrong: list[str] = []
        self.took: dict[str, list[float]] = defaultdict(list)
        self._spans: list[tuple[float, float, Fault, str]] = []
        self._before = holdings(rig.daemon.pid)
        self._first = {camera: (rig.crowd.told[camera] or [0])[-1] for camera in CAMERAS}
        self._told_before = {camera: len(rig.crowd.told[camera]) for camera in CAMERAS}
        self._drops_before = self._drops()

    def note(self, fault: Fault, said: str, began_s: float, took_s: float | None) -> None:
        """A fault that is over; `took_s`: to the next detection of every camera, None: there was none."""
        self._spans.append((began_s, time.monotonic(), fault, said))
        if took_s is None:
            self.wrong.append(f"{said}: not all cameras were seen again")
        else:
            self.took[fault.name].append(took_s)

    def close(self) -> None:
        """The end: everything at rest, then the daemon stops."""
        rig = self.rig
        rig.crowd.pump(5)
        self._deaths()
        self._frames()
        end_s = time.monotonic() + SETTLE_S
        while (now := holdings(rig.daemon.pid)) != self._before and time.monotonic() < end_s:
            rig.crowd.pump(0.5)
        if now != self._before:
            self.wrong.append(f"the hub holds {now}, and before it held {self._before}")
        self.wrong += rig.crowd.wrong
        status = rig.daemon.stop()
        if status != 0:
            self.wrong.append(f"the daemon ended with status {status}")
        if left := rig.daemon.processes():
            self.wrong.append(f"left behind: {left}")
        logged = rig.daemon.logged()
        if "Traceback" in logged or "fault of the daemon's own" in logged:
            where = logged.index("Traceback" if "Traceback" in logged else "fault of the daemon's own")
            self.wrong.append(f"the log has a fault of the daemon's own:\n{logged[max(0, where - 500) : where + 2500]}")

    # ---- events

    def _deaths(self) -> None:
        """Each death has a fault that may have caused it."""
        for at_s, event in self.rig.crowd.events:
            if event["kind"] != "worker_died":
                continue
            worker = "camera" if event.get("camera") else "detector"
            causes = [said for began, ended, fault, said in self._spans if self._may(at_s, worker, began, ended, fault)]
            if not causes:
                self.wrong.append(f"a death that nobody caused: {event['reason']}")

    def _may(self, at_s: float, worker: str, began_s: float, ended_s: float, fault: Fault) -> bool:
        return worker in fault.kills and began_s <= at_s <= ended_s + AFTERMATH_S

    # ---- frames

    def _drops(self) -> dict[str, dict[str, int]]:
        cameras: dict[str, dict[str, Any]] = self.rig.ask(type="status")["health"]["cameras"]
        return {name: camera.get("drops", {}) for name, camera in cameras.items()}

    def _frames(self) -> None:
        """Of each camera: every number was told, counted as dropped, or lost with a worker that died."""
        drops = self._drops()
        deaths = [event for _, event in self.rig.crowd.events if event["kind"] == "worker_died"]
        of_detector = sum(1 for event in deaths if not event.get("camera"))
        client = self.rig.crowd.members[0] if self.rig.crowd.members else None
        for camera in CAMERAS:
            told = self.rig.crowd.told[camera][self._told_before[camera] :]
            if not told:
                self.wrong.append(f"{camera}: not one frame was told")
                continue
            missing = told[-1] - self._first[camera] - len(told)
            dropped = sum(drops[camera].values()) - sum(self._drops_before[camera].values())
            if camera == EVERY:
                self._every(told, missing, drops[camera].get("bad_frame", 0))
                continue
            of_camera = sum(1 for event in deaths if event.get("camera") == camera)
            allowed = SLOTS * (of_camera + of_detector) + LIVE[camera] * COUNTED_S * of_camera
            kept_back = client.dropped if client is not None else 0
            unexplained = missing - dropped - kept_back - allowed
            lost = max(0, missing - dropped)
            numbered = told[-1] - self._first[camera]
            print(
                f"  {camera}: {numbered} frames, {len(told)} told, {dropped} dropped and counted, "
                f"{lost} lost with {of_camera + of_detector} workers (at most {allowed:.0f} may be)"
            )
            if unexplained > 0:
                self.wrong.append(f"{camera}: {unexplained:.0f} frames are missing and nobody counted them")

    def _every(self, told: list[int], missing: int, unreadable: int) -> None:
        """Nothing of it may be lost but pictures that were not there when their turn came."""
        client = self.rig.crowd.members[0] if self.rig.crowd.members else None
        kept_back = client.dropped if client is not None else 0
        print(
            f"  {EVERY}: {len(told)} frames told, {missing} missing: {unreadable} could not be read, up to {kept_back} "
            "dropped because the client read too slowly"
        )
        if missing > unreadable + kept_back:
            gaps = [(a, b) for a, b in itertools.pairwise(told) if b != a + 1]
            self.wrong.append(f"{EVERY}: {missing - unreadable} frames are missing; gaps: {gaps[:10]}")

    # ---- in words

    def text(self) -> str:
        """The times, by kind of fault."""
        lines = []
        for name, times in sorted(self.took.items()):
            lines.append(
                f"  {name:24} {len(times):4} times; all cameras seen again after {statistics.median(times):.2f} s "
                f"(median), {max(times):.2f} s at most"
            )
        return "\n".join(lines)
