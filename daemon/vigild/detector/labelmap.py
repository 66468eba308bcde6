"""Label maps in the formats that tools write: pbtxt, JSON, CSV, and the names of a YAML data file.

    found = read(text, "The label file map.pbtxt")     # None: plain lines, as far as can be told
    found.names                                        # ["person", "car"], or
    found.numbered                                     # [(1, "person"), (2, "car")]
    found.from_one                                     # the format's numbers begin at 1, 0 being the background

What looks like another format is refused by its name: taken for plain lines, it would give wrong names silently.
YAML is read as far as data files go (a list or a map of names, in one line or several); boards have no library for it.
"""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from vigild.detector.errors import ModelError


class LabelMap(NamedTuple):
    """What a file says: names in order, or names with their numbers."""

    how: str
    """The format, in words."""
    names: list[str] | None = None
    numbered: list[tuple[int, str]] | None = None
    from_one: bool = False


ONE_LINE = "names in one line"
"""With a single class, it may also be one name with a comma in it."""

_KEYS = ("names", "labels", "classes", "class_names", "categories", "id2label", "label_map", "label2id")
"""Under which tools keep the list: Ultralytics, Hugging Face, COCO and others."""
_EXPECTED = "expected a name a line, a pbtxt label map, JSON, CSV of id,name or the names: of a YAML file"


def read(text: str, origin: str) -> LabelMap | None:
    """Raises ModelError "labels" for a structured file that holds no names, or is of another format."""
    stripped = text.strip()
    if re.match(r"(?:[\w.]+\s*:?\s*\{\s*)?\b(?:item|items|entries)\s*:?\s*\{", _without_comments(stripped)):
        return _pbtxt(stripped, origin)
    if stripped[:1] in ("[", "{") and not re.match(r"\[[\w.-]+\]\s*\n[^\n]*=", stripped):
        return _json(stripped, origin)
    lines = [line.rstrip() for line in text.split("\n")]
    found = _yaml(lines, origin) or _csv(lines, origin)
    if found is None:
        _refuse_others(stripped, lines, origin)
    return found


def _fault(origin: str, what: str) -> ModelError:
    return ModelError("labels", f"{origin} {what}; {_EXPECTED}.")


# ---- pbtxt: the label maps of the TensorFlow object detection API

_STRING = r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'"


def _without_comments(text: str) -> str:
    return re.sub(r"(?m)^\s*#.*\n?", "", text).strip()


def _pbtxt(text: str, origin: str) -> LabelMap:
    numbered: list[tuple[int, str]] = []
    for block in re.findall(rf"\b(?:item|items|entries)\s*:?\s*\{{((?:{_STRING}|[^{{}}\"'])*)", _uncommented(text)):
        fields = dict(re.findall(rf"(\w+)\s*:\s*({_STRING}|-?\d+)", block))
        number, name = fields.get("id", ""), fields.get("display_name") or fields.get("name", "")
        if not re.fullmatch(r"\d{1,6}", number) or name[:1] not in ("'", '"'):
            raise _fault(origin, "looks like a pbtxt label map, but has an item without id and name")
        numbered.append((int(number), _unquoted(name)))
    if not numbered:
        raise _fault(origin, "looks like a pbtxt label map, but holds no item that can be read")
    return LabelMap("a pbtxt label map", numbered=_sorted(numbered, origin), from_one=True)


def _uncommented(text: str) -> str:
    """Without comments, which begin with # outside of quotes."""
    return re.sub(rf"({_STRING})|#[^\n]*", lambda found: found[1] or "", text)


def _unquoted(text: str) -> str:
    """A quoted string's text, escapes of C and Python resolved."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text[1:-1]
    return str(value)


# ---- JSON


def _json(text: str, origin: str) -> LabelMap:
    value: Any
    try:
        value = json.loads(text)
    except RecursionError:
        raise _fault(origin, "looks like JSON, but is nested too deeply") from None
    except ValueError as error:
        try:
            value = ast.literal_eval(text)  # what Python prints of a list: quotes and commas are its own
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise _fault(origin, f"looks like JSON, but is none: {error}") from None
    found = _value(value, "JSON", origin)
    if found is None:
        raise _fault(origin, "is JSON, but holds no list of names and no names with their numbers")
    return found


def _value(value: Any, how: str, origin: str) -> LabelMap | None:
    """A list or an object of names, or what holds one under a usual key."""
    if isinstance(value, (list, tuple)):
        return _sequence(value, how, origin)
    if not isinstance(value, dict) or not value:
        return None
    for key in _KEYS:
        if isinstance(value.get(key), (list, tuple, dict)):
            found = _value(value[key], how, origin)
            return found and found._replace(from_one=found.from_one or key == "categories")
    if all(_is_number(key) and isinstance(name, (str, type(None))) for key, name in value.items()):
        pairs = [(int(key), name or "") for key, name in value.items()]
        return LabelMap(f"{how}, numbers and names", numbered=_sorted(pairs, origin))
    if all(isinstance(key, str) and _is_number(number) for key, number in value.items()):
        pairs = [(int(number), key) for key, number in value.items()]
        if min(pairs)[0] > 1:  # {"version": 3} are settings
            return None
        return LabelMap(f"{how}, names and numbers", numbered=_sorted(pairs, origin))
    return None


def _sequence(value: Iterable[Any], how: str, origin: str) -> LabelMap | None:
    items = list(value)
    if items and all(isinstance(item, (str, type(None))) for item in items):
        return LabelMap(f"a {how} list", names=[item or "" for item in items])
    pairs = []
    for item in items:
        if not isinstance(item, dict):
            return None
        number = next((item[key] for key in ("id", "index", "class_id", "value") if _is_number(item.get(key))), None)
        name = next((item[key] for key in ("name", "label", "display_name") if isinstance(item.get(key), str)), None)
        if number is None or name is None:
            return None
        pairs.append((int(number), name))
    return LabelMap(f"a {how} list of ids and names", numbered=_sorted(pairs, origin)) if pairs else None


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"\d{1,6}", value) is not None
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**6


def _sorted(pairs: list[tuple[int, str]], origin: str) -> list[tuple[int, str]]:
    seen: dict[int, str] = {}
    for number, name in pairs:
        if seen.setdefault(number, name) != name:
            raise ModelError(
                "labels", f"{origin} gives class {number} two names, {seen[number]!r} and {name!r}; remove one of them."
            )
    return sorted(seen.items())


# ---- YAML, as far as data files go

_YAML_KEY = re.compile(rf"[\"']?({'|'.join(_KEYS)})[\"']?\s*:(?:\s+(.*))?$")
_YAML_ITEM = re.compile(r"\s*-(?:\s+(.*))?$")
_YAML_PAIR = re.compile(r"\s+[\"']?(\d{1,6})[\"']?\s*:(?:\s+(.*))?$")
_YAML_ANY = re.compile(r"[A-Za-z_][\w-]*:(?:\s.*)?$")


def _yaml(lines: list[str], origin: str) -> LabelMap | None:
    content = [line for line in lines if line.strip() and not line.lstrip().startswith("#") and line != "---"]
    for at, line in enumerate(content):
        found = _YAML_KEY.match(line)
        if found is not None:
            value = _scalar_end(found[2] or "")
            if value[:1] in ("[", "{"):
                return _yaml_flow([value, *content[at + 1 :]], origin)
            if not value:
                return _yaml_block(content[at + 1 :], origin)
    if len(content) > 1 and all(_YAML_ITEM.match(line) for line in content):
        return LabelMap("a YAML list", names=[_scalar(_item(line)) for line in content])
    return None


def _yaml_block(lines: list[str], origin: str) -> LabelMap:
    """The indented lines below names: (a list may also stand at the margin)."""
    if lines and _YAML_ITEM.match(lines[0]):
        names = []
        for line in lines:
            if _YAML_ITEM.match(line) is None:
                break
            names.append(_scalar(_item(line)))
        return LabelMap("a YAML list", names=names)
    pairs = []
    for line in lines:
        found = _YAML_PAIR.match(line)
        if found is None:
            if line[0] in " \t":
                raise _fault(origin, f"looks like YAML, but {line.strip()[:60]!r} is no number with a name")
            break
        pairs.append((int(found[1]), _scalar(found[2] or "")))
    if not pairs:
        raise _fault(origin, "looks like YAML without anything below its names:")
    return LabelMap("YAML, numbers and names", numbered=_sorted(pairs, origin))


_FLOW = re.compile(rf"\s*({_STRING})\s*|([^\"'\[\]{{}},:][^\[\]{{}},:]*)|([\[\]{{}},:])")


def _yaml_flow(lines: list[str], origin: str) -> LabelMap:
    """[a, b] or {0: a, 1: b}, in one line or over several."""
    text = "\n".join(_scalar_end(line) for line in lines)
    is_map = text[0] == "{"
    fields: list[list[str]] = [[]]
    for string, bare, mark in _FLOW.findall(text[1:]):
        if mark in ("]", "}"):
            break
        if mark in ("[", "{"):
            raise _fault(origin, "looks like YAML with lists inside its list of names")
        if mark == ",":
            fields.append([])
        elif mark == ":" and is_map and len(fields[-1]) == 1:
            continue
        elif string or bare.strip() or mark:
            fields[-1].append(_unquoted(string) if string else (bare.strip() or mark))
    else:
        raise _fault(origin, f"looks like YAML whose list of names has no {'}' if is_map else ']'}")
    fields = [field for field in fields if field]
    if not is_map:
        return LabelMap("a YAML list", names=[_gap(" ".join(field)) for field in fields])
    if not all(len(field) == 2 and _is_number(field[0]) for field in fields) or not fields:
        raise _fault(origin, "looks like YAML whose names are no numbers with names")
    pairs = [(int(number), _gap(name)) for number, name in fields]
    return LabelMap("YAML, numbers and names", numbered=_sorted(pairs, origin))


def _item(line: str) -> str:
    return line.lstrip()[1:].strip()


def _scalar_end(text: str) -> str:
    """Without a comment, which begins with a space and # outside of quotes."""
    return re.sub(rf"({_STRING})|(?:^|\s)#.*", lambda found: found[1] or "", text).strip()


def _scalar(text: str) -> str:
    text = _scalar_end(text)
    return _unquoted(text) if re.fullmatch(_STRING, text) else _gap(text)


def _gap(text: str) -> str:
    return "" if text in ("~", "null") else text


# ---- CSV

_CSV_HEADER = re.compile(r"(?:class[_ ]?)?(?:id|index|number|name|label|class|display[_ ]?name)", re.IGNORECASE)


def _csv(lines: list[str], origin: str) -> LabelMap | None:
    """Rows of a number and a name, in any columns; or names in one row. None for lines that have commas in names."""
    content = [line for line in lines if line.strip()]
    if not content:
        return None
    separator = next((mark for mark in (",", ";") if all(mark in line for line in content)), None)
    if separator is None:
        return None
    try:
        rows = [
            [cell.strip() for cell in row] for row in csv.reader(content, delimiter=separator, skipinitialspace=True)
        ]
    except csv.Error:
        return None
    header = len(rows) > 1 and all(_CSV_HEADER.fullmatch(cell) for cell in rows[0][:2])
    body = rows[header:]
    if len(rows) == 1 and len(rows[0]) > 1 and not _is_number(rows[0][0]):
        names = [cell for cell in rows[0] if cell]
        return LabelMap(ONE_LINE, names=names)
    for number, name in ((0, 1), (1, 0)):
        if all(len(row) > 1 and _is_number(row[number]) and not _is_number(row[name]) for row in body):
            pairs = [(int(row[number]), row[name]) for row in body]
            return LabelMap("CSV of numbers and names", numbered=_sorted(pairs, origin))
    if header:
        raise _fault(
            origin, f"looks like CSV with the columns {', '.join(rows[0][:4])}, but has a row without id and name"
        )
    return None


# ---- what is refused by its name


def _refuse_others(text: str, lines: list[str], origin: str) -> None:
    content = [line for line in lines if line.strip() and not line.lstrip().startswith(("#", ";"))]
    if re.match(r"<(?:\?xml|!doctype|html|[A-Za-z][\w:-]*[\s>/])", text, re.IGNORECASE):
        raise _fault(origin, "looks like XML or a web page")
    if content and all(re.match(r"\s*(?:[\w.-]+\s*=|\[.*\]\s*$)", line) for line in content):
        raise _fault(origin, "looks like settings (TOML or INI)")
    if len(content) > 1 and all(_YAML_ANY.match(line) or line[0] in " \t-" for line in content):
        raise _fault(origin, "looks like YAML without a list of names")
    if len(content) > 1 and all(line.count("|") >= 2 for line in content):
        raise _fault(origin, "looks like a table")
    if re.match(r"(?:syntax|message|import|def|class|const|let|var)\b.*[;:{=]\s*$", content[0] if content else ""):
        raise _fault(origin, "looks like a program")
