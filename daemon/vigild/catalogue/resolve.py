"""From `model.name` and `model.variant` to a file and everything the manifest says of it.

    found = resolve(config, delegate="xnnpack")
    found.config.path, found.config.labels, found.config.sha256
    found.anchors, found.notes

Where neither a path nor a name is configured, the name is that of the embedded model's entry.

`variant = "auto"` is what the profile of `vigild tune` speaks for, with its number of threads, as long
as the profile holds. Otherwise it is the first variant, in the order of the manifest, whose file is on this
machine: of those compiled for the Edge TPU while the rung is edgetpu, of the others on every other
rung. A variant that is named is taken on the rungs it runs on; on the others of `delegate = "auto"`
an Edge TPU variant is stood for by its CPU twin.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from vigild.catalogue import store
from vigild.catalogue.decoding import Decoding
from vigild.catalogue.entry import EDGETPU, Entry, ManifestError, Variant
from vigild.config.schema import ModelConfig

MAX_ANCHORS_FILE_BYTES = 16 * 2**20


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """What to load."""

    path: str
    """The file."""
    config: ModelConfig
    """The configuration with `path` set, and labels, sha256, mean, std, color and resize taken from the
    manifest where the configuration leaves them at their defaults."""
    name: str = ""
    """Of the manifest's entry; empty for a file named by its path."""
    variant: str = ""
    sha256_origin: str = "model.sha256"
    """What asks for `config.sha256`."""
    anchors: Decoding | None = None
    min_scores: dict[str, float] = {}
    """By label, of the manifest."""
    notes: tuple[str, ...] = ()
    """What was decided and why, for the log."""
    warnings: tuple[str, ...] = ()
    """What the user should see to."""


def resolve(config: ModelConfig, delegate: str, environ: Mapping[str, str] = os.environ) -> Resolved:
    """What `config` means on a rung of the delegate ladder ("edgetpu[:DEVICE]", "xnnpack", "none" or a path).

    Raises ManifestError: "missing", "manifest", or "delegate" when another rung may do.
    """
    if config.path is not None:
        return Resolved(path=config.path, config=config)
    from vigild.catalogue import embedded, library
    from vigild.catalogue.pick import pick

    entry = library.load(environ).get(config.name or embedded.ENTRY)
    on_edgetpu = delegate == EDGETPU or delegate.startswith(f"{EDGETPU}:")
    if config.variant != "auto":
        variant, notes = _named(entry, config, on_edgetpu, delegate)
        return _with_manifest(config, entry, variant, _present(entry, variant, environ), notes)
    picked = pick(entry, config, delegate, environ)
    notes = picked.notes
    if picked.variant is not None and picked.path is not None:
        variant, path = picked.variant, picked.path
        config = msgspec.structs.replace(config, threads=picked.threads)
    else:
        variant, path = _first_present(entry, on_edgetpu, delegate, environ)
        notes = [*notes, f"variant {variant.name} of {entry.name}: the first of the manifest that is here"]
    return _with_manifest(config, entry, variant, path, notes, picked.warnings)


def describe_twin(path: str, sha256: str, environ: Mapping[str, str] = os.environ) -> str:
    """What to use instead of an Edge TPU file where there is none, in words; empty: not known.

    The file is known by its hash or, where the manifest has none, by its name.
    """
    from vigild.catalogue import library

    name = Path(path).name
    for entry in library.load(environ).entries.values():
        for variant in entry.variants:
            known = variant.sha256 == sha256 if variant.sha256 else Path(variant.file).name == name
            if variant.cpu_twin and known:
                return f'model.name = "{entry.name}" with variant = "{variant.cpu_twin}", its twin for the CPU'
    return ""


def _fits(variant: Variant, on_edgetpu: bool) -> bool:
    return (variant.delegate == EDGETPU) == on_edgetpu


def _first_present(entry: Entry, on_edgetpu: bool, delegate: str, environ: Mapping[str, str]) -> tuple[Variant, Path]:
    fitting = [variant for variant in entry.variants if _fits(variant, on_edgetpu)]
    if not fitting:
        raise ManifestError(
            f"The model {entry.name} has no variant for the delegate {delegate}; its variants are {_names(entry)}.",
            "delegate",
        )
    for variant in fitting:
        path = store.find(entry, variant, environ)
        if path is not None:
            return variant, path
    code = "delegate" if on_edgetpu else "missing"
    raise ManifestError(f"No variant of {entry.name} for {delegate} is here; {_how_to_get(entry, fitting[0])}.", code)


def _named(entry: Entry, config: ModelConfig, on_edgetpu: bool, delegate: str) -> tuple[Variant, list[str]]:
    variant = entry.variant(config.variant)
    if variant is None:
        raise ManifestError(
            f"The model {entry.name} has no variant {config.variant!r}; its variants are {_names(entry)}.", "missing"
        )
    if _fits(variant, on_edgetpu):
        return variant, [f"variant {variant.name} of {entry.name}, as configured"]
    if on_edgetpu:
        raise ManifestError(
            f"The variant {variant.name} of {entry.name} is not compiled for the Edge TPU; "
            f"take another variant or another delegate.",
            "delegate",
        )
    twin = entry.variant(variant.cpu_twin) if config.delegate == "auto" else None
    if twin is None:
        hint = f"take variant {variant.cpu_twin} there" if variant.cpu_twin else "take another variant"
        raise ManifestError(
            f"The variant {variant.name} of {entry.name} runs on an Edge TPU only, not on {delegate}; {hint}.",
            "delegate",
        )
    return twin, [f"variant {twin.name} of {entry.name}: the CPU twin of {variant.name}, for {delegate}"]


def _present(entry: Entry, variant: Variant, environ: Mapping[str, str]) -> Path:
    path = store.find(entry, variant, environ)
    if path is None:
        code = "delegate" if variant.delegate else "missing"
        raise ManifestError(
            f"The variant {variant.name} of {entry.name} is not here; {_how_to_get(entry, variant)}.", code
        )
    return path


def _names(entry: Entry) -> str:
    return ", ".join(variant.name for variant in entry.variants)


def _how_to_get(entry: Entry, variant: Variant) -> str:
    if variant.url:
        return f"fetch it: vigild models pull {entry.name}:{variant.name}"
    if variant.embedded:
        return "it belongs to the package, so install vigild again"
    place = store.place(store.own_folder(), entry, variant)
    return f"put the file at {place}" + (f" ({variant.note})" if variant.note else "")


def _with_manifest(
    config: ModelConfig, entry: Entry, variant: Variant, path: Path, notes: list[str], warnings: Sequence[str] = ()
) -> Resolved:
    sha256, origin = config.sha256, "model.sha256"
    if sha256 is None:
        sha256 = store.expected_hash(variant, path) or None
        origin = f"the manifest {entry.origin}" if variant.sha256 else f"its first download ({store.record_path(path)})"
    labels = config.labels
    if labels is None and variant.labels:
        labels = str(Path(entry.folder) / variant.labels)
    default = ModelConfig()
    merged = msgspec.structs.replace(
        config,
        path=str(path),
        labels=labels,
        sha256=sha256,
        mean=config.mean if config.mean is not None or config.std is not None else variant.mean,
        std=config.std if config.mean is not None or config.std is not None else variant.std,
        color=variant.color if config.color == default.color else config.color,
        resize=variant.resize if config.resize == default.resize else config.resize,
    )
    return Resolved(
        path=str(path),
        config=merged,
        name=entry.name,
        variant=variant.name,
        sha256_origin=origin,
        anchors=_anchors(entry, variant),
        min_scores=variant.min_score,
        notes=tuple(notes),
        warnings=tuple(warnings),
    )


def _anchors(entry: Entry, variant: Variant) -> Decoding | None:
    if not variant.anchors_file:
        return variant.anchors
    path = Path(entry.folder) / variant.anchors_file
    try:
        with path.open("rb") as file:
            decoding = msgspec.json.decode(file.read(MAX_ANCHORS_FILE_BYTES), type=Decoding)
    except (OSError, ValueError, RecursionError) as error:  # msgspec's DecodeError is a ValueError
        raise ManifestError(f"The anchors in {path} cannot be used: {error}; correct that file.") from None
    if len(decoding.kinds()) != 1:
        raise ManifestError(f"The anchors in {path} must be given by exactly one of explicit, ssd and grid.")
    return decoding
