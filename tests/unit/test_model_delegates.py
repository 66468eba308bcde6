"""External delegates in the detector, through each runtime's real delegate interface."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from delegates import kit
from unit import modelkit
from unit.detectorkit import RUNTIME, Worker, detect, load_model
from vigild.config.schema import ModelConfig
from vigild.detector.errors import ModelError
from vigild.detector.model import load

GREEN_TOP_LEFT = modelkit.image([(0, 255, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0)])


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(kit.library(tmp_path_factory))


def test_it_executes_its_nodes_and_only_they_are_counted(tmp_path: Path, library: str) -> None:
    model = load_model(modelkit.quadrants(tmp_path), library)
    assert (model.ready.delegate, model.ready.delegate_nodes, model.ready.total_nodes) == (library, 1, 4)
    (found,) = detect(model, GREEN_TOP_LEFT)
    assert (found.class_, found.score) == (0, pytest.approx(1, abs=0.01))
    assert found.box == pytest.approx((0, 0, 0.5, 0.5))


def test_a_compiled_model_runs_nowhere_else(tmp_path: Path, library: str) -> None:
    path = kit.twin(tmp_path, edgetpu=True)
    model = load_model(path, library)
    assert (model.ready.delegate_nodes, model.ready.total_nodes) == (1, 4)
    picture = np.kron(GREEN_TOP_LEFT.reshape(modelkit.SIDE, modelkit.SIDE, 3), np.ones((2, 2, 1), np.uint8))
    assert detect(model, picture)[0].class_ == 0
    for delegate in ("xnnpack", "none"):
        with pytest.raises(ModelError, match="runs nowhere else"):
            load_model(path, delegate)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("none", r"did not start; check delegate_options"),
        ("refuses", r"did not start: the tests do not want it to start; check"),
        ("idle", r"took none of the model's 4 nodes"),
        ("fails@1", r"failed to run the model: .*fails in invoke 1"),
    ],
)
@pytest.mark.parametrize("demanded", [True, False])
def test_refusals(tmp_path: Path, library: str, word: str, said: str, demanded: bool) -> None:
    config = ModelConfig(
        path=str(modelkit.quadrants(tmp_path)),
        delegate=library if demanded else "auto",
        delegate_options={"behave": word},
    )
    with pytest.raises(ModelError, match=said) as refused:
        load(config, library, RUNTIME)
    assert refused.value.code == "delegate"


def test_a_compiled_model_that_the_delegate_does_not_take(tmp_path: Path, library: str) -> None:
    with pytest.raises(ModelError, match=r"not even what is compiled for the Edge TPU") as refused:
        load_model(kit.twin(tmp_path, edgetpu=True), library, delegate_options={"behave": "idle"})
    assert refused.value.code == "delegate"


@pytest.mark.parametrize("delegate", ["edgetpu", "edgetpu:usb:1"])
def test_as_libedgetpu(tmp_path: Path, library: str, delegate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose loader finds the library under libedgetpu's name."""
    shutil.copy(library, tmp_path / "libedgetpu.so.1")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    path = kit.twin(tmp_path, edgetpu=True)
    config = ModelConfig(path=str(path), delegate=delegate)
    with Worker() as worker:
        ready = worker.ready(config, delegate)
        assert (ready.delegate, ready.delegate_nodes) == ("edgetpu", 1)
        assert worker.stop() == 0
    behaviour = tmp_path / "behaviour"
    behaviour.write_text("none")
    monkeypatch.setenv("DELEGATE_BEHAVIOUR", str(behaviour))
    with Worker() as worker:
        refused = worker.load(config, delegate, RUNTIME)
        index = delegate.partition(":")[2] or ":0"
        assert refused.code == "delegate"
        assert refused.message == (
            f"No usable Edge TPU ({index}): libedgetpu.so.1 works, but found no device that it may open."
        )
