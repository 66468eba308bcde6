"""What a self-test tries, where a whole command would take too long: a delegate that hangs."""

from __future__ import annotations

from pathlib import Path

import pytest

from delegates.kit import library
from vigild.config.schema import ModelConfig
from vigild.selftest import conduct
from vigild.selftest.conduct import Selftests


@pytest.fixture(scope="module")
def delegate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return library(tmp_path_factory)


def test_a_delegate_that_hangs_is_killed(delegate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conduct, "LIMIT_S", 10.0)
    monkeypatch.setattr(conduct, "CARD_LIMIT_S", 0.0)
    config = ModelConfig(delegate=str(delegate), delegate_options={"behave": "hangs@3"})
    (outcome,) = Selftests(config).configured()
    assert (outcome.state, outcome.reason) == ("failed", "it hung for 10 s in invoke(), and was killed")


def test_plain_kernels_are_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    run = conduct.run

    def counting(module: str, task: str, argument: conduct.CardsTask, limit_s: float) -> conduct.TaskResult:
        asked.append(argument.delegate)
        return run(module, task, argument, limit_s)

    monkeypatch.setattr(conduct, "run", counting)
    monkeypatch.setattr(conduct, "CARDS", (0,))
    tests = Selftests(ModelConfig(variant="auto"))
    outcomes = [*tests.every(), *tests.every()]
    tried = sum(outcome.state == "right" for outcome in outcomes)
    plain = {(outcome.runtime, outcome.variant) for outcome in outcomes if outcome.state == "right"}
    assert asked.count("none") == len(plain)
    assert asked.count("xnnpack") == tried / 2
