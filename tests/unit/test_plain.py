"""Texts of others, made fit for a terminal, a log and a message."""

import pytest

from vigild import plain
from vigild.catalogue import manifest
from vigild.catalogue.entry import ManifestError
from vigild.config.load import MAX_PROBLEMS, ConfigError
from vigild.detector import labels
from vigild.detector.errors import ModelError


def test_what_would_steer_a_terminal_is_spelt_out() -> None:
    assert plain.sentence("a\x1b[31mb\x85\u2028\u202e\ud800") == "a\\x1b[31mb\\x85\\u2028\\u202e\\ud800"
    assert plain.sentence("two\r\nlines\tof it") == "two  lines of it"


def test_other_scripts_and_emoji_stay() -> None:
    text = "75 \u00b0C, \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645, \U0001f468\u200d\U0001f469\u200d\U0001f467"
    assert plain.sentence(text) == plain.name(text) == text


def test_a_long_sentence_keeps_its_begin_and_its_end() -> None:
    text = plain.sentence("found " + "x" * 5000 + "; correct model.path.")
    assert len(text) == plain.MAX_SENTENCE_CHARACTERS
    assert text.startswith("found xxx")
    assert text.endswith("x; correct model.path.")
    exact = "y" * plain.MAX_SENTENCE_CHARACTERS
    assert plain.sentence(exact) == exact


def test_a_file_keeps_its_lines() -> None:
    assert plain.contents(b"a\tb\r\n\x1b[2J\xff\xc2\x85\n") == "a\tb \n\ufffd[2J\ufffd \n"


def test_what_is_sent_is_whole_and_otherwise_as_it_was() -> None:
    assert plain.whole("a\x1b\udcff\n") == "a\x1b\ufffd\n"
    assert plain.is_text("a\x1b\n") and not plain.is_text("\udcff")


def test_a_name_shows_that_something_was_there() -> None:
    assert plain.name("red\x1b[31m\tlight\x00") == "red\ufffd[31m light\ufffd"


@pytest.mark.parametrize("error", [ModelError("labels", "a\x1bb"), ManifestError("a\x1bb"), ConfigError(["a\x1bb"])])
def test_every_refusal_is_plain(error: Exception) -> None:
    assert str(error) == "a\\x1bb"
    assert "\x1b" not in str(getattr(error, "message", "") or getattr(error, "problems", ""))


def test_a_problem_of_a_manifest_is_one_line() -> None:
    found = manifest.parse('format = 1\n[model."a\\u2028b"]\n', "m.toml", "/")
    assert found.refused["a\u2028b"].splitlines() == found.refused["a\u2028b"].split("\n")


def test_a_configuration_is_not_told_problem_by_problem_for_ever() -> None:
    problems = ConfigError([f"problem {number}" for number in range(5000)]).problems
    assert problems[-2:] == [f"problem {MAX_PROBLEMS - 1}", f"... and {5000 - MAX_PROBLEMS} more problems"]


def test_labels() -> None:
    names, _ = labels.parse("red\x1b[31m\nblue\x07", 2, "labels.txt")
    assert names == ["red\ufffd[31m", "blue\ufffd"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_end(end: str) -> None:
    assert labels.parse(end.join(["red", "blue", ""]), 2, "labels.txt")[0] == ["red", "blue"]
