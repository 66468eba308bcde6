"""The two models from beginning to end: data, training, export, judgement."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import torch

from forge.evaluation.judge import on_test_card
from forge.tflite.metadata import Card
from forge.tflite.postprocess import PostProcess
from forge.training.batches import MakeSample
from forge.training.export import Image, export
from forge.training.held_out import on_held_out, table
from forge.training.photos import NO_BOXES, Photo, load_frames, load_photos
from forge.training.pseudo import read
from forge.training.sampler import PhotoSampler, empty_window
from forge.training.scenes import render_scene
from forge.training.teacher import Teacher, make_teacher
from forge.training.thresholds import best_thresholds, logit_shift
from forge.training.train import TrainConfig, load_detector, train
from vigild.camera.testcard import LABELS as SHAPES
from vigild.camera.testcard import TestCard

_CALIBRATION_PICTURES = 100
_TEACHER_PICTURES = 60  # for its ranges
_TESTCARD_LOGIT_SHIFT = 0.4  # true shapes then score 0.6 and more
# Suppression within each class: a rider's box does not cost the motorcycle its own.
_PHOTOS_OP = PostProcess(regular_nms=True, iou_threshold=0.45, max_detections=50)
_THRESHOLD_CARDS = range(1000, 1030)
_CALIBRATION_SEED = 20_000  # apart from any training step's

TESTCARD_CARD = Card(
    name="vigild test card",
    description="Finds the shapes of vigild's own test card, which it draws when there is no camera. SSD on"
    " MobileNetV2 x 0.35, 192 px, trained from scratch on rendered scenes only.",
    license="Apache-2.0",
)
PHOTOS_CARD = Card(
    name="vigild people and vehicles",
    description="Finds people and vehicles, and the shapes of vigild's test card. SSD on MobileNetV2, trained from"
    " scratch; see README.md beside the file for data, attribution and limits.",
    license="Apache-2.0",
)


def _calibration(make: MakeSample, size: int, count: int = _CALIBRATION_PICTURES) -> list[Image]:
    rng = np.random.default_rng(_CALIBRATION_SEED)
    return [make(rng, size).image for _ in range(count)]


def testcard(config: TrainConfig, run: Path, out: Path) -> None:
    """Train and export testcard_ssd_int8.tflite into `out`, and print what it is worth."""
    detector = train(config, render_scene, run)
    pictures = _calibration(render_scene, config.net.size)
    shift = torch.full((len(config.net.labels),), _TESTCARD_LOGIT_SHIFT)
    for path in export(detector, pictures, out, "testcard_ssd", TESTCARD_CARD, logit_shift=shift).values():
        print(on_test_card(path, cards=10))


def _fully_judged(photo: Photo, labels: tuple[str, ...]) -> Photo:
    """Judged for every class that the teacher is sure of, too: most pictures that people labelled for a class show
    one, so thresholds set on these alone would be too low for an empty street."""
    return dataclasses.replace(photo, judged=frozenset(labels) - frozenset(photo.doubted))


def _empty_parts(photos: list[Photo], labels: tuple[str, ...], rng: np.random.Generator) -> list[Photo]:
    """Of each picture, where there is one, a part that shows nothing wanted: half of what a camera sees in a day."""
    parts = []
    for photo in photos:
        window = empty_window(rng, photo, around_others=bool(rng.random() < 0.5))
        if window is None:
            continue
        part = photo.part(window)
        parts.append(Photo(f"part of {photo.name}", part, NO_BOXES, [], NO_BOXES, [], frozenset(labels)))
    return parts


def _cards() -> list[Photo]:
    """Test cards to set the shapes' thresholds on; not those that `forge judge` and the daemon draw."""
    cards = []
    for seed in _THRESHOLD_CARDS:
        card = TestCard(640, 480, seed)
        for number in range(0, 720, 120):
            image, truths = card.render(number)
            boxes = np.array([truth.box for truth in truths], np.float32).reshape(-1, 4)
            classes = [truth.label for truth in truths]
            cards.append(Photo(f"card {seed}", image, boxes, classes, NO_BOXES, [], frozenset(SHAPES)))
    return cards


def _teacher(source: Path, photos: list[Photo], run: Path) -> Teacher:
    """The int8 teacher of a run, made once."""
    path = run / "teacher.tflite"
    if not path.exists():
        some = photos[:: max(len(photos) // _TEACHER_PICTURES, 1)]
        make_teacher(source, (cv2.cvtColor(photo.image, cv2.COLOR_BGR2RGB) for photo in some), path)
    return Teacher(path)


def photos(
    config: TrainConfig,
    run: Path,
    out: Path,
    *,
    data: Path,
    seen: Path | None,
    frames: Path | None,
    frames_seen: Path | None,
    teacher: Path | None,
    start: Path | None,
    export_only: bool = False,
    train_only: bool = False,
) -> None:
    """Train and export the detector of people and vehicles; a table beside it, and printed, says what it is worth."""
    cv2.setNumThreads(1)  # its pictures are small, and the cores are for training
    labels = config.net.labels
    real = tuple(label for label in labels if label not in SHAPES)
    training, held_out = load_photos(data, read(seen) if seen else {}, real)
    if frames is not None and frames_seen is not None:
        training += load_frames(frames, read(frames_seen), real)
    print(f"{len(training)} pictures to train on, {len(held_out)} held out", flush=True)
    sampler = PhotoSampler(training, real, balance=config.balance)
    if not export_only:
        imitated = _teacher(teacher, training, run) if teacher and config.imitated else None
        train(config, sampler.sample, run, imitated, start)
    if train_only:
        return
    detector = load_detector(run / "checkpoint.pt")
    # Thresholds are set on training pictures, so that the held-out ones stay unseen by any choice.
    rng = np.random.default_rng(0)
    some = [training[int(i)] for i in rng.choice(len(training), min(400, len(training)), replace=False)]
    shown = [_fully_judged(photo, real) for photo in some] + _empty_parts(some, real, rng) + _cards()
    thresholds = best_thresholds(detector, shown)
    print("best thresholds before the shift:", {k: round(v, 3) for k, v in thresholds.items()}, flush=True)
    shift = logit_shift(labels, thresholds)
    size = config.net.size
    pictures = [cv2.cvtColor(cv2.resize(photo.image, (size, size)), cv2.COLOR_BGR2RGB) for photo in some[:80]]
    pictures += _calibration(render_scene, size, 30)
    name = f"people_vehicles_ssd_{size}"
    files = export(
        detector,
        pictures,
        out,
        name,
        PHOTOS_CARD,
        logit_shift=torch.tensor(shift),
        settings=_PHOTOS_OP,
        variants=("int8", "float16", "float32"),
    )
    report = {variant: on_held_out(path, held_out, real) for variant, path in files.items()}
    text = table(report)
    print(text, flush=True)
    (out / f"{name}.md").write_text(text + "\n")
    for path in files.values():
        print(on_test_card(path, cards=10), flush=True)
