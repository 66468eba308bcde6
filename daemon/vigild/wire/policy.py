"""What one client wants to see, and the part of a `detections` line that clients share.

    policy = make_policy(Watch(labels=["person"]), cameras=["front"], labels=["person", "cat"])
    tail = detections_tail(message, policy.selection)      # once per distinct selection
    line = detections_line(tail, seq=12, dropped=0)     # per client: three small pieces joined

`type`, `seq` and `dropped` stand in front, so that all the rest is encoded once however many
clients watch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from vigild.decoding import encoded
from vigild.wire.messages import Detections, Topic, Watching
from vigild.wire.requests import Watch, unknown

TOPICS: tuple[Topic, ...] = ("detections", "health", "event")

_NUMBERED = re.compile(r"class_(0|[1-9][0-9]{0,5})")
"""How a class without a label is called."""

_PREFIX = b'{"type":"detections",'
_encoder = msgspec.json.Encoder()


class Selection(NamedTuple):
    """The part of a policy that decides what a `detections` line says: clients with equal selections
    share one encoding."""

    labels: frozenset[str] | None = None
    min_score: float = 0.0
    empty: bool = False


class Policy(NamedTuple):
    """A client's wishes. None does not limit."""

    cameras: frozenset[str] | None = None
    topics: frozenset[Topic] = frozenset(TOPICS)
    max_fps: float | None = None
    selection: Selection = Selection()

    def answer(self, watch: Watch) -> Watching:
        """What `watch` is answered with: the policy in force."""
        labels, min_score, empty = self.selection
        return Watching(
            id=None if watch.id is UNSET else watch.id,
            events=[topic for topic in TOPICS if topic in self.topics],
            empty=empty,
            cameras=None if self.cameras is None else sorted(self.cameras),
            labels=None if labels is None else sorted(labels),
            min_score=min_score or None,
            max_fps=self.max_fps,
        )

    def wants_camera(self, camera: str) -> bool:
        return self.cameras is None or camera in self.cameras


def make_policy(watch: Watch, cameras: Sequence[str], labels: Sequence[str] | None) -> Policy:
    """Check a `watch` against the cameras and labels there are; `labels` is None while no model is
    loaded, and then any label is taken.

    Raises RequestError that names the known ones.
    """
    id = None if watch.id is UNSET else watch.id
    if watch.cameras is not UNSET:
        for camera in watch.cameras:
            if camera not in cameras:
                raise unknown("unknown_camera", "camera", camera, list(cameras), id)
    if watch.labels is not UNSET and labels is not None:
        known = frozenset(labels)
        for label in watch.labels:
            if label not in known and _NUMBERED.fullmatch(label) is None:
                listed = list(dict.fromkeys(labels)) or ["class_0, class_1, ... (the model has no labels)"]
                raise unknown("unknown_label", "label", label, listed, id)
    return Policy(
        cameras=None if watch.cameras is UNSET else frozenset(watch.cameras),
        topics=frozenset(TOPICS if watch.events is UNSET else watch.events),
        max_fps=None if watch.max_fps is UNSET else watch.max_fps,
        selection=Selection(
            labels=None if watch.labels is UNSET else frozenset(watch.labels),
            min_score=0.0 if watch.min_score is UNSET else watch.min_score,
            empty=watch.empty,
        ),
    )


def detections_tail(message: Detections, selection: Selection) -> bytes | None:
    """The line behind `dropped`, newline included, for all clients with this selection; None when it is
    not to be sent to them: nothing of interest is seen, and they did not ask for empty results."""
    found = message.detections
    labels, min_score, empty = selection
    if labels is not None or min_score > 0.0:
        found = [d for d in found if d.score >= min_score and (labels is None or d.label in labels)]
        if len(found) != len(message.detections):
            message = msgspec.structs.replace(message, detections=found)
    if not found and not empty:
        return None
    if message.seq or message.dropped:
        message = msgspec.structs.replace(message, seq=0, dropped=0)
    return encoded(_encoder.encode, message)[len(_PREFIX) :] + b"\n"


def detections_line(tail: bytes, seq: int, dropped: int) -> bytes:
    """A whole line for one client."""
    return b'{"type":"detections","seq":%d,"dropped":%d,%b' % (seq, dropped, tail)


class FrameRate:
    """Holds one client's `detections` of one camera to `max_fps`.

    The generic cell rate algorithm (ITU-T I.371) with a tolerance of half an interval: a source of
    just this rate passes whole in spite of jitter, and the mean never exceeds the rate.
    """

    def __init__(self, max_fps: float) -> None:
        self._interval_s = 1.0 / max_fps
        self._tolerance_s = self._interval_s / 2
        self._due_s = 0.0

    def admits(self, now_s: float) -> bool:
        """Whether a message may go at `now_s` (monotonic); if so it is counted."""
        if now_s < self._due_s - self._tolerance_s:
            return False
        self._due_s = max(now_s, self._due_s) + self._interval_s
        return True
