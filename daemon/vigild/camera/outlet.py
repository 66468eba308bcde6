"""The camera's end of a link to one detector: its tensor spec, its slots, and the frames on the way.

outlet = Outlet(number, spec, RingWriter(...), slots=2)
if outlet.wants(now_ns, period_ns):
    outlet.send(frame, orientation, crop)
for frame in outlet.credits(): ...
"""

from __future__ import annotations

import time

from vigild.camera import jpeg
from vigild.camera.convert import Converter
from vigild.camera.frames import Frame
from vigild.camera.orientation import Orientation
from vigild.geometry import Box, crop_pixels, letterbox
from vigild.ipc.ring import FilledSlot, RingWriter
from vigild.tensor import TensorSpec

_SMOOTHING = 0.125
"""Weight of the newest preparation time in the average; the scheduler's choice of frame hangs on it."""


class Outlet:
    """Used by its camera's thread alone. `RingClosed` from any method means: close it."""

    def __init__(self, number: int, spec: TensorSpec, ring: RingWriter, slots: int, group: int = 0) -> None:
        self.number = number
        """The link's, by which the hub calls both of its ends."""
        self.group = group
        """Outlets of one group share the camera's frames: each frame goes into one of them."""
        self.ring = ring
        self.slots = slots
        self.outstanding: dict[int, Frame] = {}
        self.position = 0
        """Number of the newest frame sent."""
        self._converter = Converter(spec)
        self._prepare_ns = 0.0
        self._reduce_for: tuple[int, int] = (0, 0)
        self._reduce = 1

    def free(self) -> bool:
        """Whether a slot is this side's to fill."""
        return self.ring.free_slot() is not None

    def wants(self, now_ns: int, period_ns: float) -> bool:
        """Whether the frame grabbed now is the one to prepare, if frames come every `period_ns`.

        The detector said when it will be ready. If the next frame, too, can be prepared by then,
        this one would be older for no gain, and preparing both would cost twice.
        """
        if not self.free():
            return False
        ready_ns = self.ring.ready_ns
        if self.outstanding:
            # The frame for that moment is there; a newer one only pays once the detector is late.
            return now_ns > ready_ns + period_ns
        # An eighth of a period is left for the jitter of the next grab.
        return now_ns + period_ns * 1.125 + self._prepare_ns > ready_ns

    def load(self) -> tuple[int, int]:
        """How busy its detector is, for comparing: frames on the way, and when it expects to want the next (ns)."""
        return len(self.outstanding), self.ring.ready_ns

    def send(self, frame: Frame, orientation: Orientation, crop: Box, after: int = 0) -> None:
        """Decode as far as this model needs, convert into a free slot, send. Raises RingClosed, BadFrame."""
        slot = self.ring.free_slot()
        assert slot is not None
        picture = frame.picture
        start_ns = time.monotonic_ns()
        pixels = picture.decode(self._reduction(frame, crop) if picture.data is not None else 1)
        decoded_ns = time.monotonic_ns()
        upright = picture.orientation.then(orientation)
        view = self._converter.convert(pixels, upright, crop, self.ring.slot(slot))
        sent_ns = time.monotonic_ns()
        self.ring.send(
            FilledSlot(
                slot=slot,
                frame=frame.number,
                captured_ns=frame.captured_ns,
                wall_ns=frame.wall_ns,
                decode_ns=frame.decode_ns + decoded_ns - start_ns,
                convert_ns=sent_ns - decoded_ns,
                sent_ns=sent_ns,
                width=frame.width,
                height=frame.height,
                view=view,
                file=picture.file,
                after=after,
            )
        )
        self.position = frame.number
        self.outstanding[frame.number] = frame
        frame.waiting += 1
        prepare_ns = frame.decode_ns + sent_ns - start_ns
        self._prepare_ns += (prepare_ns - self._prepare_ns) * (_SMOOTHING if self._prepare_ns else 1.0)

    def credits(self) -> list[Frame]:
        """Frames that came back acknowledged. Raises RingClosed."""
        frames: list[Frame] = []
        for credit in self.ring.credits():
            frame = self.outstanding.pop(credit.frame, None)
            if frame is not None:
                frame.waiting -= 1
                frame.acknowledged = True
                frames.append(frame)
        return frames

    def close(self) -> list[Frame]:
        """Close the ring; returns the frames that were on the way."""
        self.ring.close()
        lost = list(self.outstanding.values())
        self.outstanding.clear()
        for frame in lost:
            frame.waiting -= 1
        return lost

    def _reduction(self, frame: Frame, crop: Box) -> int:
        if self._reduce_for != (frame.width, frame.height):
            self._reduce_for = (frame.width, frame.height)
            x0, y0, x1, y1 = crop_pixels(crop, frame.width, frame.height)
            spec = self._converter.spec
            need = (spec.width, spec.height)
            if spec.resize == "letterbox":
                place = letterbox(x1 - x0, y1 - y0, spec.width, spec.height)
                need = (place.width, place.height)
            self._reduce = jpeg.reduction(x1 - x0, y1 - y0, *need)
        return self._reduce
