"""A short run of the real recipe on a small network: it learns, resumes, guards, and exports."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from forge.anchors import make_anchors
from forge.errors import ForgeError
from forge.evaluation.evaluate import Runner
from forge.training import pseudo
from forge.training.batches import TargetMaker
from forge.training.losses import detection_loss
from forge.training.net import Conv, Detector, NetConfig
from forge.training.photos import Photo, load_photos
from forge.training.pseudo import Seen
from forge.training.sampler import PhotoSampler, empty_window
from forge.training.scenes import Sample, render_scene
from forge.training.train import NonFiniteLossError, TrainConfig, load_detector, train
from vigild.camera.testcard import LABELS

SMALL = TrainConfig(
    net=NetConfig(labels=LABELS, size=96, width=0.35, pyramid_channels=16, levels=3),
    steps=30,
    batch=8,
    checkpoint_steps=10,
    stages=((0.5, 64),),
)


def loss_on_fresh_scenes(detector: Detector) -> float:
    targets = TargetMaker(LABELS, 96, 3)
    rng = np.random.default_rng(99)
    inputs, wanted = targets.batch([render_scene(rng, 96) for _ in range(16)])
    with torch.no_grad():
        codes, logits = detector(inputs)
    return float(sum(detection_loss(codes, logits, torch.from_numpy(targets.anchors), wanted)))


def test_a_short_run_learns_and_is_resumed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    untrained = loss_on_fresh_scenes(Detector(SMALL.net).eval())
    first = train(dataclasses.replace(SMALL, steps=20), render_scene, tmp_path)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 20
    longer = train(SMALL, render_scene, tmp_path)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 30
    assert loss_on_fresh_scenes(longer) < untrained
    changed = [not torch.equal(a, b) for a, b in zip(first.parameters(), longer.parameters(), strict=True)]
    assert sum(changed) > len(changed) / 2  # not all: a level without a box has no gradient for its boxes


def test_a_loss_that_stays_infinite_ends_the_run_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLossError, match=r"not finite 5 steps in a row.*learning rate"):
        train(dataclasses.replace(SMALL, rate=float("inf")), render_scene, tmp_path)


def test_a_failing_sampler_is_not_waited_for(tmp_path: Path) -> None:
    def broken(rng: np.random.Generator, size: int) -> Sample:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        train(SMALL, broken, tmp_path)


def test_unlabelled_classes_and_doubts_do_not_count() -> None:
    targets = TargetMaker(LABELS, 96, 3)
    rng = np.random.default_rng(0)
    sample = dataclasses.replace(
        render_scene(rng, 96),
        boxes=np.array([[0.1, 0.1, 0.5, 0.5]], np.float32),
        classes=["circle"],
        unlabelled=frozenset({"star"}),
        ignore_boxes=np.array([[0.5, 0.5, 0.9, 0.9]], np.float32),
        ignore_classes=["square"],
    )
    _, wanted = targets.batch([sample])
    weights = wanted.weights[0].numpy()
    assert (weights[:, LABELS.index("star")] == 0).all()
    assert (weights[:, LABELS.index("triangle")] == 1).all()
    square = weights[:, LABELS.index("square")]
    assert 0 < (square == 0).sum() < len(square) / 2
    assert wanted.positive.sum() > 0


def test_a_larger_network_begins_as_the_smaller_one_ended() -> None:
    torch.manual_seed(3)
    small = Detector(SMALL.net)
    large = Detector(dataclasses.replace(SMALL.net, late_expansion=9, tower_depth=2))
    for norm in small.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(norm.running_mean, -0.5, 0.5)
    large.grow_from(small.state_dict())
    pictures = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        for said, wanted in zip(large.eval()(pictures), small.eval()(pictures), strict=True):
            assert torch.allclose(said, wanted, atol=1e-5)
    codes, logits = large.train()(pictures)
    (codes.square().mean() + logits.square().mean()).backward()
    new = large.stages[-1][0].body[2][0].weight.grad[:, small.stages[-1][0].body[2][0].weight.shape[1] :]
    assert new.abs().sum() > 0, "what is new can learn"


@pytest.mark.parametrize("other", [{"labels": ("circle",)}, {"width": 0.5}, {"late_expansion": 9}, {"tower_depth": 2}])
def test_a_network_that_does_not_fit_is_no_beginning(other: dict[str, Any]) -> None:
    with pytest.raises(ForgeError, match="other labels or channels"):
        Detector(SMALL.net).grow_from(Detector(dataclasses.replace(SMALL.net, **other)).state_dict())


@pytest.mark.parametrize("side", [16, 15])
def test_a_strided_depthwise_convolution_is_the_same_in_training(side: int) -> None:
    """It goes another way there, for speed."""
    conv = Conv(8, 8, 3, 2, groups=8)
    pictures = torch.rand(2, 8, side, side)
    conv[1] = torch.nn.Identity()
    assert torch.allclose(conv.train()(pictures), conv.eval()(pictures), atol=1e-5)


def test_empty_samples_show_nothing_wanted() -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    image[:, :100] = 255  # somebody, on the left
    photo = Photo(
        "left.jpg", image, np.array([[0, 0, 0.5, 1]], np.float32), ["person"], np.zeros((0, 4), np.float32), []
    )
    sampler = PhotoSampler([photo], ("person",), scenes=0.0, mosaics=0.0, empties=1.0)
    rng = np.random.default_rng(2)
    samples = [sampler.sample(rng, 96) for _ in range(40)]
    empty = [sample for sample in samples if not sample.classes and not sample.ignore_classes]
    black = [sample for sample in empty if sample.clean is not None and sample.clean.mean() < 5]
    assert len(black) > 20, "the others are windows of the usual kind, where no empty part was found"


def test_parts_without_anything_wanted_show_other_things_apart_from_people() -> None:
    """A cat in the middle is no person; a chair somebody sits on is left out, for a part of them would be shown."""
    people = np.array([[0, 0, 0.5, 1]], np.float32)
    cat, chair = [0.7, 0.4, 0.9, 0.6], [0.3, 0.5, 0.6, 1.0]
    none = np.zeros((0, 4), np.float32)
    image = np.zeros((100, 100, 3), np.uint8)
    photo = Photo("cat.jpg", image, people, ["person"], none, [], others=np.array([cat, chair], np.float32))
    rng = np.random.default_rng(3)
    windows = [window for _ in range(30) if (window := empty_window(rng, photo, around_others=True)) is not None]
    assert len(windows) > 20
    for left, top, right, bottom in windows:
        assert left >= 0.5, "nothing of the person"
        assert left < 0.8 < right, "the cat's middle"
        assert top < 0.5 < bottom


def _loosely_labelled(root: Path, group: str, seen: Seen) -> list[Photo]:
    (root / "images").mkdir(exist_ok=True)
    records, notes = [], []
    for number in range(20):  # some are held out, by their names
        cv2.imwrite(str(root / "images" / f"{number}.png"), np.zeros((100, 100, 3), np.uint8))
        head = {"id": number, "file_name": f"{number}.png", "width": 100, "height": 100}
        records.append({**head, "set": group, "labelled_classes": ["person"]})
        for box in ([10, 10, 30, 60], [60, 10, 30, 60], [50, 90, 5, 8]):
            notes.append({"image_id": number, "category_id": 1, "bbox": box})
    data = {"images": records, "annotations": notes, "categories": [{"id": 1, "name": "person"}]}
    (root / "annotations.json").write_text(json.dumps(data))
    return load_photos(root, seen, ("person",))[0]


def test_a_large_person_no_teacher_sees_is_a_doubt_where_statues_are_labelled_too(tmp_path: Path) -> None:
    seen: Seen = {
        f"{number}.png": [("person", 0.3, (0.1, 0.1, 0.4, 0.7)), ("cat", 0.4, (0.6, 0.8, 0.7, 1.0))]
        for number in range(20)
    }
    photos = _loosely_labelled(tmp_path, "people_openimages", seen)
    assert photos
    for photo in photos:
        assert np.allclose(photo.boxes, [[0.1, 0.1, 0.4, 0.7], [0.5, 0.9, 0.55, 0.98]]), (
            "seen, and too small to be seen"
        )
        assert np.allclose(photo.doubts, [[0.6, 0.1, 0.9, 0.7]])
        assert np.allclose(photo.others, [[0.6, 0.8, 0.7, 1.0]])
    assert all(len(photo.boxes) == 3 for photo in _loosely_labelled(tmp_path, "people_meeting_2", seen))
    assert all(len(photo.boxes) == 3 for photo in _loosely_labelled(tmp_path, "people_openimages", {})), "nobody looked"


def test_a_class_the_labeller_does_not_know_is_refused_with_a_sentence(tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("person\n???\ncat\n")
    with pytest.raises(ForgeError, match=r"labels\.txt has no class persn; name some of its lines, or none for all"):
        pseudo.look(tmp_path / "model.tflite", labels, tmp_path, frozenset({"persn", "cat"}))


def test_annotations_of_another_form_are_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ForgeError, match=r"annotations\.json cannot be read \(No such file"):
        load_photos(tmp_path, {}, ("person",))
    file = tmp_path / "annotations.json"
    for text in ("[]", "{", '{"images": [{"id": 1}], "annotations": [], "categories": []}'):
        file.write_text(text)
        with pytest.raises(ForgeError, match=r"is not in COCO's form.*docs/training\.md"):
            load_photos(tmp_path, {}, ("person",))
    record = {"id": 1, "file_name": "a.jpg", "width": 9, "height": 9, "set": "mine", "labelled_classes": ["person"]}
    file.write_text(json.dumps({"images": [record], "annotations": [], "categories": []}))
    with pytest.raises(ForgeError, match=r"a\.jpg is listed"):
        load_photos(tmp_path, {}, ("person",))


def test_export_keeps_what_the_network_says(tmp_path: Path) -> None:
    """float32 and int8 files agree with PyTorch, carry their labels, and end in the op."""
    from forge.evaluation.evaluate import Detection, tally
    from forge.tflite.metadata import Card
    from forge.tflite.postprocess import PostProcess
    from forge.training.export import export

    train(dataclasses.replace(SMALL, steps=60, average=0.9, stages=()), render_scene, tmp_path)
    detector = load_detector(tmp_path / "checkpoint.pt")
    rng = np.random.default_rng(5)
    pictures = [render_scene(rng, 96).image for _ in range(20)]
    card = Card("small", "a test's", "Apache-2.0")
    files = export(
        detector,
        pictures,
        tmp_path,
        "small",
        card,
        logit_shift=torch.full((len(LABELS),), 2.0),  # a young network's scores are all near 0.01
        settings=PostProcess(score_threshold=0.005),
        variants=("float32", "int8"),
    )
    with zipfile.ZipFile(files["int8"]) as archive:
        assert archive.read("labels.txt").decode().split() == list(LABELS)
    float32, int8 = Runner(files["float32"]), Runner(files["int8"])
    assert int8.spec.dtype == "int8"
    assert (int8.spec.scale, int8.spec.zero_point) == (1 / 128, 0)
    anchors = torch.from_numpy(make_anchors(96, 3))
    for picture in pictures[:5]:
        found = float32.detect(np.ascontiguousarray(picture[..., ::-1]))
        with torch.no_grad():
            tensor = (torch.from_numpy(picture).float() - 127.5) / 127.5
            _, logits = detector(tensor.permute(2, 0, 1)[None])
        assert found[0].score == pytest.approx(float(torch.sigmoid(logits + 2.0).max()), abs=1e-3)
    assert len(anchors) == sum(side * side for side in (12, 6, 3))
    assert isinstance(found[0], Detection)
    best = [int8.detect(np.ascontiguousarray(p[..., ::-1]))[0].score for p in pictures]
    exact = [float32.detect(np.ascontiguousarray(p[..., ::-1]))[0].score for p in pictures]
    assert np.abs(np.array(best) - np.array(exact)).mean() < 0.05
    assert tally([], found).invented == len(found)
