"""Every setting out of the real COCO networks: files that the daemon takes, and that say what the network says."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import TensorType

from forge.errors import ForgeError
from forge.evaluation.compare import Picture, Reference
from forge.evaluation.subject import Subject
from forge.model.network import Network, open_network
from forge.pictures import picture_files, read_for, spread
from forge.quantization.calibrate import Observed
from forge.quantization.quantize import observe_network, quantize
from forge.quantization.settings import SCHEMES, SETTINGS, parse
from forge.tflite import flatbuffer
from forge.tflite.postprocess import add_postprocess, find_postprocess, read_settings, take_postprocess
from forge.variants.make import make_variant

ASSETS = Path(__file__).resolve().parents[3] / "shared" / "assets"
MODELS = ASSETS / "models"
V1_FLOAT = MODELS / "ssd_mobilenet_v1_coco_float" / "ssd_mobilenet_v1_coco_dequant_fp32.tflite"
V1_UINT8 = MODELS / "ssd_mobilenet_v1_coco" / "coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite"
FPNLITE = MODELS / "ssd_mobilenet_v2_fpnlite_320" / "model_dynamic_range.tflite"
LABELS = {V1_FLOAT: V1_UINT8.with_name("labelmap.txt"), V1_UINT8: None, FPNLITE: FPNLITE.with_name("labels.txt")}
PICTURES = ASSETS / "images" / "coco_calib"
PETS = ASSETS / "images" / "golden" / "cats_and_dogs.jpg"

needs_assets = pytest.mark.skipif(not V1_FLOAT.exists(), reason=f"needs the COCO models and pictures in {ASSETS}")


@cache
def network_of(path: Path) -> Network:
    return open_network(path, LABELS[path])


@cache
def observed_of(path: Path) -> Observed:
    network = network_of(path)
    return observe_network(network, read_for(network, spread(picture_files(PICTURES), 6)))


@cache
def reference(raw: bool) -> Reference:
    """What float32 COCO v1 sees in a few pictures that no range is taken from."""
    import tempfile

    files = [path for path in picture_files(PICTURES) if path not in spread(picture_files(PICTURES), 6)][:8]
    network = network_of(V1_FLOAT)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float32.tflite"
        make_variant(network, parse("float32-raw" if raw else "float32"), None, path, network.card)
        return Reference(Subject(path), [Picture(file) for file in files], network)


def test_names_of_settings_are_read_back() -> None:
    assert [parse(setting.name) for setting in SETTINGS] == list(SETTINGS)
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS)
    assert {setting.scheme for setting in SETTINGS} == set(SCHEMES)
    every = parse("int8-tensor-nchw-float-raw")
    assert (every.scheme.name, every.nchw, every.float_io, every.raw) == ("int8-tensor", True, True, True)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("int4", "there is no setting 'int4'; the schemes are float32, "),
        ("int8-nhwc", "behind int8 may stand -nchw, -float, -raw, each once"),
        ("int8-raw-raw", "each once"),
        ("float16-float", "asks for float input, but float16 has no other"),
    ],
)
def test_a_wrong_name_is_explained(name: str, says: str) -> None:
    with pytest.raises(ForgeError) as caught:
        parse(name)
    assert says in str(caught.value)


@needs_assets
@pytest.mark.parametrize("path", [V1_FLOAT, V1_UINT8, FPNLITE], ids=["v1-float", "v1-uint8", "fpnlite"])
def test_the_op_is_taken_off_and_put_back(path: Path) -> None:
    model = flatbuffer.load(path)
    told = read_settings(model, find_postprocess(model))
    anchors, settings = take_postprocess(model)
    assert settings == told
    assert settings.background
    assert find_postprocess(model) is None
    with pytest.raises(ForgeError, match="no TFLite_Detection_PostProcess to take off"):
        take_postprocess(model)
    add_postprocess(model, anchors, settings)
    again = flatbuffer.load(flatbuffer.pack(model))
    assert read_settings(again, find_postprocess(again)) == told


@needs_assets
@pytest.mark.parametrize("path", [V1_UINT8, FPNLITE], ids=["v1-uint8", "fpnlite"])
def test_float32_made_of_a_quantised_file_sees_what_that_sees(path: Path, tmp_path: Path) -> None:
    network = network_of(path)
    target = tmp_path / "float32.tflite"
    make_variant(network, parse("float32"), None, target, network.card)
    image = cv2.imread(str(PETS))
    ours, theirs = Subject(target).detect(image, 0.5), Subject(path, LABELS[path]).detect(image, 0.5)
    assert [d.label for d in ours] == [d.label for d in theirs] != []
    np.testing.assert_allclose([d.box for d in ours], [d.box for d in theirs], atol=0.03)
    np.testing.assert_allclose([d.score for d in ours], [d.score for d in theirs], atol=0.05)


# Score and box errors that each may have: ten times what rounding to its bits costs, a tenth of what garbage gives.
ERRORS = {"float32": 1e-5, "float16": 0.005, "int16x8": 0.03, "weight-only": 0.03, "dynamic": 0.03, "int8": 0.06}


@needs_assets
@pytest.mark.parametrize("setting", [s for s in SETTINGS if s.scheme.name != "dynamic-tensor"], ids=lambda s: s.name)
def test_a_variant_says_what_float32_says(setting, tmp_path: Path) -> None:
    network = network_of(V1_FLOAT)
    path = tmp_path / "variant.tflite"
    make_variant(network, setting, observed_of(V1_FLOAT), path, network.card)
    subject = Subject(path)
    assert subject.labels == list(network.labels)
    assert subject.spec.dtype == setting.input_dtype
    assert subject.spec.layout == ("NCHW" if setting.nchw else "NHWC")
    measures = reference(setting.raw).measure(subject)
    limit = next(value for name, value in ERRORS.items() if setting.scheme.name.startswith(name))
    assert measures.score_error <= limit
    assert measures.box_error <= 3 * limit
    assert measures.agreement >= 0.85


@needs_assets
def test_an_int8_input_holds_the_pixel_less_128(tmp_path: Path) -> None:
    network = network_of(V1_FLOAT)
    path = tmp_path / "int8.tflite"
    make_variant(network, parse("int8"), observed_of(V1_FLOAT), path, network.card)
    spec = Subject(path).spec
    assert (spec.scale, spec.zero_point) == (1 / 128, 0)


@needs_assets
def test_a_raw_variant_brings_its_anchors_and_comes_back_in(tmp_path: Path) -> None:
    network = network_of(FPNLITE)
    path = tmp_path / "fpn_float32-raw.tflite"
    make_variant(network, parse("float32-raw"), None, path, network.card)
    beside = json.loads((tmp_path / "fpn_float32-raw.tflite.anchors.json").read_text())
    assert len(beside["explicit"]) == 12804
    again = open_network(path)
    assert again.labels == network.labels
    assert again.postprocess.background
    np.testing.assert_allclose(again.anchors, network.anchors, rtol=1e-6)


@needs_assets
def test_what_cannot_be_a_network_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ForgeError, match=r"no labels inside; name a label file"):
        open_network(V1_FLOAT)
    network = network_of(V1_FLOAT)
    planar = tmp_path / "nchw.tflite"
    make_variant(network, parse("float32-nchw"), None, planar, network.card)
    with pytest.raises(ForgeError, match=r"takes an NCHW image; expected NHWC"):
        open_network(planar)
    with pytest.raises(ForgeError, match="there are no pictures"):
        picture_files(tmp_path)


@needs_assets
def test_no_bias_is_cut_off_by_16_bit_activations() -> None:
    """Channels with hardly a weight get steps that their bias fits into; the quantizer cuts at 32 bits in silence."""
    network = network_of(FPNLITE)
    model = flatbuffer.load(quantize(network, parse("int16x8"), observed_of(FPNLITE)))
    graph = model.subgraphs[0]
    biases = [
        np.frombuffer(bytes(model.buffers[graph.tensors[index].buffer].data), "<i8")
        for operator in graph.operators
        for index in operator.inputs[2:3]
        if index >= 0 and graph.tensors[index].type == TensorType.INT64
    ]
    assert len(biases) > 100
    assert max(np.abs(bias).max() for bias in biases) < 2**31 - 1
