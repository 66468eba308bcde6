"""The training loop: AdamW, cosine schedule, moving average of the weights, checkpoints, a guard.

    train(TrainConfig(net=NetConfig(labels=("circle",)), steps=2000), render_scene, Path("run"))

A run is continued from its last checkpoint when it is started again with the same folder.
"""

from __future__ import annotations

import copy
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from forge.progress import ProgressLine
from forge.training.batches import MakeSample, TargetMaker, lessons_of, prefetch
from forge.training.imitation import Imitation, Lessons
from forge.training.losses import detection_loss
from forge.training.net import Detector, NetConfig
from forge.training.qat import FakeQuantization
from forge.training.teacher import Teacher

_WARM_UP = 0.02  # of the run
_FINAL_RATE = 0.01  # of the peak learning rate
_GRADIENT_NORM = 10.0
_BAD_STEPS_IN_A_ROW = 5
_LOG_STEPS = 50
_STATISTICS_PICTURES = 64
_LONGEST_STEP_S = 20.0


@dataclass(frozen=True)
class TrainConfig:
    """steps: length of the run. minutes: if set, the run lasts this long instead, and `steps` is ignored
    (which makes it depend on the machine; for a reproducible run set steps).
    stages: (fraction of the run, input px): smaller pictures first cost less for the same lesson.
    average: decay per step of the moving average of the weights.
    imitation: weight of the imitation of a teacher at the start, and at the end of the run.
    imitated: share of each batch that the teacher looks at; looking and imitating are two fifths of a step. 0: none.
    balance: how much oftener a sampler shows rare classes: 0 as they occur, 1 all alike.
    rounded_from: fraction of the run from which weights and activations are rounded as in int8.
    """

    net: NetConfig
    steps: int = 3000
    minutes: float = 0.0
    batch: int = 32
    rate: float = 2e-3
    weight_decay: float = 1e-4
    average: float = 0.998
    stages: tuple[tuple[float, int], ...] = ()
    seed: int = 0
    threads: int = 1
    checkpoint_steps: int = 200
    bfloat16: bool = False
    imitation: tuple[float, float] = (1.0, 0.2)
    imitated: float = 1.0
    balance: float = 0.5
    rounded_from: float = 1.0


class NonFiniteLossError(RuntimeError):
    """The loss stayed NaN or infinite."""


def learning_rate(progress: float, peak: float) -> float:
    """Linear warm-up, then half a cosine; progress 0..1."""
    if progress < _WARM_UP:
        return peak * (0.05 + 0.95 * progress / _WARM_UP)
    turned = (progress - _WARM_UP) / (1 - _WARM_UP)
    return peak * (_FINAL_RATE + (1 - _FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * min(turned, 1.0))))


def imitation_weight(progress: float, ends: tuple[float, float]) -> float:
    """From the first to the second of `ends` along half a cosine; progress 0..1."""
    first, last = ends
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def _average(into: Detector, new: Detector, decay: float) -> None:
    with torch.no_grad():
        for kept, fresh in zip(into.state_dict().values(), new.state_dict().values(), strict=True):
            if kept.dtype.is_floating_point:
                kept.lerp_(fresh, 1 - decay)
            else:
                kept.copy_(fresh)


class Totals:
    """Losses summed up since the last line of the log."""

    def __init__(self) -> None:
        self.steps = 0
        self._sums = [0.0, 0.0, 0.0]

    def add(self, *losses: torch.Tensor) -> None:
        """classes, boxes, imitation of one step."""
        self.steps += 1
        self._sums = [total + float(loss.detach()) for total, loss in zip(self._sums, losses, strict=True)]

    def __str__(self) -> str:
        classes, boxes, imitation = (total / max(self.steps, 1) for total in self._sums)
        return f"classes {classes:.3f} boxes {boxes:.3f} imitation {imitation:.3f}"


class _Pupil(nn.Module):
    """The network with what it learns from, as one module."""

    def __init__(self, net: Detector, imitation: Imitation | None):
        super().__init__()
        self.net = net
        self.imitation = imitation

    def forward(self, inputs: torch.Tensor, lessons: Lessons | None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        taps = self.net.backbone(inputs)
        levels = self.net.pyramid(taps)
        codes, logits = self.net.heads(levels)
        if self.imitation is None or lessons is None:
            return codes, logits, torch.zeros(())
        seen = len(lessons.near)
        return codes, logits, self.imitation([m[:seen] for m in taps], [m[:seen] for m in levels], lessons)


class _Run:
    """Everything a checkpoint holds."""

    def __init__(
        self, config: TrainConfig, folder: Path, make: MakeSample, teacher: Teacher | None, start: Path | None
    ) -> None:
        self.config = config
        self.path = folder / "checkpoint.pt"
        torch.manual_seed(config.seed)
        self.net = Detector(config.net).to(memory_format=torch.channels_last)
        self.averaged = copy.deepcopy(self.net)
        self.imitation: Imitation | None = None
        if teacher is not None:
            rng = np.random.default_rng(config.seed)
            some = [make(rng, config.net.size) for _ in range(_STATISTICS_PICTURES)]
            self.imitation = Imitation(self.net, lessons_of(some, teacher)).to(memory_format=torch.channels_last)
        self.pupil = _Pupil(self.net, self.imitation)
        self.rounding = FakeQuantization(self.net)
        parameters = list(self.pupil.parameters())
        decayed = [p for p in parameters if p.ndim > 1]
        rest = [p for p in parameters if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=config.rate)
        self.step = 0
        self.seconds = 0.0
        if self.path.exists():
            self.load()
        elif start is not None:
            state = torch.load(start, weights_only=True)
            for net in (self.net, self.averaged):
                net.grow_from(state["averaged"])
            if self.imitation is not None and state["imitation"]:
                self.imitation.load_state_dict(state["imitation"])

    @property
    def progress(self) -> float:
        if self.config.minutes:
            return min(self.seconds / (60 * self.config.minutes), 1.0)
        return self.step / self.config.steps

    @property
    def size(self) -> int:
        for until, size in self.config.stages:
            if self.progress < until:
                return size
        return self.config.net.size

    def forward(self, inputs: torch.Tensor, lessons: Lessons | None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Box codes, class logits, and the distance from the teacher; rounded, when it is time to."""
        if self.progress < self.config.rounded_from:
            return self.pupil(inputs, lessons)
        with self.rounding.felt_by(self.pupil) as weights:
            return torch.func.functional_call(self.pupil, weights, (inputs, lessons))

    def save(self) -> None:
        state = {
            "net": self.net.state_dict(),
            "averaged": self.averaged.state_dict(),
            "imitation": self.imitation.state_dict() if self.imitation else {},
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "config": self.config.net.as_dict(),
        }
        fresh = self.path.with_suffix(".new")
        torch.save(state, fresh)
        fresh.replace(self.path)  # a killed run leaves the last whole checkpoint

    def load(self) -> None:
        state = torch.load(self.path, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.averaged.load_state_dict(state["averaged"])
        if self.imitation is not None:
            self.imitation.load_state_dict(state["imitation"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]


def load_detector(checkpoint: Path) -> Detector:
    """The averaged network of a checkpoint, in evaluation mode."""
    state = torch.load(checkpoint, weights_only=True)
    config = dict(state["config"])
    config["labels"] = tuple(config["labels"])
    net = Detector(NetConfig(**config))
    net.load_state_dict(state["averaged"])
    return net.eval()


def train(
    config: TrainConfig, make: MakeSample, folder: Path, teacher: Teacher | None = None, start: Path | None = None
) -> Detector:
    """Train, or go on training, in `folder`; the averaged network, in evaluation mode.

    teacher: to be imitated beside what the samples say, unless `config.imitated` is 0; a run has one from its
    beginning, or never.
    start: the checkpoint of another run, whose averaged network this one begins with.

    Raises NonFiniteLossError when the loss is NaN or infinite several steps in a row, also after going
    back to the last checkpoint once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(asdict(config), indent=1))
    torch.set_num_threads(config.threads)
    imitated = round(config.imitated * config.batch)
    if not imitated:
        teacher = None
    run = _Run(config, folder, make, teacher, start)
    bad_in_a_row, went_back = 0, False
    progress = ProgressLine()
    while run.progress < 1.0:
        size = run.size
        targets = TargetMaker(config.net.labels, size, config.net.levels)
        anchors = torch.from_numpy(targets.anchors)
        run.net.train()
        # After going back, other batches: the same ones would end the same way.
        batches = prefetch(make, targets, config.batch, config.seed + 1000 * went_back, run.step, teacher, imitated)
        totals, started = Totals(), time.monotonic()
        ended = time.monotonic()
        for inputs, wanted, lessons in batches:
            for group in run.optimiser.param_groups:
                group["lr"] = learning_rate(run.progress, config.rate)
            with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
                codes, logits, distance = run.forward(inputs, lessons)
            class_loss, box_loss = detection_loss(codes.float(), logits.float(), anchors, wanted)
            loss = class_loss + box_loss + imitation_weight(run.progress, config.imitation) * distance
            run.optimiser.zero_grad(set_to_none=True)
            if torch.isfinite(loss):
                bad_in_a_row = 0
                loss.backward()
                norm = torch.nn.utils.clip_grad_norm_(run.net.parameters(), _GRADIENT_NORM)
                if torch.isfinite(norm):  # a finite loss may still have an infinite gradient
                    run.optimiser.step()
                # A young average would be made of the random start; let its memory grow with the run.
                young = 1.0 if start is not None else (1 + run.step) / (10 + run.step)
                _average(run.averaged, run.net, min(config.average, young))
                totals.add(class_loss, box_loss, distance)
            else:
                bad_in_a_row += 1
                print(f"step {run.step}: loss is {float(loss)}; step left out", flush=True)
                if bad_in_a_row >= _BAD_STEPS_IN_A_ROW:
                    break
            run.step += 1
            # A pause (a stopped process) is not training time: no step takes 20 s otherwise.
            run.seconds += min(time.monotonic() - ended, _LONGEST_STEP_S)
            ended = time.monotonic()
            progress(f"training, step {run.step}, per mille", int(1000 * run.progress), 1000)
            if run.step % _LOG_STEPS == 0:
                speed = totals.steps * config.batch / (time.monotonic() - started)
                print(
                    f"step {run.step} {100 * run.progress:.1f} % {size} px: {totals}, {speed:.0f} pictures/s",
                    flush=True,
                )
                totals, started = Totals(), time.monotonic()
            if run.step % config.checkpoint_steps == 0:
                run.save()
            if run.progress >= 1.0 or run.size != size:
                break
        batches.close()
        if bad_in_a_row >= _BAD_STEPS_IN_A_ROW:
            if went_back or not run.path.exists():
                raise NonFiniteLossError(
                    f"the loss was not finite {bad_in_a_row} steps in a row (step {run.step}, seed {config.seed});"
                    " lower the learning rate or train without bfloat16"
                )
            print("going back to the last checkpoint", flush=True)
            run.load()
            went_back, bad_in_a_row = True, 0
    run.save()
    return run.averaged.eval()
