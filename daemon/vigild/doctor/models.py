"""Which models are here, and whether the configured one runs on what is configured for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vigild.catalogue import library, store
from vigild.config.schema import ModelConfig
from vigild.delegates import edgetpu
from vigild.delegates.ladder import rungs
from vigild.delegates.prospects import builds
from vigild.doctor import tasks
from vigild.doctor.finding import Finding, note, ok, problem
from vigild.doctor.tasks import ModelTask
from vigild.figures import milliseconds
from vigild.sandbox.fallback import on_runtime
from vigild.sandbox.parent import TaskResult, run


def checks(root: Path, config: ModelConfig) -> Iterator[Finding]:
    yield from _manifests()
    if config.path is not None or config.name is not None or config.delegate != "auto":
        yield from _configured(root, config)
    else:
        yield ok("model", "the embedded one (none is configured)")


def _manifests() -> Iterator[Finding]:
    found = library.load()
    for trouble in found.problems:
        yield problem("manifest", trouble, "correct the manifest: vigild models list")
    here = [
        f"{entry.name}:{variant.name}"
        for entry in found.entries.values()
        for variant in entry.variants
        if store.find(entry, variant) is not None
    ]
    more = f"; {len(found.entries)} are known: vigild models list"
    yield ok("models here", f"{', '.join(here) or 'none'}{more}")


def _configured(root: Path, config: ModelConfig) -> Iterator[Finding]:
    """Down the delegate ladder until a rung works."""
    on_edgetpu, on_cpu = builds(config)
    there = bool(edgetpu.devices(root) or edgetpu.library_installed())
    ladder = rungs(config.delegate, edgetpu=on_edgetpu and there, cpu=on_cpu)
    name = config.name or Path(config.path or "the embedded model").name
    failed = ""
    for rung in ladder:
        result = _try(config, rung)
        if result.answer is not None and "refused" not in result.answer:
            todo = edgetpu.diagnosis(root) if failed.startswith("edgetpu") else "please report this line"
            yield from _runs(name, result.answer, failed, todo)
            return
        reason = result.death if result.answer is None else str(result.answer["refused"]).rstrip(".")
        failed += f"{rung} failed: {reason}; "
        if result.answer is not None and result.answer["code"] not in ("delegate", "edgetpu_model"):
            break  # about the model itself: another rung will not help
    if result.answer is None:
        reason = f"{rung}: {reason}"
    yield problem("model", f"{name}: {reason}", "correct the section [model], or take another model", blocks=True)


def _try(config: ModelConfig, rung: str) -> TaskResult:
    def on(runtime: str) -> TaskResult:
        return run(tasks.__name__, "model", ModelTask(config=config, runtime=runtime, delegate=rung))

    return on_runtime(config.runtime, on)


def _runs(name: str, answer: dict[str, Any], failed: str, todo: str) -> Iterator[Finding]:
    """`failed`: the rungs above, and why; `todo`: what to do about them."""
    found = (
        f"{name} ({answer['variant']}) runs on {answer['runtime']} {answer['version']}: {answer['delegate']} takes "
        f"{answer['taken']} of {answer['nodes']} nodes, {milliseconds(answer['first_invoke_ms'])} for the first picture"
    )
    yield problem("model", f"{failed}{found}", todo) if failed else ok("model", found)
    for warning in answer["warnings"]:
        yield note("model", warning)
