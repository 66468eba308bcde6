"""Which runtime the next detector is started on."""

from __future__ import annotations

import pytest

from vigild.delegates.runtime_choice import RuntimeChoice
from vigild.ipc.progress import RUNTIME_STAGES, Stage


@pytest.mark.parametrize(("deadly", "other"), [("litert", "tflite-runtime"), ("tflite-runtime", "litert")])
def test_the_other_one_is_taken(deadly: str, other: str) -> None:
    choice = RuntimeChoice()
    assert choice.name == "auto"
    assert choice.died(RUNTIME_STAGES[deadly], "killed") == other
    assert choice.name == other


@pytest.mark.parametrize("stage", [Stage.LOAD, Stage.FIRST_INVOKE, Stage.INVOKE, Stage.START])
def test_a_death_elsewhere_says_nothing_of_the_runtime(stage: Stage) -> None:
    choice = RuntimeChoice()
    assert choice.died(stage, "killed") == ""
    assert choice.name == "auto"


def test_when_the_other_is_not_there_the_first_gets_its_next_turn() -> None:
    choice = RuntimeChoice()
    choice.died(Stage.LITERT, "killed by SIGSEGV")
    assert choice.refused() == "killed by SIGSEGV"
    assert choice.name == "auto"
    assert choice.refused() == ""


def test_when_both_are_deadly_neither_is_preferred() -> None:
    choice = RuntimeChoice()
    choice.died(Stage.LITERT, "killed by SIGSEGV")
    assert choice.died(Stage.TFLITE_RUNTIME, "killed by SIGSEGV") == ""
    assert choice.name == "auto"
    assert choice.died(Stage.LITERT, "killed by SIGSEGV") == "tflite-runtime"
