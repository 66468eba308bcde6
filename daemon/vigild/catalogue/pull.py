"""A manifest's variant, fetched from its publisher.

    for variant in wanted(entry, "edgetpu"):        # with its CPU twin
        pull(entry, variant, folder, progress)

A file gets its name only when it is whole and its hash is the expected one, so what is in the
folder can be used at any moment. A hash that the manifest does not know is taken now and holds
from then on.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from vigild import files
from vigild.catalogue import store
from vigild.catalogue.download import TIMEOUT_S, Download, DownloadError, Partial, Progress, disk_fault
from vigild.catalogue.entry import Entry, ManifestError, Variant
from vigild.catalogue.manifest import MAX_MODEL_BYTES

MAGIC = b"TFL3"
"""File identifier of the TFLite schema, at bytes 4 to 7."""
MAX_MEMBER_BYTES = 64 * 2**20
"""Of a file unpacked from an archive, which is held in memory meanwhile."""


class Pulled(NamedTuple):
    path: Path
    sha256: str
    fetched: bool
    """False: it was here already."""
    first: bool
    """Its hash was not known before and is recorded now."""


def wanted(entry: Entry, variant: str = "") -> list[Variant]:
    """What `pull NAME[:VARIANT]` fetches: that variant and its CPU twin; without one, the first that
    runs anywhere. Raises ManifestError."""
    if variant:
        found = entry.variant(variant)
        if found is None:
            names = ", ".join(v.name for v in entry.variants)
            raise ManifestError(f"{entry.name} has no variant {variant!r}; its variants are {names}.", "missing")
    else:
        anywhere = [v for v in entry.variants if not v.delegate]
        found = next((v for v in anywhere if v.url), (anywhere or list(entry.variants))[0])
    twin = entry.variant(found.cpu_twin) if found.cpu_twin else None
    return [found, twin] if twin is not None else [found]


def pull(
    entry: Entry,
    variant: Variant,
    folder: Path,
    progress: Progress = lambda here, total: None,
    *,
    force: bool = False,
    timeout_s: float = TIMEOUT_S,
    sleep: Callable[[float], object] | None = None,
) -> Pulled:
    """Fetch one variant below `folder`, unless it is there. Raises ManifestError, DownloadError."""
    if not variant.url:
        raise ManifestError(_no_address(entry, variant, folder), "missing")
    target = store.place(folder, entry, variant)
    options: dict[str, Any] = {"timeout_s": timeout_s}
    if sleep is not None:
        options["sleep"] = sleep
    try:
        return _pull(variant, target, progress, force, options)
    except OSError as error:
        raise disk_fault(target, error) from None


def _pull(variant: Variant, target: Path, progress: Progress, force: bool, options: dict[str, Any]) -> Pulled:
    expected = store.expected_hash(variant, target)
    if not force and target.is_file():
        found = store.hash_file(target)
        if found == expected or not expected:
            return Pulled(target, found, fetched=False, first=not expected and _record(target, found))
    faults: list[str] = []
    with Partial(target) as partial:
        for url in variant.url:
            try:
                found = _fetch(url, variant, partial, expected, progress, options)
            except DownloadError as error:
                faults.append(str(error))
                continue
            partial.move_to(target)
            return Pulled(target, found, fetched=True, first=not expected and _record(target, found))
    raise DownloadError("; ".join(faults))


def _no_address(entry: Entry, variant: Variant, folder: Path) -> str:
    if variant.embedded:
        return f"{entry.name}:{variant.name} comes with the package; there is nothing to fetch."
    source = f"; its source is {entry.publisher}" if entry.publisher else ""
    note = f" ({variant.note})" if variant.note else ""
    place = store.place(folder, entry, variant)
    return f"{entry.name}:{variant.name} is not published as a .tflite file{source}{note}; put the file at {place}."


def _fetch(
    url: str, variant: Variant, partial: Partial, expected: str, progress: Progress, options: dict[str, Any]
) -> str:
    """Download, unpack and check; the hash. The partial file is then the model."""
    size = 0 if variant.member else variant.bytes
    for again in (True, False):
        download = Download(
            url,
            partial,
            expected_bytes=size,
            max_bytes=MAX_MODEL_BYTES,
            hash_known=bool(expected),
            progress=progress,
            **options,
        )
        download.run()
        try:
            if variant.member:
                _unpack(partial, variant, url)
            _check_kind(partial, url)
            found = store.hash_file(partial.path)
            if expected and found != expected:
                raise DownloadError(f"{url}: the file has the SHA-256 {found}, but {expected} is expected")
            return found
        except DownloadError:
            partial.forget_source()
            partial.cut()
            if not (again and download.resumed):
                raise
    raise AssertionError("the second round returns or raises")


def _unpack(partial: Partial, variant: Variant, url: str) -> None:
    """Put a member of the ZIP archive in the place of the archive."""
    limit = variant.bytes or MAX_MEMBER_BYTES
    partial.forget_source()
    try:
        with zipfile.ZipFile(partial.file) as archive, archive.open(variant.member) as member:
            data = member.read(limit + 1)
    except KeyError:
        raise DownloadError(f"{url}: the archive holds no {variant.member}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise DownloadError(f"{url}: expected a ZIP archive with {variant.member}: {error}") from None
    if len(data) > limit:
        raise DownloadError(f"{url}: {variant.member} has more than the {limit} bytes expected")
    partial.cut()
    partial.write(data)


def _check_kind(partial: Partial, url: str) -> None:
    partial.file.seek(0)
    head = partial.file.read(200)
    if head[4:8] == MAGIC:
        return
    kind = ""
    if head.lstrip()[:1] == b"<":
        kind = " (a web page)"
    elif head.startswith(b"version https://git-lfs"):
        kind = " (a Git LFS pointer)"
    elif head.startswith(b"PK"):
        kind = " (a ZIP archive; member names the file in it)"
    raise DownloadError(f"{url}: what came is no TFLite model{kind}; expected {MAGIC!r} at byte 4")


def _record(target: Path, sha256: str) -> bool:
    """Keep the hash of a first download beside the file; returns True."""
    files.write_whole(store.record_path(target), f"{sha256}  {target.name}\n".encode())
    return True
