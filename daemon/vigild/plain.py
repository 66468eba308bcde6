"""Texts from files and peers, made fit for a terminal, a log and a message.

sentence('found "\\x1b[31m", expected ...')     # what would steer the terminal, spelt out
name("red\\x1b[31m")                            # ... as U+FFFD, in text that is shown as it is
"""

from __future__ import annotations

import re

MAX_SENTENCE_CHARACTERS = 1000
"""A dozen lines on a terminal. What is longer quotes somebody's file at length."""

_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line and paragraph separators, changes of direction, and halves of characters (which no UTF-8
has). Joiners stay: emoji and several scripts need them."""


def is_text(text: str) -> bool:
    """Whether it can be sent: names of files and arguments that are no UTF-8 come with halves of characters."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def sentence(text: str) -> str:
    """`text` in one line of up to MAX_SENTENCE_CHARACTERS; of a longer one, its begin and its end."""
    if len(text) > MAX_SENTENCE_CHARACTERS:
        end = MAX_SENTENCE_CHARACTERS // 4
        text = f"{text[: MAX_SENTENCE_CHARACTERS - end - 5]} ... {text[-end:]}"
    return _STEERING.sub(_spelt, text)


def name(text: str) -> str:
    """`text` with U+FFFD for what would steer a terminal, and spaces for tabs and line ends."""
    return _STEERING.sub(lambda match: " " if match[0].isspace() else "\ufffd", text)


def _spelt(match: re.Match[str]) -> str:
    character = match[0]
    return " " if character in "\t\r\n" else ascii(character)[1:-1]
