"""Texts from outside, made fit for a terminal, a log and a message.

sentence('found "\\x1b[31m", expected ...')     # what would steer the terminal, spelt out
name("red\\x1b[31m")                            # ... as U+FFFD, in text that is shown as it is
word(text(path))                                # what a driver or a firmware calls something
contents(data)                                  # a whole file of the kernel, line by line

Outside is everything that is not written here: files of the kernel and of people, names of files, arguments, the
environment, what peers and libraries say. Whoever reads it into the daemon, and whoever prints or sends it, goes
through here, so that a name that one forgot is stopped by the other.
"""

from __future__ import annotations

import re

MAX_SENTENCE_CHARACTERS = 1000
"""A dozen lines on a terminal. What is longer quotes somebody's file at length."""

MAX_WORD_CHARACTERS = 120
"""Longer than any name of a board, a sensor or a camera."""

_CONTROLS = "\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_STEERING = re.compile(f"[\x00-\x1f{_CONTROLS}]")
"""Control characters, line and paragraph separators, changes of direction, and halves of characters (which no UTF-8
has). Joiners stay: emoji and several scripts need them."""
_IN_CONTENTS = re.compile(f"[\x00-\x08\x0b-\x1f{_CONTROLS}]")
_HALVES = re.compile("[\ud800-\udfff]")


def is_text(text: str) -> bool:
    """Whether it can be sent: names of files and arguments that are no UTF-8 come with halves of characters."""
    return _HALVES.search(text) is None


def whole(text: str) -> str:
    """`text` with U+FFFD for halves of characters: what can be sent, and is otherwise as it was."""
    return _HALVES.sub("\ufffd", text)


def spelt(text: str) -> str:
    """`text` in one line, however long; what would steer a terminal is spelt out."""
    return _STEERING.sub(_spelt, text)


def sentence(text: str) -> str:
    """`text` in one line of up to MAX_SENTENCE_CHARACTERS; of a longer one, its begin and its end."""
    if len(text) > MAX_SENTENCE_CHARACTERS:
        end = MAX_SENTENCE_CHARACTERS // 4
        text = f"{text[: MAX_SENTENCE_CHARACTERS - end - 5]} ... {text[-end:]}"
    return spelt(text)


def name(text: str) -> str:
    """`text` with U+FFFD for what would steer a terminal, and spaces for tabs and line ends."""
    return _STEERING.sub(_replaced, text)


def word(text: str) -> str:
    """What something is called, as a name of up to MAX_WORD_CHARACTERS."""
    return name(text.strip("\0 \t\r\n")[:MAX_WORD_CHARACTERS])


def contents(data: bytes) -> str:
    """A file of several lines: these and tabs stay, U+FFFD stands for what is no UTF-8 or would steer a terminal."""
    return _IN_CONTENTS.sub(_replaced, data.decode(errors="replace"))


def _replaced(match: re.Match[str]) -> str:
    return " " if match[0].isspace() else "\ufffd"


def _spelt(match: re.Match[str]) -> str:
    character = match[0]
    return " " if character in "\t\r\n" else ascii(character)[1:-1]
