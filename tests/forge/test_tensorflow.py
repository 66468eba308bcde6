"""Three ways in: one trained network through PyTorch's and TensorFlow's converter says the same.

The TensorFlow part runs in the environment of `make forge-setup-tf`, and is left out where that is not.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from forge.errors import ForgeError
from forge.evaluation.subject import Subject
from forge.model.network import open_network
from forge.routes.pytorch import load_module
from forge.tflite import flatbuffer
from forge.training.export import to_float32
from forge.training.net import NetConfig
from forge.training.scenes import render_scene
from forge.training.train import TrainConfig, load_detector, train
from forge.weights import load_weights
from vigild.camera.testcard import LABELS

REPOSITORY = Path(__file__).resolve().parents[2]
TENSORFLOW = Path(os.environ.get("FORGE_TF_VENV", REPOSITORY / ".venv-forge-tf")) / "bin" / "python"
SMALL = TrainConfig(
    net=NetConfig(labels=LABELS, size=96, width=0.35, pyramid_channels=16, levels=3, late_expansion=8, tower_depth=2),
    steps=60,
    batch=8,
    average=0.9,
)
SETTINGS = {
    "float32": "float32",
    "float16": "float32",
    "dynamic-all": "float32",
    "int8": "int8",
    "int8-tensor": "int8",
    "int16x8-float": "float32",
    "uint8": "uint8",
}
"""What each setting takes."""

needs_tensorflow = pytest.mark.skipif(
    not TENSORFLOW.exists(), reason=f"TensorFlow's environment {TENSORFLOW.parents[1]} is not here: make forge-setup-tf"
)


def run(python: Path | str, *arguments: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY / 'models'}:{REPOSITORY / 'daemon'}"}
    return subprocess.run(
        [str(python), "-m", "forge", *map(str, arguments)],
        capture_output=True, text=True, env=environment, check=False, cwd=folder,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a short run's checkpoint.pt, its weights net.npz, and pictures/ of scenes."""
    folder = tmp_path_factory.mktemp("trained")
    train(SMALL, render_scene, folder)
    done = run(sys.executable, "weights", folder / "checkpoint.pt", "--out", folder / "net.npz")
    assert done.returncode == 0, done.stderr
    (folder / "pictures").mkdir()
    rng = np.random.default_rng(3)
    for number in range(12):
        cv2.imwrite(str(folder / "pictures" / f"{number:02}.png"), render_scene(rng, 96).image[..., ::-1])
    return folder


@pytest.fixture(scope="module")
def made(trained: Path) -> Path:
    """What `forge tensorflow` makes of it."""
    done = run(
        TENSORFLOW, "tensorflow", trained / "net.npz", "--out", trained / "tf", "--name", "small",
        "--calibrate", trained / "pictures", "--pictures", 6, "--only", ",".join(SETTINGS), "--rounds", 1,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{len(SETTINGS)} of {len(SETTINGS)} in" in done.stdout, done.stdout
    return trained / "tf"


@pytest.fixture(scope="module")
def of_pytorch(trained: Path) -> Path:
    """The same weights through litert-torch: codes and scores."""
    path = trained / "torch.tflite"
    to_float32(load_detector(trained / "checkpoint.pt"), None, path)
    return path


def raw_outputs(data: bytes, tensor: np.ndarray) -> dict[int, np.ndarray]:
    """By the last dimension of a model that ends in codes (first) and scores."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], tensor)
    interpreter.invoke()
    return {at: interpreter.get_tensor(d["index"]) for at, d in enumerate(interpreter.get_output_details())}


def test_weights_keep_every_number(trained: Path) -> None:
    config, arrays = load_weights(trained / "net.npz")
    assert tuple(config["labels"]) == LABELS
    state = load_detector(trained / "checkpoint.pt").state_dict()
    assert arrays.keys() == {name for name in state if "num_batches" not in name}
    np.testing.assert_array_equal(arrays["stem.0.weight"], state["stem.0.weight"].numpy())
    with pytest.raises(ForgeError, match=r"holds no weights of forge .*make it with `forge weights`"):
        load_weights(trained / "checkpoint.pt")


@needs_tensorflow
def test_both_converters_agree(made: Path, of_pytorch: Path) -> None:
    network = open_network(made / "small_float32.tflite")
    image = (np.random.default_rng(1).random((1, 96, 96, 3)) * 2 - 1).astype(np.float32)
    ours, theirs = raw_outputs(network.data, image), raw_outputs(of_pytorch.read_bytes(), image)
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-4)
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-5)


@needs_tensorflow
@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_of_tensorflow_says_what_float32_says(made: Path, trained: Path, setting: str) -> None:
    subject = Subject(made / f"small_{setting}.tflite")
    assert subject.spec.dtype == SETTINGS[setting]
    assert tuple(subject.labels) == LABELS
    network = open_network(made / "small_float32.tflite")
    pictures = [cv2.imread(str(path)) for path in sorted((trained / "pictures").glob("*.png"))]
    exact = Subject(made / "small_float32.tflite")
    # A network this young is sure of nothing, so all anchors are compared and not the sure ones only.
    errors = [np.abs(subject.look(p).scores - exact.look(p).scores).max() for p in pictures]
    assert max(errors) < (0.15 if setting in ("int8-tensor", "uint8") else 0.08)
    assert len(network.anchors) == 12 * 12 + 6 * 6 + 3 * 3


@needs_tensorflow
def test_uint8_is_that_of_2018(made: Path) -> None:
    """One scale a tensor, unsigned, weights too; and it comes back in as a quantised file."""
    model = flatbuffer.load(made / "small_uint8.tflite")
    graph = model.subgraphs[0]
    kinds = [graph.tensors[o.inputs[1]] for o in graph.operators if len(o.inputs) == 3 and o.inputs[1] >= 0][:-1]
    assert {tensor.type for tensor in kinds} == {3}  # TensorType.UINT8
    assert {len(tensor.quantization.scale) for tensor in kinds} == {1}
    assert open_network(made / "small_uint8.tflite").labels == LABELS


@needs_tensorflow
def test_keras_and_saved_model_come_in(trained: Path, tmp_path: Path) -> None:
    """The same network as files of TensorFlow's own kinds, its anchors in a file beside it."""
    script = (
        "import sys; from pathlib import Path\n"
        "from forge.routes import keras_net; from forge.weights import load_weights\n"
        "model = keras_net.build(*load_weights(Path(sys.argv[1])))\n"
        "model.save(sys.argv[2] + '/net.keras'); model.export(sys.argv[2] + '/saved')\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY / 'models'}:{REPOSITORY / 'daemon'}"}
    done = subprocess.run(
        [str(TENSORFLOW), "-c", script, str(trained / "net.npz"), str(tmp_path)],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    grid = '[{"stride": 8, "sizes": [24]}, {"stride": 16, "sizes": [48]}, {"stride": 32, "sizes": [96]}]'
    (tmp_path / "anchors.json").write_text(f'{{"grid": {grid}, "scores": "probabilities", "background": false}}')
    (tmp_path / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    for model in ("net.keras", "saved"):
        done = run(
            TENSORFLOW, "tensorflow", tmp_path / model, "--out", tmp_path / "out", "--name", "net", "--only", "float32",
            "--anchors", tmp_path / "anchors.json", "--labels", tmp_path / "labels.txt", "--rounds", 0,
            "--images", trained / "pictures",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        network = open_network(tmp_path / "out" / "net_float32.tflite")
        image = np.zeros((1, 96, 96, 3), np.float32)
        with torch.no_grad():
            codes, logits = load_detector(trained / "checkpoint.pt")(torch.zeros(1, 3, 96, 96))
        got = raw_outputs(network.data, image)
        np.testing.assert_allclose(got[0], codes.numpy(), atol=1e-3)
        np.testing.assert_allclose(got[1], torch.sigmoid(logits).numpy(), atol=1e-5)


def test_without_tensorflow_the_command_says_what_is_missing(trained: Path) -> None:
    done = run(sys.executable, "tensorflow", trained / "net.npz", "--out", trained / "none")
    assert done.returncode == 1
    assert "TensorFlow is not in this environment; make the one for it with `make forge-setup-tf`" in done.stderr


def test_any_pytorch_module_comes_in(tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(
        "import torch\n"
        "class Toy(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.body, self.boxes = torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.Conv2d(8, 4, 1)\n"
        "        self.classes = torch.nn.Conv2d(8, 2, 1)\n"
        "    def forward(self, x):\n"
        "        x = torch.relu(self.body(x))\n"
        "        rows = [h(x).permute(0, 2, 3, 1).reshape(1, 256, -1) for h in (self.boxes, self.classes)]\n"
        "        return rows[0], torch.sigmoid(rows[1])\n"
    )
    (tmp_path / "anchors.json").write_text(
        '{"grid": [{"stride": 2, "sizes": [8]}], "scores": "probabilities", "background": false}'
    )
    (tmp_path / "labels.txt").write_text("left\nright\n")
    out = tmp_path / "toy.tflite"
    done = run(
        sys.executable, "pytorch", "--module", "toy:Toy", "--input", "1,3,32,32", "--out", out,
        "--anchors", "anchors.json", "--labels", "labels.txt", folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(re.search(r"differs from the module by at most (\S+)", done.stdout)[1]) < 1e-5
    subject = Subject(out)
    assert (subject.spec.layout, subject.spec.width, subject.labels) == ("NHWC", 32, ["left", "right"])
    with zipfile.ZipFile(out) as archive:
        assert archive.read("labels.txt") == b"left\nright\n"
    codes = [m.builtinCode for m in flatbuffer.load(out).operatorCodes]
    assert 39 not in codes, "no TRANSPOSE is left"


@pytest.mark.parametrize("name", ["nowhere:Net", "json:no_such", "json:dumps", "collections:OrderedDict"])
def test_what_gives_no_module_is_explained(name: str) -> None:
    with pytest.raises(ForgeError, match=rf"'{name}' gives "):
        load_module(name)


def test_a_checkpoint_of_another_module_is_refused(trained: Path) -> None:
    with pytest.raises(ForgeError, match=r"checkpoint.pt does not fit 'torch.nn:Identity'"):
        load_module("torch.nn:Identity", trained / "checkpoint.pt")
