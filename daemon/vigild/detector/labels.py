"""Class names: from a label file, from the archive inside a model, or class_N.

    labels, notes = parse(text, classes=90, origin="labels.txt")
    labels[16]                                     # "cat"

Forms, told apart by looking at all lines: bare names, one a line (the line is the class);
"16 cat" or "16:cat" on every line (the number is the class; numbers that run 1..classes count
from one); and what `labelmap` reads. A bare list whose first line is ???, background or the like is counted
without that line, because detection outputs number the first real class 0. Rows that only fill a gap (empty, ???,
n/a) give class_N.
"""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from vigild import plain
from vigild.detector import labelmap
from vigild.detector.errors import ModelError

MAX_FILE_BYTES = 256 * 1024
"""LVIS, the largest public detection set, has 1203 classes in 20 KB."""
MAX_CLASSES = 10_000
MAX_LABEL_BYTES = 64
"""A label goes out with every detection; longer ones are cut."""

_NUMBERED = re.compile(r"^\s*(\d{1,5})(?:\s*:\s*|\s+)(\S.*)$")
_BACKGROUND = {"???", "background", "__background__", "unlabeled", "_background_"}
_GAPS = {"", "???", "n/a", "na"}


def _cut(label: str) -> str:
    return plain.name(label).strip().encode()[:MAX_LABEL_BYTES].decode(errors="ignore")


def fill(names: Sequence[str]) -> list[str]:
    """Names with the gaps called class_N."""
    return [f"class_{i}" if name.strip().lower() in _GAPS else _cut(name) for i, name in enumerate(names)]


def parse(text: str, classes: int, origin: str) -> tuple[list[str], str]:
    """(labels, how they were read) of a label file for a model of `classes` classes (0: unknown).

    Raises ModelError "labels" for what is no label file and "labels_mismatch" for another model's.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    found = labelmap.read(text, origin)
    if found is not None and not (found.how == labelmap.ONE_LINE and classes == 1):
        return _mapped(found, classes, origin)
    lines = text.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise ModelError("labels", f"{origin} holds no labels; expected one class name a line.")
    if len(lines) > MAX_CLASSES:
        raise ModelError("labels", f"{origin} has {len(lines)} lines; a label file has at most {MAX_CLASSES}.")
    matches = [_NUMBERED.match(line) for line in lines if line.strip()]
    numbered = [(int(m[1]), m[2]) for m in matches if m is not None]
    numbers = [number for number, _ in numbered]
    if len(numbered) == len(matches) and len(set(numbers)) == len(numbers) and numbers == sorted(numbers):
        return _numbered(numbered, classes, origin)
    return _bare(lines, classes, origin)


def _mapped(found: labelmap.LabelMap, classes: int, origin: str) -> tuple[list[str], str]:
    if found.numbered is not None:
        names, how = _numbered(found.numbered, classes, origin, found.from_one)
        return names, how.replace("numbered lines", found.how)
    names = list(found.names or [])
    if not names:
        raise ModelError("labels", f"{origin} is {found.how} without a name in it; expected the classes' names.")
    if len(names) > MAX_CLASSES:
        raise ModelError("labels", f"{origin} has {len(names)} names; a label file has at most {MAX_CLASSES}.")
    names, how = _bare(names, classes, origin)
    return names, how.replace("bare lines", found.how)


def _numbered(
    entries: list[tuple[int, str]], classes: int, origin: str, from_one: bool = False
) -> tuple[list[str], str]:
    """`from_one`: the format's numbers begin at 1, whatever number the model's classes are."""
    first, last = entries[0][0], entries[-1][0]
    if last >= MAX_CLASSES:
        raise ModelError("labels", f"{origin} numbers a class {last}; numbers go up to {MAX_CLASSES - 1}.")
    background = first == 0 and entries[0][1].strip().lower() in _BACKGROUND
    shift = 0
    if from_one or not classes:
        # Where the model does not say how many classes it has, a list without a 0 tells by that what it begins at.
        shift = int(background or (first >= 1 if from_one else first == 1))
    elif last == classes and (first >= 1 or background):
        shift = 1
    names = [""] * (last + 1 - shift)
    for number, name in entries:
        if number >= shift:
            names[number - shift] = name
    if classes and len(names) > classes:
        raise ModelError(
            "labels_mismatch",
            f"{origin} numbers its classes up to {last}, but the model has {classes} (0 to {classes - 1}); "
            "it belongs to another model.",
        )
    return fill(names), "numbered lines" + (", counted from one" if shift else "")


def _bare(lines: list[str], classes: int, origin: str) -> tuple[list[str], str]:
    background = lines[0].strip().lower() in _BACKGROUND and len(lines) != classes
    names = lines[1:] if background else lines
    how = "bare lines" + (f", without the first ({lines[0].strip()})" if background else "")
    if classes and len(names) != classes:
        raise ModelError(
            "labels_mismatch",
            f"{origin} names {len(names)} classes{' besides the background' if background else ''}, but the model has "
            f"{classes}; it belongs to another model, or has lines missing (fill gaps with ???).",
        )
    return fill(names), how


_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte-order marks; UTF-32's first, as it begins with UTF-16's."""


def decode(data: bytes) -> str | None:
    """A label file's text, in UTF-8, -16 or -32, else in Windows-1252; None for what is no text."""
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "")
    if not encoding and b"\0" in data:
        # UTF-16 without its mark: of names in Latin letters every second byte is zero.
        zeros = (data[0::2].count(0), data[1::2].count(0))
        encoding = "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
        if len(data) % 2 or min(zeros) or max(zeros) * 8 < len(data) * 3:
            return None
    try:
        text = data.decode(encoding or "utf-8")
    except UnicodeDecodeError:
        text = data.decode(encoding or "cp1252", errors="replace")
    return None if "\0" in text else text.removeprefix("\ufeff")


def read_file(path: str, classes: int) -> tuple[list[str], str]:
    """Labels from a file named in the configuration. Raises ModelError."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ModelError("labels", f"The label file {path} cannot be read: {why}; correct model.labels.") from None
    text = decode(data)
    if len(data) > MAX_FILE_BYTES or text is None:
        raise ModelError("labels", f"{path} is no label file: expected up to {MAX_FILE_BYTES // 1024} KiB of text.")
    return parse(text, classes, f"The label file {path}")


def _has_archive(path: str) -> bool:
    """Whether the file ends in a ZIP archive's directory (at most 64 KiB of comment behind it)."""
    with Path(path).open("rb") as file:
        file.seek(0, 2)
        file.seek(max(file.tell() - 66_000, 0))
        return b"PK\x05\x06" in file.read()


def from_archive(path: str, wanted: Sequence[str], classes: int) -> tuple[list[str], str] | None:
    """Labels from the ZIP archive behind a model; None when there is none.

    `wanted` are the names that the metadata gives; without any, a single text file is taken.
    Raises ModelError when the archive holds labels that do not fit.
    """
    if not _has_archive(path):
        return None
    import zipfile  # 1 MiB with the compressors it pulls in: only for the models that need it

    try:
        with zipfile.ZipFile(path) as archive:
            texts = [info for info in archive.infolist() if info.filename.endswith(".txt")]
            by_name = {info.filename: info for info in archive.infolist()}
            info = next((by_name[name] for name in wanted if name in by_name), None)
            if info is None and len(texts) == 1:
                info = texts[0]
            if info is None:
                return None
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # A damaged LZMA header asks for gigabytes.
                raise NotImplementedError(f"{info.filename} is compressed by method {info.compress_type}")
            with archive.open(info) as member:
                data = member.read(MAX_FILE_BYTES + 1)
    except (zipfile.BadZipFile, zipfile.LargeZipFile):
        return None
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise ModelError("labels", f"The labels inside the model are damaged: {error}.") from None
    text = decode(data)
    if len(data) > MAX_FILE_BYTES or text is None:
        raise ModelError(
            "labels",
            f"{info.filename} inside the model is no label file: expected up to {MAX_FILE_BYTES // 1024} KiB of text.",
        )
    names, how = parse(text, classes, f"{info.filename} inside the model")
    return names, f"{info.filename} inside the model, {how}"
