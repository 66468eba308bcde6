"""`python -m vigild.selftest.tasks PARENT cards ARGUMENT`: the embedded model over test cards, in a process apart."""

from __future__ import annotations

import time

import msgspec

from vigild.config.schema import ModelConfig
from vigild.geometry import Box
from vigild.ipc.messages import RawDetection
from vigild.sandbox.child import Answer, Step, Task, main

LEAST_SCORE = 0.3
"""Below the daemon's own threshold: an object that one kernel gives 0.49 and another 0.51 is the same object."""

CARD_WIDTH_PX, CARD_HEIGHT_PX, CARD_SEED = 640, 480, 0
"""The card that `source = "testcard"` shows when nothing else is said."""

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


class CardsTask(msgspec.Struct, kw_only=True):
    """What `cards` is given."""

    config: ModelConfig
    runtime: str
    delegate: str
    numbers: list[int]
    """Of the cards, as frames of the source are numbered."""


class Card(msgspec.Struct, array_like=True):
    """One of them: what is drawn on it, and what was detected."""

    drawn: list[tuple[str, Box]]
    seen: list[RawDetection]
    invoke_ms: float


class Cards(msgspec.Struct):
    """The answer of `cards`."""

    variant: str
    dtype: str
    """Of the input tensor."""
    runtime: str
    version: str
    delegate: str
    """What really executes the graph."""
    taken: int
    nodes: int
    cards: list[Card]


def cards(argument: bytes, step: Step) -> Answer:
    """Load the model as the detector worker does, and show it the cards. Argument: `CardsTask`; answers `Cards`."""
    task = msgspec.json.decode(argument, type=CardsTask)
    step("while importing NumPy")
    import numpy as np

    step("while importing OpenCV")
    from vigild.camera.convert import Converter
    from vigild.camera.orientation import Orientation
    from vigild.camera.testcard import TestCard
    from vigild.detector.errors import ModelError
    from vigild.detector.model import load
    from vigild.detector.selection import Selection
    from vigild.ipc.progress import STAGE_TEXT, Stage

    try:
        model = load(task.config, task.delegate, task.runtime, lambda stage: step(STAGE_TEXT[stage]))
    except ModelError as refused:
        return {"code": refused.code, "refused": refused.message}
    spec, ready = model.spec, model.ready
    selection = Selection(model.labels, LEAST_SCORE, 1000)
    source, converter = TestCard(CARD_WIDTH_PX, CARD_HEIGHT_PX, CARD_SEED), Converter(spec)
    tensor = bytearray(spec.nbytes)
    values = np.frombuffer(tensor, spec.dtype).reshape(spec.shape)
    shown = []
    step(STAGE_TEXT[Stage.INVOKE])
    for number in task.numbers:
        picture, truths = source.render(number)
        view = converter.convert(picture, Orientation(), WHOLE, memoryview(tensor))
        np.copyto(model.input_view(), values)
        begun_ns = time.monotonic_ns()
        try:
            model.interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            return {"code": "invoke", "refused": f"It fails on card {number}: {' '.join(str(error).split())}."}
        took_ns = time.monotonic_ns() - begun_ns
        seen, _ = model.decode(view, selection)
        shown.append(Card([(truth.label, truth.box) for truth in truths], seen, took_ns / 1e6))
    answer: Answer = msgspec.to_builtins(
        Cards(
            variant=ready.variant,
            dtype=spec.dtype,
            runtime=ready.runtime,
            version=ready.runtime_version,
            delegate=ready.delegate,
            taken=ready.delegate_nodes,
            nodes=ready.total_nodes,
            cards=shown,
        )
    )
    return answer


TASKS: dict[str, Task] = {"cards": cards}


if __name__ == "__main__":
    main(TASKS)
