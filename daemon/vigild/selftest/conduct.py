"""What is tried, in which order, and what came of it.

    tests = Selftests(ModelConfig(delegate="/opt/lib.so"))
    for outcome in tests.configured(): ...     # down the delegate ladder, to the rung that runs
    for outcome in tests.every(): ...          # each variant on each runtime, on each delegate

Nothing native is loaded here; each try is a process that may hang, abort or segfault.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from vigild import runtimes
from vigild.catalogue import embedded, store
from vigild.config.schema import ModelConfig
from vigild.delegates import edgetpu
from vigild.delegates.ladder import is_edgetpu, is_external, rungs
from vigild.sandbox.fallback import died_starting, on_runtime
from vigild.sandbox.parent import LIMIT_S, TaskResult, run
from vigild.selftest.judge import Agreement, Truth, against_plain, against_truth
from vigild.selftest.tasks import Cards, CardsTask

CARDS = tuple(range(0, 720, 60))
"""Over one revolution of the card's shapes: twelve pictures of six objects, none twice in the same place."""

CARD_LIMIT_S = 5.0
"""For one of them: a float network on plain kernels on a Raspberry Pi Zero takes about half of that."""

_OF_THE_DELEGATE = ("delegate", "edgetpu_model")
"""Refusals after which the next rung of the ladder is worth trying."""

_TOOK_NONE = "took none of the model's"
"""What a delegate is refused with that is not made for a model's type (`detector.model`)."""

State = Literal["right", "wrong", "failed", "skipped"]
"""failed: it gave no results at all; skipped: it cannot be tried here."""


class Outcome(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What came of one combination."""

    state: State
    variant: str = ""
    runtime: str = ""
    version: str = ""
    delegate: str = ""
    """What was asked for."""
    executes: str = ""
    """What really executes the graph."""
    taken: int = 0
    nodes: int = 0
    """Of the graph, and how many of them the delegate took."""
    dtype: str = ""
    """Of the model's input."""
    truth: Truth | None = None
    plain: Truth | None = None
    """How plain kernels did on the same runtime; absent where they are what is tested, or gave no results."""
    agreement: Agreement | None = None
    """With plain kernels; absent where those are wrong themselves, or not there."""
    reason: str = ""
    """Why it failed or was skipped, as a clause; or why there is no agreement."""
    code: str = ""
    """Of the refusal that it failed with (`ModelError`); empty when its process died or hung."""
    invoke_ms: float = 0.0
    """The fastest of the cards."""
    seconds: float = 0.0
    """All of it, from the start of the process."""


class _Run(NamedTuple):
    result: TaskResult
    seconds: float

    @property
    def cards(self) -> Cards | None:
        answer = self.result.answer
        return None if answer is None or "refused" in answer else msgspec.convert(answer, Cards)

    @property
    def reason(self) -> str:
        """Why there are no cards."""
        return self.result.death if self.result.answer is None else str(self.result.answer["refused"]).rstrip(".")

    @property
    def code(self) -> str:
        """The refusal's; empty for a death, and for cards."""
        return "" if self.result.answer is None else str(self.result.answer.get("code", ""))


class Selftests:
    """Of the embedded model, with the runtime, delegate and threads that a configuration asks for."""

    def __init__(self, config: ModelConfig, root: Path = Path("/")) -> None:
        """`config`: whose variant counts if its model is the embedded one; nothing else of its model does.

        `root`: what /sys and /dev are below; Edge TPUs are looked for there.
        """
        self._root = root
        own = config.path is None and config.name in (None, embedded.ENTRY)
        self._variant = config.variant if own else "auto"
        self._config = config
        self._plain: dict[tuple[str, str], _Run] = {}

    def configured(self) -> Iterator[Outcome]:
        """Down the delegate ladder until a rung gives results."""
        yield from self._edgetpu()
        for rung in rungs(self._config.delegate, edgetpu=False, cpu=True):
            done = self._run(self._variant, self._config.runtime, rung)
            yield self._outcome(self._variant, self._config.runtime, rung, done)
            if done.cards is not None or (done.code and done.code not in _OF_THE_DELEGATE):
                return  # it runs; or what is wrong with it another rung does not mend

    def every(self) -> Iterator[Outcome]:
        """Each variant that is here, on each runtime, with XNNPACK, plain kernels and a configured delegate."""
        yield from self._edgetpu()
        entry = embedded.entry()
        variants = [v.name for v in entry.variants if not v.delegate and store.find(entry, v) is not None]
        delegates = ["xnnpack", "none"]
        demanded = self._config.delegate
        if demanded != "auto" and is_external(demanded) and not is_edgetpu(demanded):
            delegates.append(demanded)
        for package in runtimes.PACKAGES:
            if not runtimes.version(package):
                reason = f"it is not installed ({package.install})"
                yield Outcome(state="skipped", runtime=package.name, reason=reason)
                continue
            for variant, delegate in ((v, d) for v in variants for d in delegates):
                done = self._run(variant, package.name, delegate)
                outcome = self._outcome(variant, package.name, delegate, done)
                if outcome.code == "delegate" and _TOOK_NONE in outcome.reason:
                    outcome.state = "skipped"  # an accelerator for 8-bit graphs has no business with the float ones
                yield outcome
                if done.code in ("runtime", "import") or died_starting(done.result):
                    break  # the runtime itself does not work: once is enough

    def _edgetpu(self) -> Iterator[Outcome]:
        """The one thing here that the embedded model says nothing about."""
        there = " and ".join(device.name for device in edgetpu.devices(self._root))
        if there and not is_edgetpu(self._config.delegate):
            reason = (
                f"{there}: the embedded model has no build for it; vigild doctor tries it with a model that has one"
            )
            yield Outcome(state="skipped", delegate="edgetpu", reason=reason)

    def _run(self, variant: str, runtime: str, delegate: str) -> _Run:
        known = self._plain.get((variant, runtime))
        if known is not None and delegate == "none":
            return known
        wanted = self._config
        config = ModelConfig(
            variant=variant,
            delegate=wanted.delegate,
            delegate_options=wanted.delegate_options,
            threads=wanted.threads,
        )

        def on(name: str) -> TaskResult:
            task = CardsTask(config=config, runtime=name, delegate=delegate, numbers=list(CARDS))
            return run("vigild.selftest.tasks", "cards", task, LIMIT_S + len(CARDS) * CARD_LIMIT_S)

        begun_s = time.monotonic()
        done = _Run(on_runtime(runtime, on), time.monotonic() - begun_s)
        if delegate == "none":
            self._plain[variant, runtime] = done
        return done

    def _outcome(self, variant: str, runtime: str, delegate: str, done: _Run) -> Outcome:
        cards = done.cards
        if cards is None:
            return Outcome(
                state="failed",
                variant=variant,
                runtime=runtime,
                delegate=delegate,
                reason=done.reason,
                code=done.code,
                seconds=done.seconds,
            )
        truth = against_truth(cards.cards)
        outcome = Outcome(
            state="right" if truth.right else "wrong",
            variant=cards.variant,
            runtime=cards.runtime,
            version=cards.version,
            delegate=delegate,
            executes=cards.delegate,
            taken=cards.taken,
            nodes=cards.nodes,
            dtype=cards.dtype,
            truth=truth,
            invoke_ms=min(card.invoke_ms for card in cards.cards),
            seconds=done.seconds,
        )
        if cards.delegate != "none":
            self._compare(outcome, cards)
        return outcome

    def _compare(self, outcome: Outcome, cards: Cards) -> None:
        """With plain kernels on the same runtime."""
        done = self._run(outcome.variant, outcome.runtime, "none")
        plain = done.cards
        if plain is None:
            outcome.reason = f"plain kernels gave nothing to compare with: {done.reason}"
            return
        outcome.plain = against_truth(plain.cards)
        if not outcome.plain.right:
            outcome.reason = "plain kernels are wrong too, so they are nothing to compare with"
            return
        outcome.agreement = against_plain(cards.cards, plain.cards)
        if not outcome.agreement.within(cards.dtype):
            outcome.state = "wrong"
