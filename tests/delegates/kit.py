"""The tests' delegate, compiled, and a board with an Edge TPU: as far as the daemon can tell, a real one.

    board = Board(tmp_path, library())             # libedgetpu.so.1, /dev/apex_0 and a model with its twin
    board.behaves("aborts@5")                      # the words are in delegate.c

What is made up lies beyond the daemon's borders: a library that the dynamic loader finds, and a
folder that is given as --sysfs-root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from unit import modelkit

SOURCE = Path(__file__).with_name("delegate.c")

CPU_SIDE, EDGETPU_SIDE = 16, 32
"""Input sizes (pixels) of the two builds: other ones, so that a mix-up cannot go unnoticed."""

MANIFEST = """
format = 1

[model.twins]

[[model.twins.variant]]
name = "edgetpu"
file = "twins_edgetpu.tflite"
delegate = "edgetpu"
cpu_twin = "cpu"

[[model.twins.variant]]
name = "cpu"
file = "twins.tflite"
"""


@cache
def _compiled(folder: str) -> Path:
    library = Path(folder) / "libtests.so"
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to build the tests' delegate with")
    subprocess.run(
        [compiler, "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", SOURCE, "-o", library], check=True
    )
    return library


def library(factory: pytest.TempPathFactory) -> Path:
    """The delegate as a shared library; built once."""
    return _compiled(str(factory.getbasetemp()))


def twin(folder: Path, edgetpu: bool) -> Path:
    """The quadrant detector for the CPU, or compiled for the Edge TPU: then nothing else can run it."""
    graph = modelkit.Graph()
    side = EDGETPU_SIDE if edgetpu else CPU_SIDE
    image, scores = modelkit._scores(graph, "uint8", 1 / 255, 0, nchw=False, side=side)
    real = graph.tensor("real", [1, 4, 3])
    if edgetpu:
        graph.op(modelkit.CUSTOM, [scores], [real], custom="edgetpu-custom-op", custom_options=b"compiled")
    else:
        graph.op(modelkit.DEQUANTIZE, [scores], [real])
    encodings = graph.tensor("encodings", [1, 4, 4], data=np.zeros((1, 4, 4)))
    anchors = graph.tensor("anchors", [4, 4], data=modelkit.QUARTERS)
    found = [graph.tensor("boxes", [1, 4, 4])]
    found += [graph.tensor(what, [1, 4]) for what in ("classes", "scores_out")]
    found += [graph.tensor("count", [1])]
    graph.op(
        modelkit.CUSTOM,
        [encodings, real, anchors],
        found,
        custom="TFLite_Detection_PostProcess",
        custom_options=modelkit.detection_options(),
    )
    path = folder / ("twins_edgetpu.tflite" if edgetpu else "twins.tflite")
    path.write_bytes(graph.build([image], found))
    return path


class Board:
    """A folder with all of it, and what has to be told to the daemon."""

    def __init__(self, folder: Path, library: Path, device: bool = True) -> None:
        self.folder = folder
        self.behaviour = folder / "behaviour"
        self.root = folder / "root"
        self.node = self.root / "dev" / "apex_0"
        self.node.parent.mkdir(parents=True)
        if device:
            self.node.touch()
        (folder / "lib").mkdir()
        shutil.copy(library, folder / "lib" / "libedgetpu.so.1")
        self.manifest = folder / "manifest.toml"
        self.manifest.write_text(MANIFEST)
        self.edgetpu = twin(folder, edgetpu=True)
        self.cpu = twin(folder, edgetpu=False)
        self.environment = {
            "LD_LIBRARY_PATH": f"{folder / 'lib'}:{os.environ.get('LD_LIBRARY_PATH', '')}".rstrip(":"),
            "VIGILD_MANIFEST": str(self.manifest),
            "DELEGATE_BEHAVIOUR": str(self.behaviour),
        }
        self.arguments = ["--sysfs-root", str(self.root)]

    def behaves(self, word: str) -> None:
        """From the next process on."""
        self.behaviour.write_text(word + "\n")
        self.behaviour.with_name("behaviour.count").unlink(missing_ok=True)
