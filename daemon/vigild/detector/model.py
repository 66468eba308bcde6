"""A model that is ready to run: opened, checked, decided and run once.

    model = load(config, delegate="xnnpack", runtime="auto", enter=lane.enter)
    model.ready                       # the ModelReady message, with what was decided and why
    model.interpreter.invoke()
    model.decode(view, selection)

Everything that can be wrong with a model comes out of `load` as a ModelError.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from vigild import plain
from vigild.catalogue.entry import ManifestError
from vigild.catalogue.resolve import Resolved, describe_twin, resolve
from vigild.config.schema import ModelConfig
from vigild.detector import decoders, input_spec, outputs
from vigild.detector import facts as model_facts
from vigild.detector.decoders import Decode
from vigild.detector.errors import BadOutput, BoxesOutside, ModelError
from vigild.detector.facts import ModelFacts
from vigild.detector.interpreter import Interpreter, edgetpu_model, open_interpreter, refusal
from vigild.detector.model_file import ModelFile
from vigild.detector.outputs import PostProcessLayout
from vigild.detector.selection import Selection
from vigild.geometry import View
from vigild.ipc.channel import MAX_PACKET_BYTES
from vigild.ipc.messages import ModelReady
from vigild.ipc.progress import Stage
from vigild.tensor import TensorSpec

MAX_READY_BYTES = MAX_PACKET_BYTES - 16 * 1024
"""With room to spare."""


class Model(NamedTuple):
    interpreter: Interpreter
    input_view: Callable[[], Any]
    spec: TensorSpec
    labels: list[str]
    decode: Decode
    ready: ModelReady
    has_op: bool
    """Its graph ends in a detection op, with a threshold of its own."""


def load(
    config: ModelConfig, delegate: str, runtime: str, enter: Callable[[Stage], object] = lambda stage: None
) -> Model:
    """Load the model of `config` and run it once. `enter` is told the stages. Raises ModelError."""
    started = time.monotonic_ns()
    enter(Stage.LOAD)
    found = _resolve(config, delegate)
    config, path = found.config, found.path
    with ModelFile.open(path, config.sha256, found.sha256_origin) as file:
        return _load(config, found, path, file, delegate, runtime, enter, started)


def _load(
    config: ModelConfig,
    found: Resolved,
    path: str,
    file: ModelFile,
    delegate: str,
    runtime: str,
    enter: Callable[[Stage], object],
    started: int,
) -> Model:
    """`load`, with the file open; what was mapped stays mapped when it is closed."""
    facts = model_facts.read(file.data)
    if facts.edgetpu and delegate in ("xnnpack", "none"):
        raise edgetpu_model(describe_twin(path, file.sha256))
    input_spec.check_sizes(facts)
    spec, spec_note = input_spec.decide(facts, config.color, config.resize, config.mean, config.std)
    _check_outputs(facts)
    interpreter, passed_over = open_interpreter(
        runtime, file.proc_path, delegate, config.threads, config.delegate_options, enter
    )
    try:
        interpreter.allocate()
    except (RuntimeError, ValueError) as error:
        raise refusal(error, delegate, "allocate") from None
    loaded = time.monotonic_ns()
    enter(Stage.FIRST_INVOKE)
    input_view = interpreter.view(facts.inputs[0])
    _dry_run(interpreter, input_view, spec, delegate)
    invoked = time.monotonic_ns()
    enter(Stage.LOAD)

    try:
        shapes = {index: tuple(int(dim) for dim in interpreter.view(index)().shape) for index in facts.outputs}
    except (RuntimeError, ValueError) as error:  # a tensor that no operator gives a value
        raise refusal(error, delegate, "invoke") from None
    layout = outputs.decide(facts, shapes)
    names, decode, decided = decoders.build(
        config, path, file.proc_path, facts, layout, spec, interpreter, found.anchors
    )
    notes = [*found.notes, *passed_over.notes, spec_note, layout.why, *decided]
    warnings = [*found.warnings, *facts.warnings, *passed_over.warnings, *_unknown_classes(found, names)]
    # The decoder runs over the dry run's outputs, whatever they are, so that it cannot fail later.
    try:
        decode(View(), Selection([], 0.0, 1000))
    except BoxesOutside:
        pass  # told by now; of a picture with something in it they may be right
    except BadOutput as error:
        raise ModelError(
            "outputs", f"On a first, grey picture {error}; the model is damaged, or was converted wrongly."
        ) from None
    if isinstance(layout, PostProcessLayout):
        warnings += [layout.warning] if layout.warning else []
        warnings += _threshold_warning(config, facts)
    taken, nodes, actual = _who_executes(interpreter, config, warnings)
    ready = ModelReady(
        name=found.name or plain.name(Path(path).stem),
        variant=found.variant or f"{spec.dtype}-{spec.width}x{spec.height}",
        path=path,
        sha256=file.sha256,
        labels=names,
        spec=spec,
        runtime=interpreter.runtime,
        runtime_version=interpreter.version,
        delegate=actual,
        delegate_nodes=taken,
        total_nodes=nodes,
        threads=config.threads,
        load_ms=(loaded - started) / 1e6,
        first_invoke_ms=(invoked - loaded) / 1e6,
        notes=[plain.sentence(note) for note in notes],
        warnings=[plain.sentence(warning) for warning in warnings],
        min_scores={label: score for label, score in found.min_scores.items() if label in names},
    )
    _check_message(ready)
    return Model(interpreter, input_view, spec, names, decode, ready, isinstance(layout, PostProcessLayout))


def _check_message(ready: ModelReady) -> None:
    """Raises ModelError when the hub could not be told of the model."""
    size = len(msgspec.msgpack.encode(ready))
    if size > MAX_READY_BYTES:
        raise ModelError(
            "labels",
            f"The names of the model's {len(ready.labels)} classes take {size // 1024} KiB with all that is to be said "
            f"of it; up to {MAX_READY_BYTES // 1024} KiB are expected. Bring a label file with shorter names, or a "
            "model with fewer classes.",
        )


def _resolve(config: ModelConfig, delegate: str) -> Resolved:
    try:
        return resolve(config, delegate)
    except ManifestError as error:
        raise ModelError(error.code, error.message) from None


def _check_outputs(facts: ModelFacts) -> None:
    if not facts.outputs:
        raise ModelError("outputs", "The model has no outputs; expected boxes, classes, scores and count.")
    for index in facts.outputs:
        tensor = facts.tensors[index]
        if tensor.dtype not in ("float32", "uint8", "int8", "int16"):
            raise ModelError(
                "outputs",
                f"The model's output {tensor.name!r} is {tensor.dtype}; expected numbers an SSD detector gives.",
            )


def _dry_run(interpreter: Interpreter, input_view: Callable[[], Any], spec: TensorSpec, delegate: str) -> None:
    """One invoke on mid-grey: an operator that cannot run says so here, and weights get packed."""
    view = input_view()
    if tuple(view.shape) != spec.shape or view.dtype.name != spec.dtype:
        raise ModelError(
            "shape",
            f"The runtime gives the input as {view.dtype.name} {list(view.shape)}, but the file says {spec.dtype} "
            f"{list(spec.shape)}; the file is damaged.",
        )
    view.fill(128 if spec.dtype == "uint8" else 0)
    del view
    try:
        interpreter.invoke()
    except (RuntimeError, ValueError) as error:
        raise refusal(error, delegate, "invoke") from None


def _unknown_classes(found: Resolved, names: list[str]) -> list[str]:
    unknown = sorted(set(found.min_scores) - set(names))
    return [f"the manifest gives a min_score to {', '.join(unknown)}, which the model does not find"] if unknown else []


def _threshold_warning(config: ModelConfig, facts: ModelFacts) -> list[str]:
    if facts.postprocess is None or config.min_score is None:
        return []
    if config.min_score >= facts.postprocess.score_threshold:
        return []
    threshold = facts.postprocess.score_threshold
    return [
        f"model.min_score is {config.min_score:g}, but the model itself drops everything below {threshold:.3g}; "
        "a lower min_score has no effect"
    ]


def _who_executes(interpreter: Interpreter, config: ModelConfig, warnings: list[str]) -> tuple[int, int, str]:
    """(nodes taken by delegates, nodes, what executes the graph). Raises ModelError "delegate"."""
    taken, nodes = interpreter.nodes()
    wanted = interpreter.delegate
    if taken or wanted == "none":
        return taken, nodes, wanted.partition(":")[0] if wanted.startswith("edgetpu") else wanted
    text = f"{wanted} took none of the model's {nodes} nodes in {interpreter.runtime} {interpreter.version}"
    if config.delegate == wanted or wanted not in ("xnnpack", "none"):
        raise ModelError(
            "delegate", f"The delegate {text}; set model.delegate to auto or none, or bring a model it supports."
        )
    warnings.append(f"{text}; plain kernels execute it, several times slower for 8-bit models")
    return taken, nodes, "none"
