"""Damage to texts: label files, TOML, JSON lines.

data = labels(seed, rng); data = tokens(seed, rng, TOML)
"""

from __future__ import annotations

import re
from random import Random
from typing import NamedTuple

from fuzz import mutate

_ODD_LINES = (
    "", " ", "\t", "???", "n/a", "background", "0", "0 ", "1:", "-1 x", "99999 x", "100000 x", "9999 x", "\u00e9",
    "\u202e", "\ud7ff", "\U0001f600" * 30, "x" * 70_000, "\r", "\x1b[31mred", "\x85", "\u2028", "\v", "#",
    "00001 x", "\u0661 x", "a\0b",
)  # fmt: skip
_ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "utf-7", "shift-jis")


def labels(seed: bytes, rng: Random) -> bytes:
    """A label file with odd lines, in an odd encoding, or with bytes damaged."""
    lines = seed.decode(errors="replace").split("\n")
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        at = rng.randrange(len(lines))
        kind = rng.random()
        if kind < 0.6:
            lines[at : at + rng.randint(0, 1)] = [rng.choice(_ODD_LINES)]
        elif kind < 0.8:
            lines[at:at] = lines[at : at + 1] * rng.choice((1, 2, 100, 12_000) if len(lines[at]) < 100 else (1, 2))
        else:
            del lines[at]
            lines = lines or [""]
    data = (
        rng.choice(("\n", "\n", "\n", "\r\n", "\r"))
        .join(lines)
        .encode(rng.choice(_ENCODINGS) if rng.random() < 0.3 else "utf-8", errors="replace")
    )
    return mutate.damage(data, rng) if data and rng.random() < 0.3 else data


class Grammar(NamedTuple):
    token: re.Pattern[str]
    odd: tuple[str, ...]


_ODD_VALUES = (
    "", "0", "-1", "1e999", "nan", "inf", "-0.0", "9" * 400, "0x7f", "true", '""', "[]", "[[]]", "{}", '"\\u0000"',
    '"\\ud800"', '"' + "x" * 70_000 + '"', '"75 \u00b0C"', '"1e999 s"', '"-1 s"', '"999999999999 GiB"', "'", '"', "\n",
    "=", ".", "\0",
    "2" * 5000, "1979-05-27T07:32:00Z", "[1,", "[" * 2000, "{a=" * 500,
    "\u202e", "../../../etc/passwd", "1.5", "-9223372036854775809",
)  # fmt: skip
TOML = Grammar(
    re.compile(r'"[^"\n]*"|[\w.+-]+|\s+|\[\[?|\]\]?|.', re.DOTALL), (*_ODD_VALUES, "[a]\n", "[[a]]\n", "a.b=1\n", '"""')
)
JSON = Grammar(
    re.compile(r'"(?:[^"\\\n]|\\.)*"|[\w.+-]+|\s+|.', re.DOTALL), (*_ODD_VALUES, "null", "[" * 20_000, '{"a":' * 3000)
)


def tokens(seed: bytes, rng: Random, grammar: Grammar, others: tuple[bytes, ...] = ()) -> bytes:
    """A text with tokens swapped, doubled, dropped and replaced; sometimes with bytes damaged as well."""
    found = grammar.token.findall(seed.decode(errors="replace"))
    words = [at for at, token in enumerate(found) if token.strip()]
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        if not words:
            break
        at, other = rng.choice(words), rng.choice(words)
        if max(at, other) >= len(found):
            continue
        kind = rng.random()
        if kind < 0.3:
            found[at], found[other] = found[other], found[at]
        elif kind < 0.6:
            found[at] = rng.choice(grammar.odd)
        elif kind < 0.75:
            found[at] = found[other]
        elif kind < 0.9:
            del found[at : at + rng.randint(1, 3)]
        else:
            found[at:at] = found[other : other + rng.randint(1, 200)]
    data = "".join(found).encode(errors="surrogatepass")
    return mutate.damage(data, rng, others) if data and rng.random() < 0.25 else data
