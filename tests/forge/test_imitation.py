"""A teacher is looked up to: its file says what the float network says, and a student gets nearer to it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter

from forge.errors import ForgeError
from forge.training import teacher as teachers
from forge.training.batches import TargetMaker, lessons_of
from forge.training.imitation import Imitation
from forge.training.net import Detector, NetConfig
from forge.training.scenes import render_scene
from forge.training.teacher import Teacher, make_teacher
from forge.training.train import TrainConfig, imitation_weight, train
from vigild.camera.testcard import LABELS

ASSETS = Path(__file__).parents[3] / "shared" / "assets"
COCO_FLOAT32 = ASSETS / "models/ssd_mobilenet_v1_coco_float/ssd_mobilenet_v1_coco_dequant_fp32.tflite"
PICTURES = sorted((ASSETS / "images/coco_calib").glob("*.jpg"))[:8]

pytestmark = pytest.mark.skipif(not COCO_FLOAT32.exists(), reason="needs the COCO SSD-MobileNet v1 in ../shared/assets")


def rgb(path: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


@pytest.fixture(scope="module")
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_teacher(COCO_FLOAT32, map(rgb, PICTURES), tmp_path_factory.mktemp("teacher") / "teacher.tflite")


def test_the_teacher_in_int8_sees_what_the_float_network_sees(teacher_file: Path) -> None:
    exact = Interpreter(str(COCO_FLOAT32), experimental_preserve_all_tensors=True)
    exact.allocate_tensors()
    numbers = {detail["name"]: detail["index"] for detail in exact.get_tensor_details()}
    teacher = Teacher(teacher_file)
    for path in PICTURES[:3]:
        picture = cv2.resize(rgb(path), (teachers.SIZE_PX, teachers.SIZE_PX))
        exact.set_tensor(exact.get_input_details()[0]["index"], (picture.astype(np.float32)[None] - 128) / 128)
        exact.invoke()
        lesson = teacher.look(picture)
        scale, zero = teacher.scale[0]
        near = (lesson.near.astype(np.float32) - zero) * scale
        wanted = exact.get_tensor(numbers[teachers.NEAR])[0]
        assert np.corrcoef(near.ravel(), wanted.ravel())[0, 1] > 0.9
        scores = exact.get_tensor(numbers[teachers.SCORES])[0, : 19 * 19 * 3, 1:].reshape(19, 19, 3, 90).max(axis=2)
        assert np.abs(lesson.near_scores - scores).max() < 0.3
        assert np.abs(lesson.near_scores - scores).mean() < 0.01


def test_another_network_is_refused_as_teacher(tmp_path: Path) -> None:
    other = ASSETS / "models/ultraface_rfb_320/version-RFB-320_without_postprocessing.tflite"
    with pytest.raises(ForgeError, match=r"has no tensor FeatureExtractor.*the teacher is the COCO SSD-MobileNet v1"):
        make_teacher(other, [], tmp_path / "teacher.tflite")


@pytest.mark.parametrize("imitated", [1.0, 0.25])
def test_a_student_gets_nearer_to_its_teacher_and_goes_on_where_it_was(
    teacher_file: Path, tmp_path: Path, imitated: float
) -> None:
    config = TrainConfig(
        net=NetConfig(labels=LABELS, size=96, width=0.35, pyramid_channels=16, levels=3),
        steps=12,
        batch=8,
        checkpoint_steps=6,
        average=0.5,
        imitated=imitated,
    )
    teacher = Teacher(teacher_file)
    rng = np.random.default_rng(7)
    samples = [render_scene(rng, 96) for _ in range(8)]
    inputs, _ = TargetMaker(LABELS, 96, 3).batch(samples)
    lessons = lessons_of(samples, teacher)

    def distance(run: Path) -> float:
        state = torch.load(run / "checkpoint.pt", weights_only=True)
        net = Detector(config.net)
        net.load_state_dict(state["net"])
        imitation = Imitation(net, lessons)
        imitation.load_state_dict(state["imitation"])
        with torch.no_grad():
            taps = net.train().backbone(inputs)
            return float(imitation.train()(taps, net.pyramid(taps), lessons))

    train(dataclasses.replace(config, steps=1), render_scene, tmp_path, teacher)
    before = distance(tmp_path)
    train(config, render_scene, tmp_path, teacher)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 12
    assert distance(tmp_path) < before


def test_a_teacher_nobody_is_to_imitate_is_not_looked_at(teacher_file: Path, tmp_path: Path) -> None:
    net = NetConfig(labels=LABELS, size=96, width=0.35, pyramid_channels=16, levels=3)
    for share, imitates in ((0.0, False), (0.5, True)):
        folder = tmp_path / str(share)
        train(TrainConfig(net=net, steps=1, batch=2, imitated=share), render_scene, folder, Teacher(teacher_file))
        state = torch.load(folder / "checkpoint.pt", weights_only=True)
        assert bool(state["imitation"]) is imitates


def test_imitation_fades() -> None:
    weights = [imitation_weight(progress / 10, (1.0, 0.2)) for progress in range(11)]
    assert weights[0] == pytest.approx(1.0)
    assert weights[-1] == pytest.approx(0.2)
    assert weights == sorted(weights, reverse=True)
