"""Recipes: everything that decides how a model comes out. PHOTOS_256 and PHOTOS_192 make those in models/embedded.

TESTCARD is a small network that knows the test card alone: trained in minutes, it shows that the route works.
"""

from __future__ import annotations

import dataclasses

from forge.training.net import NetConfig
from forge.training.train import TrainConfig
from vigild.camera.testcard import LABELS

TESTCARD = TrainConfig(
    net=NetConfig(labels=LABELS, size=192, width=0.35, pyramid_channels=48, levels=3),
    steps=2950,
    batch=24,
    rate=3e-3,
    average=0.995,
    stages=((0.18, 128),),
    seed=1,
)

# All are in steps what the shipped runs did by the clock, on two shared cores: this one in 86 minutes.
PHOTOS_FIRST = TrainConfig(
    net=NetConfig(
        labels=("person", "car", "motorcycle", "bus", "truck", *LABELS),
        size=256,
        width=0.5,
        pyramid_channels=64,
        levels=4,
    ),
    steps=5810,
    batch=32,
    rate=2e-3,
    average=0.998,
    stages=((0.41, 128), (0.82, 192)),
    seed=1,
    bfloat16=True,
    imitation=(1.0, 0.2),
    rounded_from=0.97,
)

# Goes on from PHOTOS_FIRST with more channels and deeper heads, which what is learned so far fits into: a small
# network learns the beginning cheaply. Imitating it is two fifths of a step, so it looks at a quarter of a batch.
PHOTOS_SECOND = dataclasses.replace(
    PHOTOS_FIRST,
    net=dataclasses.replace(PHOTOS_FIRST.net, late_expansion=10, tower_depth=2),
    steps=6360,
    rate=1.5e-3,
    average=0.9985,
    stages=((0.46, 192),),
    seed=11,
    imitation=(0.5, 0.1),
    imitated=0.25,
    rounded_from=0.97,
)

# Once more, with still more channels, and nearer to how often each class occurs.
PHOTOS_THIRD = dataclasses.replace(
    PHOTOS_SECOND,
    net=dataclasses.replace(PHOTOS_SECOND.net, late_expansion=12),
    steps=3400,
    seed=31,
    rounded_from=1.0,
    balance=0.25,
)

# From PHOTOS_THIRD's end: all at full size, without the teacher.
PHOTOS_256 = dataclasses.replace(
    PHOTOS_THIRD,
    steps=1610,
    rate=1e-3,
    average=0.997,
    stages=(),
    seed=41,
    imitated=0.0,
    rounded_from=0.9,
)

# For the smallest boards and for shedding load: the same network, which goes on from PHOTOS_256's end and gets
# used to how large things are in its smaller pictures.
PHOTOS_192 = dataclasses.replace(
    PHOTOS_THIRD,
    net=dataclasses.replace(PHOTOS_THIRD.net, size=192),
    steps=276,
    rate=3e-4,
    stages=(),
    imitated=0.0,
    rounded_from=0.4,
)

OF_PHOTOS = {
    "first": PHOTOS_FIRST,
    "second": PHOTOS_SECOND,
    "third": PHOTOS_THIRD,
    "256": PHOTOS_256,
    "192": PHOTOS_192,
}
"""By the name `forge photos --recipe` takes."""
