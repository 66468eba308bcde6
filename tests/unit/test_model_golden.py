"""Public models on a public picture: what they are known to see, on every runtime and rung."""

from __future__ import annotations

import pytest
from detectorkit import ASSETS, COCO_FLOAT, COCO_UINT8, FPN_LITE, PETS, detect, load_model, picture

LABELS = str(ASSETS / "models" / "coral_coco_labels.txt")
CATS_AND_DOG = [
    ("cat", (0.045, 0.661, 0.373, 0.993)),
    ("cat", (0.505, 0.269, 0.827, 1.0)),
    ("cat", (0.217, 0.657, 0.366, 1.0)),
    ("dog", (0.325, 0.329, 0.555, 1.0)),
]
"""xmin, ymin, xmax, ymax. Three small animals and one large one, on a sofa; int8 kernels of different
back ends differ in the last bit, so scores and boxes have a tolerance."""

pytestmark = pytest.mark.skipif(not PETS.exists(), reason="the shared assets are not here")


@pytest.mark.parametrize("delegate", ["xnnpack", "none"])
@pytest.mark.parametrize("path", [COCO_UINT8, COCO_FLOAT], ids=["uint8", "float32"])
def test_coco_v1(path, delegate):
    model = load_model(path, delegate, labels=LABELS)
    found = detect(model, picture(PETS, model.spec))
    assert [d.label for d in found] == [label for label, _ in CATS_AND_DOG]
    for detection, (_, box) in zip(found, CATS_AND_DOG, strict=True):
        assert detection.box == pytest.approx(box, abs=0.02)
    assert [d.score for d in found] == pytest.approx([0.64, 0.61, 0.56, 0.51], abs=0.03)


def test_fpn_lite():
    model = load_model(FPN_LITE, labels=LABELS)
    assert (model.spec.width, model.spec.height, model.spec.dtype) == (320, 320, "float32")
    found = detect(model, picture(PETS, model.spec), 0.3)
    assert {"cat", "dog"} <= {d.label for d in found}
    best = next(d for d in found if d.label == "cat")
    assert best.box == pytest.approx((0.726, 0.686, 0.898, 0.997), abs=0.03)


def test_labels_inside_the_official_model():
    model = load_model(COCO_UINT8)
    assert len(model.labels) == 90
    assert model.labels[16] == "cat"


def test_a_delegate_is_believed_only_when_it_is_in_the_graph():
    xnnpack, plain = load_model(COCO_FLOAT), load_model(COCO_FLOAT, "none")
    assert xnnpack.ready.delegate == "xnnpack"
    assert 0 < xnnpack.ready.delegate_nodes <= xnnpack.ready.total_nodes == plain.ready.total_nodes
    assert (plain.ready.delegate, plain.ready.delegate_nodes) == ("none", 0)
