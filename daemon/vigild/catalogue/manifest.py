"""A manifest's TOML text in, entries out, with a sentence about each entry that is refused.

    manifest = parse(text, "manifest.toml", "/etc/vigild")
    manifest.entries["coco_ssd_mobilenet_v1"].variants
    manifest.refused                       # {"other": "manifest.toml: model.other: ..."}

One bad entry is refused whole, by its name; the others stay. Text that is not TOML, or whose
`format` is not this one, raises ManifestError. Nothing is looked up on the machine.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from vigild import plain
from vigild.catalogue.decoding import Decoding
from vigild.catalogue.entry import EDGETPU, NAME, NAME_FORM, Entry, ManifestError, Variant
from vigild.closest import closest
from vigild.config.document import Document, DocumentError, key_text
from vigild.config.fields import Choice, Fixed, Flag, Number, Text, Type
from vigild.config.values import Fault, check, show

FORMAT = 1
MAX_TEXT_BYTES = 1024 * 1024
"""The shipped manifest has 10 KB; the anchors of an SSD written out have 60 KB."""
MAX_ENTRIES = 1000
MAX_VARIANTS = 64
MAX_MODEL_BYTES = 512 * 2**20
"""Of a model file; the detector loads none that is larger."""
MAX_URLS = 8
_MAX_TEXT = 1000

_TEXT = Text(min_length=1)
_SHA256 = Text(pattern="^[0-9a-fA-F]{64}$", form="64 hexadecimal digits")
_PIXEL = Number(ge=-65536, le=65536)
_DIVISOR = Number(gt=0, le=65536)
_SIDE = Number(whole=True, ge=1, le=16384)

_SHARED: dict[str, Type] = {
    "license": _TEXT,
    "labels": _TEXT,
    "anchors_file": _TEXT,
    "mean": Fixed((_PIXEL,) * 3),
    "std": Fixed((_DIVISOR,) * 3),
    "color": Choice(("rgb", "bgr")),
    "resize": Choice(("squash", "letterbox")),
}
_SCORE = Number(ge=0, le=1)
_MAX_CLASSES = 1000
"""Keys of a variant that an entry may give for all of its variants."""

_ENTRY: dict[str, Type] = {"description": _TEXT, "publisher": _TEXT, **_SHARED}
_VARIANT: dict[str, Type] = {
    "name": Text(pattern=f"^{NAME.pattern}$", form=NAME_FORM),
    "file": _TEXT,
    "member": _TEXT,
    "sha256": _SHA256,
    "bytes": Number(whole=True, ge=1, le=MAX_MODEL_BYTES),
    "size": Fixed((_SIDE, _SIDE)),
    "dtype": Choice(("uint8", "int8", "int16", "float32")),
    "layout": Choice(("NHWC", "NCHW")),
    "delegate": Text(pattern=f"^{EDGETPU}$", form=f'"{EDGETPU}"'),
    "cpu_twin": _TEXT,
    "embedded": Flag(),
    "coco_ap": Number(ge=0, le=1),
    "coco_ap_source": _TEXT,
    "note": _TEXT,
    **_SHARED,
}
# Not plain values: url is a text or an array; anchors, min_score and variant are tables.
_ENTRY_KEYS = [*_ENTRY, "anchors", "min_score", "variant"]
_VARIANT_KEYS = [*_VARIANT, "url", "anchors", "min_score"]


class Manifest(NamedTuple):
    entries: dict[str, Entry]
    refused: dict[str, str]
    """Name of a refused entry -> one sentence for each thing that is wrong with it, a line each."""


def parse(text: str, where: str, folder: str) -> Manifest:
    """Read a manifest. `where` is what messages call it, `folder` what its relative paths are relative to.

    Raises ManifestError when nothing of it can be used.
    """
    document = Document(where, None)
    try:
        document.read(text)
    except DocumentError as error:
        raise ManifestError(str(error)) from None
    tables = document.tables
    found = tables.get("format")
    if type(found) is not int or found != FORMAT:
        told = f"has format = {show(found)}" if "format" in tables else "does not say its format"
        raise ManifestError(f"{where}: {told}; this version of vigild reads format = {FORMAT}, at the top of the file")
    for key in tables:
        if key not in ("format", "model"):
            raise ManifestError(f"{where}: {key_text((key,))} is unknown; expected format and [model.NAME] tables")
    models = tables.get("model", {})
    if not isinstance(models, Mapping):
        raise ManifestError(f"{where}: model is {show(models)}; expected tables [model.NAME]")
    if len(models) > MAX_ENTRIES:
        raise ManifestError(f"{where}: {len(models)} models; at most {MAX_ENTRIES} are expected")
    entries: dict[str, Entry] = {}
    refused: dict[str, str] = {}
    for name, table in models.items():
        reader = _Reader(f"{where}: {key_text(('model', name))}")
        entry = reader.entry(name, table, where, folder)
        if reader.problems or entry is None:
            refused[name] = "\n".join(reader.problems)
        else:
            entries[name] = entry
    return Manifest(entries, refused)


class _Reader:
    """Reads one entry and gathers everything that is wrong with it."""

    def __init__(self, where: str) -> None:
        self.problems: list[str] = []
        self._where = where

    def entry(self, name: str, table: object, origin: str, folder: str) -> Entry | None:
        if not NAME.fullmatch(name):
            self._problem("", f"the name is not one; expected {NAME_FORM}")
        if not isinstance(table, Mapping):
            self._problem("", f"found {show(table)}, expected a table [model.{name}]")
            return None
        values = self._values(table, _ENTRY, _ENTRY_KEYS, "")
        anchors = self._anchors(table, values, "")
        if anchors is not None:
            values["anchors"] = anchors
        values |= self._min_score(table, "")
        shared = {key: value for key, value in values.items() if key in (*_SHARED, "anchors", "min_score")}
        variants = self._variants(table.get("variant"), shared)
        if self.problems:
            return None
        return Entry(
            name=name,
            description=values.get("description", ""),
            publisher=values.get("publisher", ""),
            variants=tuple(variants),
            origin=origin,
            folder=folder,
        )

    def _variants(self, tables: object, shared: dict[str, Any]) -> list[Variant]:
        if not isinstance(tables, list) or not tables or len(tables) > MAX_VARIANTS:
            found = "none" if tables in (None, []) else show(tables)
            self._problem(
                "variant", f"found {found}, expected 1 to {MAX_VARIANTS} tables [[model.NAME.variant]], the best first"
            )
            return []
        variants: list[Variant] = []
        for number, table in enumerate(tables, 1):
            variant = self._variant(table, shared, f"variant {number}")
            if variant is not None:
                variants.append(variant)
        names = [variant.name for variant in variants]
        for name in sorted({name for name in names if names.count(name) > 1}):
            self._problem("variant", f"{name} is there {names.count(name)} times; each name once is expected")
        if not self.problems:
            self._twins(variants)
        return variants

    def _variant(self, table: object, shared: dict[str, Any], place: str) -> Variant | None:
        if not isinstance(table, Mapping):
            self._problem(place, f"found {show(table)}, expected a table [[model.NAME.variant]]")
            return None
        if isinstance(table.get("name"), str) and NAME.fullmatch(table["name"]):
            place = f"variant {table['name']}"
        before = len(self.problems)
        values = self._values(table, _VARIANT, _VARIANT_KEYS, place)
        anchors = self._anchors(table, values, place)
        values |= self._min_score(table, place)
        urls = self._urls(table.get("url", []), bool(values.get("sha256")), place)
        for key, meaning in (("name", "what to call it"), ("file", "the .tflite file")):
            if key not in table:
                self._problem(place, f"{key} is missing: {meaning}")
        if len(self.problems) > before:
            return None
        self._consistent(values, urls, place)
        if len(self.problems) > before:
            return None
        if anchors is not None:
            values["anchors"] = anchors
        # A variant's own anchors stand for the entry's, whichever way either is given.
        if "anchors" in values or "anchors_file" in values:
            shared = {key: value for key, value in shared.items() if key not in ("anchors", "anchors_file")}
        values["width"], values["height"] = values.pop("size", (0, 0))
        values["sha256"] = values.get("sha256", "").lower()
        return Variant(**{**shared, **values, "url": urls})

    def _consistent(self, values: dict[str, Any], urls: tuple[str, ...], place: str) -> None:
        file, embedded = values["file"], values.get("embedded", False)
        if (urls or embedded) and "/" in file:
            self._problem(
                place, f"file: found {show(file)}, expected a name without folders, as it is kept in vigild's"
            )
        if file in (".", "..") or file.endswith("/"):
            self._problem(place, f"file: found {show(file)}, expected the name of a .tflite file")
        if embedded and urls:
            self._problem(place, "found both embedded = true and url; an embedded file comes with the package")
        if "member" in values and not urls:
            self._problem(place, "found member without url; it names a file inside the ZIP archive at url")
        if "cpu_twin" in values and values.get("delegate") != EDGETPU:
            self._problem(place, f'found cpu_twin without delegate = "{EDGETPU}"; only such a variant has one')

    def _twins(self, variants: list[Variant]) -> None:
        runs_anywhere = [variant.name for variant in variants if not variant.delegate]
        for variant in variants:
            if variant.cpu_twin and variant.cpu_twin not in runs_anywhere:
                expected = f"one of {', '.join(runs_anywhere)}" if runs_anywhere else "a variant without a delegate"
                self._problem(
                    f"variant {variant.name}", f"cpu_twin: found {show(variant.cpu_twin)}, expected {expected}"
                )

    def _values(
        self, table: Mapping[str, object], types: Mapping[str, Type], known: list[str], place: str
    ) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in table.items():
            if key in types:
                try:
                    values[key] = check(types[key], value)
                    if isinstance(values[key], str) and len(values[key]) > _MAX_TEXT:
                        raise Fault(f"found a text of {len(values[key])} characters, expected up to {_MAX_TEXT}")
                except Fault as fault:
                    self._problem(place, f"{key}: {fault}")
            elif key not in known:
                near = closest(key, known)
                hint = f"did you mean {near}?" if near else f"known are {', '.join(known)}"
                self._problem(place, f"{show(key)} is unknown (found {show(value)}); {hint}")
        return values

    def _anchors(self, table: Mapping[str, object], values: Mapping[str, Any], place: str) -> Decoding | None:
        if "anchors" not in table:
            return None
        if "anchors_file" in values:
            self._problem(place, "found both anchors and anchors_file; give one of them")
        try:
            decoding = msgspec.convert(table["anchors"], Decoding)
        except msgspec.ValidationError as error:
            self._problem(place, f"anchors: {error}")
            return None
        if len(decoding.kinds()) != 1:
            given = " and ".join(decoding.kinds()) or "none"
            self._problem(place, f"anchors: found {given} of explicit, ssd and grid; give exactly one")
        return decoding

    def _min_score(self, table: Mapping[str, object], place: str) -> dict[str, dict[str, float]]:
        """{"min_score": label to score}; empty when the table does not say."""
        if "min_score" not in table:
            return {}
        given = table["min_score"]
        if not isinstance(given, Mapping) or len(given) > _MAX_CLASSES:
            self._problem(place, f"min_score: found {show(given)}, expected scores by label: {{ person = 0.4 }}")
            return {}
        scores: dict[str, float] = {}
        for label, value in given.items():
            try:
                scores[label] = float(check(_SCORE, value))
            except Fault as fault:
                self._problem(place, f"min_score.{label}: {fault}")
        return {"min_score": scores}

    def _urls(self, value: object, known_hash: bool, place: str) -> tuple[str, ...]:
        urls = [value] if isinstance(value, str) else value
        if not isinstance(urls, list) or len(urls) > MAX_URLS or not all(isinstance(url, str) for url in urls):
            self._problem(place, f"url: found {show(value)}, expected a URL or up to {MAX_URLS} in an array")
            return ()
        for url in urls:
            fault = url_fault(url, known_hash)
            if fault:
                self._problem(place, f"url: found {show(url)}: {fault}")
        return tuple(urls)

    def _problem(self, place: str, text: str) -> None:
        self.problems.append(plain.sentence(f"{self._where}{', ' if place else ''}{place}: {text}"))


def url_fault(url: str, known_hash: bool) -> str | None:
    """What is wrong with a download address, or None. Unencrypted ones need the file's hash."""
    if len(url) > _MAX_TEXT or not url.isascii() or any(c <= " " or c == "\x7f" for c in url):
        return f"expected up to {_MAX_TEXT} ASCII characters without spaces (write others as %20 and the like)"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"{error}; expected a form like https://example.org/model.tflite"
    if parts.scheme not in ("http", "https") or not host:
        return "expected an http:// or https:// address"
    if parts.username is not None or parts.password is not None:
        return "it holds a user name; models are fetched without logging in"
    if parts.scheme == "http" and not known_hash and not _loopback(host):
        return "over http:// anyone on the way could send another model; write https://, or give its sha256"
    return None


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
