"""What cannot be used is refused in one sentence that says what is wrong and what would be right."""

from __future__ import annotations

import ctypes.util
import hashlib
import os
import random
from pathlib import Path

import modelkit
import numpy as np
import pytest
from detectorkit import COCO_UINT8, EDGETPU_FACE, RUNTIME, detect, load_model

from vigild.config.schema import ModelConfig
from vigild.detector import interpreter
from vigild.detector.errors import ModelError
from vigild.detector.model import load
from vigild.detector.model_file import ModelFile


def refused(path, code, *words, delegate="xnnpack", **config):
    with pytest.raises(ModelError) as caught:
        load_model(path, delegate, **config)
    error = caught.value
    assert error.code == code, error.message
    for word in words:
        assert word in error.message
    assert error.message[0].isupper() or error.message.startswith(("/", "~"))
    assert error.message.endswith(".")
    assert "\n" not in error.message
    return error


def write(folder, data, name="model.tflite"):
    path = folder / name
    path.write_bytes(data)
    return path


def test_missing(tmp_path):
    modelkit.quadrants(tmp_path, name="other.tflite")
    refused(tmp_path / "model.tflite", "missing", "no model file", "other.tflite")


def test_a_folder(tmp_path):
    refused(tmp_path, "unreadable")


def test_a_fifo_does_not_hang(tmp_path):
    import os

    os.mkfifo(tmp_path / "model.tflite")
    refused(tmp_path / "model.tflite", "unreadable", "regular file")


@pytest.mark.parametrize(
    ("data", "code", "word"),
    [
        (b"", "truncated", "empty"),
        (b"\x1c\0\0\0TFL3\0\0", "truncated", "10 bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4183312\n", "lfs_pointer", "git lfs pull"),
        (b"<!DOCTYPE html><html>404</html>", "not_tflite", "web page"),
        (b"PK\x03\x04" + bytes(100), "not_tflite", "ZIP"),
        (b"\x08\x03\x12\x07pytorch" + bytes(100), "not_tflite", "TFL3"),
        (b"just some text, long enough to be looked at by all checks there are ........", "not_tflite", "TFL3"),
    ],
)
def test_other_files(tmp_path, data, code, word):
    refused(write(tmp_path, data), code, word)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_truncated(tmp_path, share):
    data = modelkit.quadrants(tmp_path).read_bytes()
    refused(write(tmp_path, data[: int(len(data) * share)], "cut.tflite"), "truncated", "fetch it again")


@pytest.mark.skipif(not COCO_UINT8.exists(), reason="the shared models are not here")
@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_truncated_download(tmp_path, share):
    data = COCO_UINT8.read_bytes()
    data = data[: data.rfind(b"PK\x03\x04")]  # without the labels behind it
    refused(write(tmp_path, data[: int(len(data) * share)]), "truncated", "fetch it again")


def test_sha256(tmp_path):
    path = modelkit.quadrants(tmp_path)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    assert load_model(path, sha256=right.upper()).ready.sha256 == right
    refused(path, "sha256_mismatch", right, "0" * 64, sha256="0" * 64)


def test_classifier(tmp_path):
    refused(modelkit.classifier(tmp_path), "classifier", "classifier", "12 class scores")


def test_other_outputs(tmp_path):
    graph = modelkit.Graph()
    image = graph.tensor("image", [1, 16, 16, 3])
    outs = [graph.tensor(f"out{i}", [1, 16, 16, 3]) for i in range(3)]
    for out in outs:
        graph.op(modelkit.ADD, [image, image], [out], (11, {}))
    refused(write(tmp_path, graph.build([image], outs)), "outputs", "3 outputs", "boxes, classes")


def test_several_inputs(tmp_path):
    graph = modelkit.Graph()
    images = [graph.tensor(name, [1, 16, 16, 3]) for name in ("image", "image_shape")]
    out = graph.tensor("out", [1, 16, 16, 3])
    graph.op(modelkit.ADD, images, [out], (11, {}))
    refused(write(tmp_path, graph.build(images, [out])), "several_inputs", "2 inputs", "image_shape")


@pytest.mark.parametrize(
    ("shape", "dtype", "code", "word"),
    [
        ([1, 16, 16, 1], "float32", "channels", "1 channels"),
        ([1, 16, 16, 4], "float32", "channels", "4 channels"),
        ([4, 16, 16, 3], "float32", "shape", "[1, height, width, 3]"),
        ([1, 3], "float32", "shape", "[1, height, width, 3]"),
        ([1, 3, 16], "float32", "shape", "[1, height, width, 3]"),
        ([1, 2, 2, 3], "float32", "shape", "too small"),
        ([1, 16, 16, 3], "int32", "dtype", "int32"),
        ([1, 16, 16, 3], "int8", "dtype", "scale"),
        ([1, 5000, 300, 3], "uint8", "dtype", "scale"),
        ([1, 5000, 300, 3], "float32", "huge", "5000"),
        ([1, 3000, 3000, 3], "float32", "huge", "32 MiB"),
        ([1, 2**30, 2**30, 3], "float32", "huge", "MiB"),
    ],
)
def test_inputs(tmp_path, shape, dtype, code, word):
    graph = modelkit.Graph()
    image = graph.tensor("image", shape, dtype)
    out = graph.tensor("out", shape, dtype)
    graph.op(modelkit.ADD, [image, image], [out], (11, {}))
    refused(write(tmp_path, graph.build([image], [out])), code, word)


def test_a_huge_tensor_inside(tmp_path):
    graph = modelkit.Graph()
    image = graph.tensor("image", [1, 16, 16, 3])
    out = graph.tensor("out", [1, 40_000, 40_000, 3])
    graph.op(modelkit.ADD, [image, image], [out], (11, {}))
    refused(write(tmp_path, graph.build([image], [out])), "huge", "'out'", "MiB")


@pytest.mark.skipif(not EDGETPU_FACE.exists(), reason="the shared models are not here")
@pytest.mark.parametrize("delegate", ["xnnpack", "none"])
def test_edgetpu_model_without_an_edgetpu(delegate):
    refused(EDGETPU_FACE, "edgetpu_model", "Edge TPU", delegate=delegate)
    with pytest.raises(ModelError) as caught:
        load(ModelConfig(path=str(EDGETPU_FACE)), delegate, "no runtime")
    assert caught.value.code == "edgetpu_model", "known before any runtime is asked"


@pytest.mark.parametrize(("custom", "word"), [("MyOperator", "custom operator"), ("FlexErf", "TensorFlow")])
def test_unsupported_operator(tmp_path, custom, word):
    graph = modelkit.Graph()
    image, out = graph.tensor("image", [1, 16, 16, 3]), graph.tensor("out", [1, 16, 16, 3])
    graph.op(modelkit.CUSTOM, [image], [out], custom=custom)
    refused(write(tmp_path, graph.build([image], [out])), "unsupported_op", custom, word)


def test_an_operator_newer_than_the_runtime(tmp_path):
    graph = modelkit.Graph()
    image, out = graph.tensor("image", [1, 16, 16, 3]), graph.tensor("out", [1, 16, 16, 3])
    graph.op(9, [image], [out])  # FULLY_CONNECTED
    graph.codes[0] = (9, "")
    data = bytearray(graph.build([image], [out]))
    from vigild.detector.flatbuffer import Table

    code = Table.root(memoryview(bytes(data))).tables(1)[0]
    data[code._field(2)] = 99
    refused(write(tmp_path, bytes(data)), "unsupported_op", "FULLY_CONNECTED version 99", "too old")


def test_an_operator_that_fails_when_it_runs(tmp_path):
    """The op takes int8 scores when loaded and fails at invoke: the dry run finds it."""
    graph = modelkit.Graph()
    image, scores = modelkit._scores(graph, "int8", 1 / 255, -128, nchw=False)
    encodings = graph.tensor("encodings", [1, 4, 4], data=np.zeros((1, 4, 4)))
    anchors = graph.tensor("anchors", [4, 4], data=modelkit.QUARTERS)
    outs = [graph.tensor(f"out{i}", shape) for i, shape in enumerate(([1, 4, 4], [1, 4], [1, 4], [1]))]
    graph.op(
        modelkit.CUSTOM,
        [encodings, scores, anchors],
        outs,
        custom="TFLite_Detection_PostProcess",
        custom_options=modelkit.detection_options(),
    )
    refused(write(tmp_path, graph.build([image], outs)), "invoke", "first, grey picture")


def test_damaged_options_of_the_op(tmp_path):
    data = modelkit.quadrants(tmp_path).read_bytes()
    options = modelkit.detection_options()
    broken = data.replace(options, b"\xff" * len(options))
    assert broken != data
    refused(write(tmp_path, broken), "corrupt", "TFLite_Detection_PostProcess")


@pytest.mark.parametrize("name", ["max_detections", "max_classes_per_detection", "num_classes"])
@pytest.mark.parametrize("value", [-1, 2**40, float("nan"), float("inf")])
def test_senseless_options_of_the_op(tmp_path, name, value):
    graph = modelkit.Graph()
    image = graph.tensor("image", [1, 16, 16, 3])
    outs = [graph.tensor(f"out{i}", shape) for i, shape in enumerate(([1, 4, 4], [1, 4], [1, 4], [1]))]
    options = modelkit.detection_options(**{name: value})
    graph.op(modelkit.CUSTOM, [image], outs, custom="TFLite_Detection_PostProcess", custom_options=options)
    refused(write(tmp_path, graph.build([image], outs)), "corrupt", name)


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("person\nbicycle\ncar\n", "labels_mismatch", ["3 classes", "model has 2", "another model"]),
        ("person\n", "labels_mismatch", ["1 classes"]),
        ("0 person\n5 car\n", "labels_mismatch", ["up to 5"]),
        ("\n\n", "labels", ["no labels"]),
        ("a\0b\n", "labels", ["no label file"]),
    ],
)
def test_label_files(tmp_path, text, code, words):
    labels = tmp_path / "labels.txt"
    labels.write_text(text)
    refused(modelkit.quadrants(tmp_path), code, *words, labels=str(labels))


def test_a_missing_label_file(tmp_path):
    refused(modelkit.quadrants(tmp_path), "labels", "model.labels", labels=str(tmp_path / "none.txt"))


def test_raw_boxes_without_anchors(tmp_path):
    refused(modelkit.raw(tmp_path), "anchors", "anchors are unknown", ".anchors.json")


@pytest.mark.parametrize(
    ("delegate", "word"),
    [
        ("/nowhere/libdelegate.so", "cannot be loaded"),
        ("edgetpu", "libedgetpu1-std"),
        (ctypes.util.find_library("m") or "libm.so.6", "tflite_plugin_create_delegate"),
    ],
)
def test_delegates(tmp_path, delegate, word):
    refused(modelkit.quadrants(tmp_path), "delegate", word, delegate=delegate)


def test_a_demanded_delegate_that_takes_no_node_fails(tmp_path):
    """int16 is not for XNNPACK: "auto" goes on with plain kernels and says so, a demand does not."""
    path = modelkit.quadrants(tmp_path, dtype="int16")
    with pytest.raises(ModelError, match="took none"):
        load(ModelConfig(path=str(path), delegate="xnnpack"), "xnnpack", RUNTIME)
    ready = load_model(path).ready
    assert (ready.delegate, ready.delegate_nodes) == ("none", 0)
    assert any("took none" in warning for warning in ready.warnings)


def test_a_runtime_that_is_not_there(tmp_path):
    path = modelkit.quadrants(tmp_path)
    absent = [p.name for p in interpreter.PACKAGES if not _installed(p.module)]
    if not absent:
        pytest.skip("both runtimes are installed")
    with pytest.raises(ModelError) as caught:
        load(ModelConfig(path=str(path)), "xnnpack", absent[0])
    assert caught.value.code == "runtime"
    assert "not installed" in caught.value.message


def _installed(module):
    import importlib.util

    return importlib.util.find_spec(module.partition(".")[0]) is not None


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (SystemError("returned a result with an exception set"), "another NumPy"),
        (ImportError("numpy.core.multiarray failed to import"), "another NumPy"),
        (ImportError("/lib/libm.so.6: version `GLIBC_2.38' not found (required by x.so)"), "GLIBC_2.38"),
        (ImportError("libfoo.so: cannot open shared object file"), "libfoo.so"),
    ],
)
def test_why_a_runtime_cannot_be_used_is_said_in_words(error, word):
    assert word in str(interpreter._runtime_fault(interpreter.PACKAGES[1], error))


def test_a_models_fault_is_not_the_runtimes():
    assert interpreter._runtime_fault(interpreter.PACKAGES[0], ValueError("Could not open")) is None


def test_mutated_files_end_in_a_refusal_or_a_model(tmp_path):
    """The reader of facts meets bytes from anywhere; it must neither crash nor hang nor say nothing."""
    from vigild.detector import facts, input_spec

    data = modelkit.quadrants(
        tmp_path, metadata=modelkit.metadata(names=["location"] * 4, mean=[1], std=[1])
    ).read_bytes()
    dice = random.Random(1)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(3000):
        broken = bytearray(data)
        for _ in range(dice.choice((1, 2, 8))):
            broken[dice.randrange(8, len(broken))] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        try:
            found = facts.read(memoryview(bytes(broken)))
            input_spec.check_sizes(found)
            input_spec.decide(found, "rgb", "squash")
            outcomes["read"] += 1
        except ModelError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 100


def test_an_output_that_nothing_computes(tmp_path):
    graph = modelkit.Graph()
    image = graph.tensor("image", [1, 16, 16, 3])
    out = graph.tensor("out", [1, 16, 16, 3])
    graph.op(modelkit.ADD, [image, image], [out], (11, {}))
    boxes = graph.tensor("boxes", [1, 4, 4])
    data = graph.build([image], [boxes, out])
    refused(write(tmp_path, data), "invoke", "Tensor data is null")


def test_more_classes_than_the_hub_can_be_told_of(tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"{number:060}x\n" for number in range(3000)))
    model = modelkit.finished(tmp_path)
    refused(model, "labels", "3000 classes", "KiB", labels=str(labels))
    labels.write_text("".join(f"{number}x\n" for number in range(3000)))
    assert len(load_model(model, labels=str(labels)).labels) == 3000


@pytest.mark.parametrize("data", [b'{"ssd":' * 5000, b'{"\xff": 1}', b'{"gr\x7fd": 1}'])
def test_anchors_that_are_no_json(tmp_path, data):
    model = modelkit.raw(tmp_path)
    model.with_name(model.name + ".anchors.json").write_bytes(data)
    error = refused(model, "anchors", "correct that file")
    assert error.message.isprintable()


@pytest.mark.parametrize("way", ["cut", "written to", "copied over", "replaced"])
def test_a_file_that_changes_under_a_running_network_changes_nothing(tmp_path, way):
    path = modelkit.quadrants(tmp_path)
    model = load_model(path)
    seen = modelkit.image([(0, 255, 0)] * 4)
    before = detect(model, seen)
    size = path.stat().st_size
    if way == "cut":
        os.truncate(path, 0)
    elif way == "written to":
        with path.open("r+b") as file:
            file.write(b"\0" * size)
    elif way == "copied over":
        path.write_bytes(b"\0" * 100)
    else:
        (tmp_path / "new").write_bytes(b"\0" * size)
        (tmp_path / "new").rename(path)
    assert len(before) == 4
    assert detect(model, seen) == before


def test_the_copy_that_runs_cannot_be_written_to(tmp_path):
    with ModelFile.open(str(modelkit.quadrants(tmp_path))) as file:
        for attempt in (lambda: os.pwrite(file.fd, b"x", 0), lambda: os.ftruncate(file.fd, 0)):
            with pytest.raises(PermissionError):
                attempt()
        assert Path(file.proc_path).read_bytes() == bytes(file.data)
