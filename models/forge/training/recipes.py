"""Recipes: everything that decides how a model comes out. PHOTOS makes those in models/embedded.

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

# In steps what the shipped run did in 86 minutes of two shared cores (30 % of the time at 128 px, 45 % at 192).
PHOTOS = TrainConfig(
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

# For the smallest boards and for shedding load: the same network, which goes on from the first one's end and gets
# used to how large things are in its smaller pictures.
PHOTOS_192 = dataclasses.replace(
    PHOTOS,
    net=dataclasses.replace(PHOTOS.net, size=192),
    steps=330,
    rate=3e-4,
    stages=(),
    imitation=(0.2, 0.2),
    rounded_from=0.3,
)
