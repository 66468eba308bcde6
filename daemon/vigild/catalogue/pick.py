"""What `model.variant = "auto"` takes from the profile: variant and threads, for one rung of the delegate ladder.

    picked = pick(entry, config, delegate, environ)
    picked.variant                                # None: the profile says nothing that holds
    picked.notes, picked.warnings

Standard library and msgspec only: the hub asks too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from vigild import runtimes
from vigild.catalogue import profile, store
from vigild.catalogue.choose import choose
from vigild.catalogue.entry import Entry, Variant
from vigild.catalogue.profile import ModelProfile, ProfileError, Row
from vigild.config.schema import ModelConfig

AGAIN = "run vigild tune again"


class Picked(NamedTuple):
    """`variant` with its file, or why there is none."""

    variant: Variant | None
    path: Path | None
    threads: int
    notes: list[str]
    warnings: list[str]


def pick(entry: Entry, config: ModelConfig, delegate: str, environ: Mapping[str, str] = os.environ) -> Picked:
    """Of the entry's variants whose files are here, the one that the profile's measurements speak for."""
    found = Picked(None, None, config.threads, [], [])
    where = profile.find(environ)
    if where is None:
        return found
    try:
        kept = profile.load(where)
    except ProfileError as error:
        found.warnings.append(f"{error}; it is not used: {AGAIN}")
        return found
    model = kept.models.get(entry.name)
    if model is None:
        found.notes.append(f"the profile {where} has nothing of {entry.name}")
        return found
    preferred = runtimes.preferred(config.runtime)
    reason = profile.stale(kept, profile.this_board()) or profile.stale_runtime(model, preferred)
    if reason:
        found.warnings.append(f"the profile {where} is stale: {reason}; it is not used: {AGAIN}")
        return found
    return _from_rows(entry, config, delegate, environ, where, model, found)


def _from_rows(
    entry: Entry,
    config: ModelConfig,
    delegate: str,
    environ: Mapping[str, str],
    where: Path,
    model: ModelProfile,
    found: Picked,
) -> Picked:
    rows = [row for row in model.rows if row.works and _same_rung(row.delegate, delegate)]
    if config.threads != ModelConfig().threads:
        rows = [row for row in rows if row.threads == config.threads] or rows
    if not rows:
        found.notes.append(f"the profile {where} has nothing of {entry.name} on {delegate}")
    while rows:
        choice = choose(rows, model.budgets, len(os.sched_getaffinity(0)))
        row = choice.row
        if row is None:
            found.warnings.append(f"of the profile {where} nothing is taken: {choice.reason}")
            break
        variant = entry.variant(row.variant)
        path = store.find(entry, variant, environ) if variant is not None else None
        if variant is None or path is None:
            found.notes.append(f"the profile {where} speaks for variant {row.variant}, which is not here any more")
        elif not _same_file(variant, path, row):
            found.warnings.append(
                f"the profile {where} is stale: variant {row.variant} is another file than the one measured; {AGAIN}"
            )
        else:
            threads = row.threads if config.threads == ModelConfig().threads else config.threads
            found.notes.append(
                f"variant {variant.name} of {entry.name} with {threads} thread{'' if threads == 1 else 's'}: "
                f"{choice.reason}, as measured on {model.measured} ({where})"
            )
            return Picked(variant, path, threads, found.notes, found.warnings)
        rows = [one for one in rows if one.variant != row.variant]
    return found


def _same_rung(measured: str, wanted: str) -> bool:
    """Every Edge TPU is like another."""
    return measured == wanted or measured.partition(":")[0] == wanted.partition(":")[0] == "edgetpu"


def _same_file(variant: Variant, path: Path, row: Row) -> bool:
    try:
        return (store.expected_hash(variant, path) or store.hash_file(path)) == row.sha256
    except OSError:
        return False
