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

import torch

from forge.batches import MakeSample, TargetMaker, prefetch
from forge.losses import detection_loss
from forge.net import Detector, NetConfig

_WARM_UP = 0.02  # of the run
_FINAL_RATE = 0.01  # of the peak learning rate
_GRADIENT_NORM = 10.0
_BAD_STEPS_IN_A_ROW = 5
_LOG_STEPS = 50
_LONGEST_STEP_S = 20.0


@dataclass(frozen=True)
class TrainConfig:
    """steps: length of the run. minutes: if set, the run lasts this long instead, and `steps` is ignored
    (which makes it depend on the machine; for a reproducible run set steps).
    stages: (fraction of the run, input px): smaller pictures first cost less for the same lesson.
    average: decay per step of the moving average of the weights.
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


class NonFiniteLossError(RuntimeError):
    """The loss stayed NaN or infinite."""


def learning_rate(progress: float, peak: float) -> float:
    """Linear warm-up, then half a cosine; progress 0..1."""
    if progress < _WARM_UP:
        return peak * (0.05 + 0.95 * progress / _WARM_UP)
    turned = (progress - _WARM_UP) / (1 - _WARM_UP)
    return peak * (_FINAL_RATE + (1 - _FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * min(turned, 1.0))))


def _average(into: Detector, new: Detector, decay: float) -> None:
    with torch.no_grad():
        for kept, fresh in zip(into.state_dict().values(), new.state_dict().values(), strict=True):
            if kept.dtype.is_floating_point:
                kept.lerp_(fresh, 1 - decay)
            else:
                kept.copy_(fresh)


class _Run:
    """Everything a checkpoint holds."""

    def __init__(self, config: TrainConfig, folder: Path) -> None:
        self.config = config
        self.path = folder / "checkpoint.pt"
        torch.manual_seed(config.seed)
        self.net = Detector(config.net).to(memory_format=torch.channels_last)
        self.averaged = copy.deepcopy(self.net)
        decayed = [p for p in self.net.parameters() if p.ndim > 1]
        rest = [p for p in self.net.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=config.rate)
        self.step = 0
        self.seconds = 0.0
        if self.path.exists():
            self.load()

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

    def save(self) -> None:
        state = {
            "net": self.net.state_dict(),
            "averaged": self.averaged.state_dict(),
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


def train(config: TrainConfig, make: MakeSample, folder: Path) -> Detector:
    """Train, or go on training, in `folder`; the averaged network, in evaluation mode.

    Raises NonFiniteLossError when the loss is NaN or infinite several steps in a row, also after going
    back to the last checkpoint once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(asdict(config), indent=1))
    torch.set_num_threads(config.threads)
    run = _Run(config, folder)
    bad_in_a_row, went_back = 0, False
    while run.progress < 1.0:
        size = run.size
        targets = TargetMaker(config.net.labels, size, config.net.levels)
        anchors = torch.from_numpy(targets.anchors)
        run.net.train()
        # After going back, other batches: the same ones would end the same way.
        batches = prefetch(make, targets, config.batch, config.seed + 1000 * went_back, run.step)
        totals, started = [0.0, 0.0, 0], time.monotonic()
        ended = time.monotonic()
        for inputs, wanted in batches:
            for group in run.optimiser.param_groups:
                group["lr"] = learning_rate(run.progress, config.rate)
            with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
                codes, logits = run.net(inputs)
            class_loss, box_loss = detection_loss(codes.float(), logits.float(), anchors, wanted)
            loss = class_loss + box_loss
            run.optimiser.zero_grad(set_to_none=True)
            if torch.isfinite(loss):
                bad_in_a_row = 0
                loss.backward()
                norm = torch.nn.utils.clip_grad_norm_(run.net.parameters(), _GRADIENT_NORM)
                if torch.isfinite(norm):  # a finite loss may still have an infinite gradient
                    run.optimiser.step()
                # A young average would be made of the random start; let its memory grow with the run.
                _average(run.averaged, run.net, min(config.average, (1 + run.step) / (10 + run.step)))
                totals = [totals[0] + float(class_loss.detach()), totals[1] + float(box_loss.detach()), totals[2] + 1]
            else:
                bad_in_a_row += 1
                print(f"step {run.step}: loss is {float(loss)}; step left out", flush=True)
                if bad_in_a_row >= _BAD_STEPS_IN_A_ROW:
                    break
            run.step += 1
            # A pause (a stopped process) is not training time: no step takes 20 s otherwise.
            run.seconds += min(time.monotonic() - ended, _LONGEST_STEP_S)
            ended = time.monotonic()
            if run.step % _LOG_STEPS == 0:
                speed = totals[2] * config.batch / (time.monotonic() - started)
                print(
                    f"step {run.step} {100 * run.progress:.1f} % {size} px: classes {totals[0] / max(totals[2], 1):.3f}"
                    f" boxes {totals[1] / max(totals[2], 1):.3f}, {speed:.0f} pictures/s",
                    flush=True,
                )
                totals, started = [0.0, 0.0, 0], time.monotonic()
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
