"""Old COCO models anew as int8: the real files, what is kept of them, and what is refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from forge.__main__ import main
from forge.evaluation.coco import annotated_sets
from forge.evaluation.evaluate import Runner, on_coco
from forge.model.dequantize import Dequantized, dequantize
from forge.model.source import labels_of, open_source
from forge.pictures import picture_files, read_for
from forge.quantization.bias_correction import correct
from forge.quantization.calibrate import Observed, observe, ranges, tensor_of, watching
from forge.quantization.histogram import BINS, Histogram
from forge.quantization.range_search import METHODS
from forge.quantization.requantize import Choice, float_stem, requantize, score_tail
from forge.quantization.static_int8 import static_int8, weight_ranges
from forge.tflite import flatbuffer
from forge.tflite.metadata import Card

ASSETS = Path(__file__).resolve().parents[3] / "shared" / "assets"
UINT8 = ASSETS / "models/ssd_mobilenet_v1_coco/coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite"
FLOAT32 = ASSETS / "models/ssd_mobilenet_v1_coco_float/ssd_mobilenet_v1_coco_dequant_fp32.tflite"
DYNAMIC = ASSETS / "models/ssd_mobilenet_v2_fpnlite_320/model_dynamic_range.tflite"
DYNAMIC_LABELS = DYNAMIC.with_name("labels.txt")
EDGETPU = ASSETS / "models/edgetpu/face-detector-quantized_edgetpu.tflite"
CALIB = ASSETS / "images/coco_calib"
CALIB_ANNOTATIONS = ASSETS / "annotations/coco_calib.json"
EVAL = ASSETS / "images/coco_eval"
EVAL_ANNOTATIONS = ASSETS / "annotations/coco_eval.json"
GOLDEN = ASSETS / "images/golden/cats_and_dogs.jpg"

pytestmark = pytest.mark.skipif(not UINT8.exists(), reason=f"needs the COCO models and pictures in {ASSETS}")


@pytest.fixture(scope="module")
def plain() -> Dequantized:
    return dequantize(open_source(UINT8))


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return read_for(open_source(UINT8), picture_files(CALIB)[:3])


@pytest.fixture(scope="module")
def observed(plain: Dequantized, pictures: list[np.ndarray]) -> Observed:
    return observe(flatbuffer.pack(plain.model), pictures)


def test_uint8_comes_back_as_the_float_network_it_was(plain: Dequantized, tmp_path: Path) -> None:
    """Against a float32 file that somebody else made of the same one: the ReLU6 of 2018 is there again."""
    plain.save(tmp_path / "ours.tflite")
    picture = cv2.imread(str(GOLDEN))
    ours = Runner(tmp_path / "ours.tflite").detect(picture)
    theirs = Runner(FLOAT32, mean=(128.0,) * 3, std=(128.0,) * 3).detect(picture)
    assert len(ours) == len(theirs) > 3
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.score == pytest.approx(other.score, abs=1e-4)
        np.testing.assert_allclose(mine.box, other.box, atol=1e-4)


def test_normalisation_and_ranges_are_read_from_the_quantisation(plain: Dequantized) -> None:
    assert (plain.spec.dtype, plain.spec.mean, plain.spec.std) == ("float32", (128.0,) * 3, (128.0,) * 3)
    low, high = plain.ranges["FeatureExtractor/MobilenetV1/MobilenetV1/Conv2d_0/Relu6"]
    assert (low, high) == (0.0, pytest.approx(6.0, abs=0.01))
    assert len(plain.steps) == 48  # 47 layers and the anchors


def test_dynamic_range_comes_back_with_its_signature_and_same_weights() -> None:
    source = open_source(DYNAMIC)
    before = source.model.subgraphs[0].tensors
    int8 = {t.name: i for i, t in enumerate(before) if t.type == 9 and flatbuffer.is_constant(source.model, i)}
    wanted = {name: flatbuffer.real_values(source.model, index) for name, index in int8.items()}
    made = dequantize(source)
    tensors = {t.name: i for i, t in enumerate(made.model.subgraphs[0].tensors)}
    assert len(wanted) > 50
    for name, values in wanted.items():
        np.testing.assert_array_equal(flatbuffer.real_values(made.model, tensors[name]), values)
    assert [s.signatureKey for s in made.model.signatureDefs] == [b"serving_default"]
    assert made.ranges == {}


@pytest.mark.parametrize("method", METHODS)
def test_ranges_hold_zero_and_lie_within_what_was_seen(observed: Observed, method: str) -> None:
    widest, found = ranges(observed, "min_max"), ranges(observed, method)
    assert found.keys() == widest.keys()
    for name, qsv in found.items():
        assert widest[name]["min"] - 0.01 <= qsv["min"] <= 0 <= qsv["max"] <= widest[name]["max"] + 0.01, name


def test_what_is_concatenated_shares_a_range_unless_it_stays_float(observed: Observed) -> None:
    ends = ["concat", "BoxPredictor_0/Reshape", "BoxPredictor_5/BoxEncodingPredictor/BiasAdd"]
    tied = ranges(observed)
    assert len({(float(tied[n]["min"].item()), float(tied[n]["max"].item())) for n in ends}) == 1
    free = ranges(observed, keep_float=["concat"])
    # The largest feature map has the extremes, so it keeps the range of all together.
    assert len({(float(free[n]["min"].item()), float(free[n]["max"].item())) for n in ends}) == 2


def test_a_histogram_counts_the_same_however_it_grew() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(0, scale, 5000).astype(np.float32) for scale in (0.1, 3.0, 40.0)]
    small_first, large_first, merged = Histogram(), Histogram(), Histogram()
    for part in parts:
        small_first.add(part)
        alone = Histogram()
        alone.add(part)
        merged.merge(alone)
    for part in reversed(parts):
        large_first.add(part)
    np.testing.assert_allclose(small_first.counts.sum(), 15000)
    assert (small_first.limit, len(small_first.counts)) == (large_first.limit, BINS)
    for other in (large_first, merged):
        # A value on the border of two bins may fall to either side of it.
        assert np.abs(np.cumsum(small_first.counts) - np.cumsum(other.counts)).max() <= 5
        assert (other.minimum, other.maximum) == (small_first.minimum, small_first.maximum)


def test_weights_keep_the_numbers_they_had(plain: Dequantized, observed: Observed) -> None:
    qsvs = ranges(observed) | weight_ranges(plain.model, plain.steps)
    made = flatbuffer.load(static_int8(flatbuffer.pack(plain.model), qsvs))
    names = {t.name: i for i, t in enumerate(made.subgraphs[0].tensors)}
    same = total = 0
    for index, tensor in enumerate(plain.model.subgraphs[0].tensors):
        if tensor.name.decode() in qsvs and flatbuffer.is_constant(plain.model, index):
            old = flatbuffer.real_values(plain.model, index)
            new = flatbuffer.real_values(made, names[tensor.name])
            same += int((np.abs(old - new) < 1e-5 * np.abs(old).max()).sum())
            total += old.size
    assert same / total > 0.95  # the others are of channels that use more than 127 of the old steps


def test_bias_correction_takes_the_mean_error_away(plain: Dequantized, pictures: list[np.ndarray]) -> None:
    source = open_source(FLOAT32, (128.0,) * 3, (128.0,) * 3)
    model = dequantize(source).model
    float32 = flatbuffer.pack(model)
    qsvs = ranges(observe(float32, pictures))
    before = static_int8(float32, qsvs)
    correct(model, plain.spec, qsvs, pictures)
    after = static_int8(flatbuffer.pack(model), qsvs)
    last = "FeatureExtractor/MobilenetV1/MobilenetV1/Conv2d_13_pointwise/Relu6"
    wanted = channel_means(float32, last, pictures)
    assert np.abs(channel_means(after, last, pictures) - wanted).mean() < (
        0.7 * np.abs(channel_means(before, last, pictures) - wanted).mean()
    )


def channel_means(data: bytes, name: str, pictures: list[np.ndarray]) -> np.ndarray:
    interpreter = watching(data)
    image = interpreter.get_input_details()[0]
    spec = open_source(UINT8).spec
    detail = next(d for d in interpreter.get_tensor_details() if d["name"] == name)
    means = []
    for picture in pictures:
        raw = tensor_of(spec, picture)
        interpreter.set_tensor(
            image["index"],
            (raw ^ 0x80).view(np.int8) if image["dtype"] == np.int8 else (raw.astype(np.float32) - 128) / 128,
        )
        interpreter.invoke()
        means.append(interpreter.get_tensor(detail["index"]).astype(np.float64).mean((0, 1, 2)))
    scale, zero_point = detail["quantization"]
    mean = np.mean(means, axis=0)
    return (mean - zero_point) * scale if scale else mean


def test_the_tail_of_the_scores_is_found(plain: Dequantized) -> None:
    assert score_tail(plain.model) == ["convert_scores", "concat_1"]


def test_only_what_a_dynamic_range_file_spared_is_the_stem(plain: Dequantized) -> None:
    assert float_stem(plain.model, plain.steps) == []
    dynamic = dequantize(open_source(DYNAMIC))
    assert len(float_stem(dynamic.model, dynamic.steps)) == 3


@pytest.mark.parametrize(
    ("model", "labels"), [(UINT8, None), (DYNAMIC, DYNAMIC_LABELS)], ids=["uint8", "dynamic-range"]
)
def test_int8_is_as_good_as_the_original(model: Path, labels: Path | None, tmp_path: Path) -> None:
    """Where nothing was chosen: coco_eval. On these 42 pictures AP wavers by about 0.01 from rounding alone."""
    source = open_source(model)
    names = labels_of(source, labels)
    pictures = read_for(source, picture_files(CALIB)[::4])
    # Correcting the dynamic-range file's biases takes minutes, and has a test of its own.
    made = requantize(source, pictures, Choice(correct_bias=False))

    out = tmp_path / "int8.tflite"
    made.write(made.data, out, names, Card("a test's", "", ""))
    int8 = Runner(out)
    assert int8.spec.dtype == "int8"
    assert int8.labels == list(names or ())
    judged = annotated_sets([EVAL], [EVAL_ANNOTATIONS])
    before = on_coco(Runner(model, labels), judged)["all"][0]
    assert before > 0.2
    assert on_coco(int8, judged)["all"][0] > before - 0.012


def test_the_command_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = tmp_path / "few.json"
    data = json.loads(CALIB_ANNOTATIONS.read_bytes())
    names = {path.name for path in picture_files(CALIB)[:8]}
    data["images"] = [image for image in data["images"] if image["file_name"] in names]
    kept = {image["id"] for image in data["images"]}
    data["annotations"] = [each for each in data["annotations"] if each["image_id"] in kept]
    few.write_text(json.dumps(data))
    out = tmp_path / "out.tflite"
    arguments = ["requantize", str(UINT8), "--calibrate", str(CALIB), "--pictures", "3", "--out", str(out)]
    assert main([*arguments, "--evaluate", str(CALIB), "--annotations", str(few), "--rounds", "1"]) == 0
    said = capsys.readouterr().out
    assert "weights of 47 layers stay on their old grid" in said
    assert "AP on 7 pictures that did not calibrate" in said  # the first one of them did
    assert "float32  AP 0." in said
    assert "times faster" in said
    assert open_source(out).facts.postprocess is not None
    assert main(["evaluate", str(out), "--images", str(CALIB), "--annotations", str(few)]) == 0
    assert "AP50 0." in capsys.readouterr().out


def test_what_cannot_be_done_is_said_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.tflite"
    page.write_text("<!DOCTYPE html><html>not found</html>" * 10)
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(UINT8.read_bytes()[:3_000_000])
    (tmp_path / "empty").mkdir()
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"images": 3}')
    calibrate = ["--calibrate", str(CALIB), "--out", str(tmp_path / "out.tflite")]
    for arguments, expected in (
        ([str(page), *calibrate], "is not a TFLite model: it is a web page"),
        ([str(tmp_path / "none.tflite"), *calibrate], "There is no model file"),
        ([str(cut), *calibrate], "truncated or damaged"),
        ([str(EDGETPU), *calibrate], "compiled for the Edge TPU"),
        ([str(UINT8), "--calibrate", str(tmp_path / "empty")], "there are no pictures"),
        ([str(UINT8), *calibrate, "--method", "luck"], "there is no method 'luck'; there are file, min_max"),
        ([str(DYNAMIC), *calibrate, "--method", "file"], "no ranges of activations to keep"),
        ([str(UINT8), *calibrate, "--evaluate", str(EVAL)], "give --annotations once for each"),
        (
            [str(UINT8), *calibrate, "--evaluate", str(EVAL), "--annotations", str(tmp_path / "none.json")],
            "cannot be read",
        ),
        ([str(UINT8), *calibrate, "--evaluate", str(EVAL), "--annotations", str(wrong)], "no COCO annotation file"),
        (
            [str(UINT8), *calibrate, "--evaluate", str(EVAL), "--annotations", str(CALIB_ANNOTATIONS)],
            "has none of them",
        ),
    ):
        assert main(["requantize", *arguments]) == 1
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert said.startswith("forge: ") and expected in said, said
    assert not (tmp_path / "out.tflite").exists()
