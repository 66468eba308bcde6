"""`vigild models list | show NAME | verify [NAME] | pull NAME[:VARIANT]`: the models of the manifest.

    vigild models list
    vigild models pull coral_ssd_mobilenet_v2:edgetpu      # and its twin for the CPU

Exit status: 0 done, 1 it did not work (a file is damaged, a download failed).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

import msgspec

from vigild import stdio, terminal
from vigild.catalogue import library, store
from vigild.catalogue.entry import Entry, ManifestError, Variant
from vigild.catalogue.library import Library
from vigild.terminal import Screen

REDRAW_S = 0.1
BAR_CHARACTERS = 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="all models, and which of them are here")
    showing = actions.add_parser("show", help="everything the manifest says of one")
    showing.add_argument("name", metavar="NAME", help="of the manifest")
    for action in (listing, showing):
        action.add_argument("--json", action="store_true", help="for programs")
    verify = actions.add_parser("verify", help="check the files that are here against their SHA-256")
    verify.add_argument("name", nargs="?", metavar="NAME", help="default: all")
    fetch = actions.add_parser("pull", help="download from the publisher")
    fetch.add_argument("name", metavar="NAME[:VARIANT]", help="without a variant: the first one that needs no Edge TPU")
    fetch.add_argument("--force", action="store_true", help="also when the file is here already")
    fetch.add_argument("--folder", metavar="DIR", help="where to keep it (default: see vigild models list)")


def run(args: argparse.Namespace) -> int:
    found = library.load()
    for problem in found.problems:
        stdio.complain(f"vigild: {problem}")
    try:
        if args.action == "list":
            return _list(found, args.json)
        if args.action == "show":
            return _show(found.get(args.name), args.json)
        if args.action == "verify":
            return _verify([found.get(args.name)] if args.name else found.entries.values())
        return _pull(found, args.name, args.force, Path(args.folder) if args.folder else store.own_folder())
    except ManifestError as error:
        stdio.complain(f"vigild: {error.message}")
        return 1


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count else ""


def _facts(entry: Entry, variant: Variant) -> dict[str, Any]:
    """What is known of a variant, for --json; keys without a value are left out."""
    path = store.find(entry, variant)
    facts = msgspec.to_builtins(variant)
    facts = {key: value for key, value in facts.items() if value not in ("", None, 0, [], False)}
    for key in ("labels", "anchors_file"):
        if key in facts:
            facts[key] = str(Path(entry.folder) / facts[key])
    if path is not None:
        facts["path"] = str(path)
        facts["sha256"] = store.expected_hash(variant, path)
    return {key: value for key, value in facts.items() if value != ""}


def _describe(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "description": entry.description,
        "publisher": entry.publisher,
        "manifest": entry.origin,
        "variants": [_facts(entry, variant) for variant in entry.variants],
    }


def _list(found: Library, as_json: bool) -> int:
    if as_json:
        print(json.dumps([_describe(entry) for entry in found.entries.values()], indent=2, ensure_ascii=False))
        return 0
    rows = [("MODEL", "VARIANT", "INPUT", "SIZE", "COCO AP", "HERE")]
    for entry in found.entries.values():
        for variant in entry.variants:
            size = f"{variant.width}x{variant.height} " if variant.width else ""
            ap = f"{variant.coco_ap:.3f}" if variant.coco_ap is not None else ""
            path = store.find(entry, variant)
            rows.append(
                (
                    entry.name,
                    variant.name,
                    f"{size}{variant.dtype}".strip(),
                    _size(variant.bytes or (path.stat().st_size if path is not None else 0)),
                    ap,
                    "yes" if path is not None else _absent(variant),
                )
            )
    columns = Screen.of(sys.stdout).columns
    head, *table = rows
    for line in terminal.table(head, table, columns, right={"SIZE"}, spare=["COCO AP", "INPUT"]):
        print(line)
    print()
    for line in terminal.wrap(f"Files are looked for in {', '.join(map(str, store.folders()))}.", columns):
        print(line)
    return 0


def _absent(variant: Variant) -> str:
    if variant.url:
        return ""
    return "missing from the package" if variant.embedded else "not published as .tflite"


def _show(entry: Entry, as_json: bool) -> int:
    if as_json:
        print(json.dumps(_describe(entry), indent=2, ensure_ascii=False))
        return 0
    columns = Screen.of(sys.stdout).columns
    print(terminal.calm(entry.name))
    for key, text in (("", entry.description), ("from", entry.publisher), ("manifest", entry.origin)):
        if text:
            for line in terminal.wrap(f"  {key + ': ' if key else ''}{text}", columns, indent=4):
                print(line)
    for variant in entry.variants:
        print("\n" + terminal.calm(f"{entry.name}:{variant.name}"))
        for key, value in _lines(entry, variant):
            if value:
                for line in terminal.wrap(f"  {key:<8} {value}", columns, indent=11):
                    print(line)
    return 0


def _lines(entry: Entry, variant: Variant) -> Iterable[tuple[str, str]]:
    path = store.find(entry, variant)
    size = f"{variant.width}x{variant.height}" if variant.width else ""
    yield "input", " ".join(filter(None, (size, variant.dtype, variant.layout, variant.color, variant.resize)))
    if variant.mean or variant.std:
        yield "pixels", f"(p - {variant.mean or 'default'}) / {variant.std or 'default'}"
    yield (
        "runs on",
        "Edge TPU only" + (f"; {variant.cpu_twin} elsewhere" if variant.cpu_twin else "") if (variant.delegate) else "",
    )
    if variant.coco_ap is not None:
        yield "COCO AP", f"{variant.coco_ap:.3f}" + (f" ({variant.coco_ap_source})" if variant.coco_ap_source else "")
    if variant.min_score:
        yield "scores", ", ".join(f"{label} from {score:.2f} on" for label, score in variant.min_score.items())
    yield "license", variant.license
    yield "labels", str(Path(entry.folder) / variant.labels) if variant.labels else ""
    if variant.anchors is not None or variant.anchors_file:
        yield (
            "anchors",
            variant.anchors_file or f"{', '.join(variant.anchors.kinds())}"
            if variant.anchors
            else (variant.anchors_file),
        )
    yield "size", f"{variant.bytes} bytes" if variant.bytes else ""
    expected = store.expected_hash(variant, path) if path else variant.sha256
    yield "sha256", expected or "not known; taken at the first download"
    for url in variant.url:
        yield "url", url + (f" ({variant.member} in it)" if variant.member else "")
    yield "note", variant.note
    yield "here", str(path) if path else "no"


def _verify(entries: Iterable[Entry]) -> int:
    status = 0
    for entry in entries:
        for variant in entry.variants:
            path = store.find(entry, variant)
            if path is None:
                continue
            verdict = _verdict(variant, path)
            print(terminal.calm(f"{entry.name}:{variant.name}: {verdict} ({path})"))
            if not verdict.startswith("ok"):
                status = 1
    return status


def _verdict(variant: Variant, path: Path) -> str:
    expected = store.expected_hash(variant, path)
    try:
        found = store.hash_file(path)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not expected:
        return f"ok as far as is known: its SHA-256 is {found}, and none is on record"
    if found != expected:
        return f"damaged: its SHA-256 is {found}, but {expected} is expected; fetch it again"
    return "ok"


def _pull(found: Library, name: str, force: bool, folder: Path) -> int:
    # HTTP and TLS take 40 ms to import; only this action needs them.
    from vigild.catalogue.download import DownloadError
    from vigild.catalogue.pull import pull, wanted

    entry_name, _, variant_name = name.partition(":")
    entry = found.get(entry_name)
    status = 0
    for variant in wanted(entry, variant_name):
        label = f"{entry.name}:{variant.name}"
        bar = Bar(label, sys.stderr)
        try:
            done = pull(entry, variant, folder, bar.update, force=force)
        except DownloadError as error:
            bar.end()
            stdio.complain(f"vigild: {label}: {error}.")
            status = 1
            continue
        bar.end()
        first = "; its SHA-256 was not known and is recorded" if done.first else ""
        here = "fetched" if done.fetched else "is here"
        print(terminal.calm(f"{label}: {here}: {done.path}, SHA-256 {done.sha256}{first}"))
    return status


class Bar:
    """How far a download is: a bar on a terminal, one line elsewhere."""

    def __init__(self, label: str, out: TextIO) -> None:
        self._label = terminal.calm(label)
        self._out = out
        self._terminal = out.isatty()
        self._started_s = self._drawn_s = 0.0
        self._first = 0
        self._drawn = False

    def update(self, here: int, total: int) -> None:
        """`here` bytes of `total` (0: not known) are there."""
        now_s = time.monotonic()
        if not self._drawn:
            self._started_s, self._first = now_s, here
            if not self._terminal:
                resumed = f", going on after {here} bytes" if here else ""
                print(f"{self._label}: downloading {_size(total)}{resumed}".rstrip(), file=self._out)
        elif now_s - self._drawn_s < REDRAW_S and here != total:
            return
        self._drawn, self._drawn_s = True, now_s
        if self._terminal:
            self._out.write(f"\r\x1b[K{self._text(here, total, now_s - self._started_s)}")
            self._out.flush()

    def _text(self, here: int, total: int, spent_s: float) -> str:
        rate = f"{(here - self._first) / spent_s / 1e6:.1f} MB/s" if spent_s > 0.5 else ""
        if not total:
            return f"{self._label}  {here / 1e6:.1f} MB  {rate}"
        filled = BAR_CHARACTERS * here // total
        bar = "#" * filled + "-" * (BAR_CHARACTERS - filled)
        return f"{self._label}  [{bar}] {100 * here // total:3d} %  {here / 1e6:.1f} of {total / 1e6:.1f} MB  {rate}"

    def end(self) -> None:
        """Leave the bar's line."""
        if self._terminal and self._drawn:
            self._out.write("\n")
            self._out.flush()
