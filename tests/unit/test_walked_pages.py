"""The pages of tasks have no command that is neither carried out on the emulated board nor left out for a reason."""

from __future__ import annotations

import re

import pytest

from board_vm.walked import LEFT, NO_COMMAND, SECTIONS, WALKED, commands, comments


@pytest.mark.parametrize("page", SECTIONS)
def test_every_command_is_walked_or_left_out_for_a_reason(page: str) -> None:
    known = [*WALKED[page], *LEFT[page], *NO_COMMAND[page]]
    assert len(known) == len(set(known)), "each in one of them"
    assert set(commands(page)) - set(known) == set(), "walk these (test_pages_vm.py), or say why not (walked.py)"
    assert set(known) - set(commands(page)) == set(), "the page has these no more"


@pytest.mark.parametrize("page", SECTIONS)
def test_no_command_hides_in_a_comment(page: str) -> None:
    hidden = r"(?<![/\w])(sudo|make|vigild|systemctl|journalctl|apt-get|ssh|python3?) \S"
    assert [comment for comment in comments(page) if re.search(hidden, comment)] == []


def test_a_command_is_found_wherever_it_stands() -> None:
    """Else the tests above would be content with a page that they cannot read."""
    assert len(commands("service.md")) > 30
    assert "sudo apt-get install python3-numpy python3-opencv" in commands("raspberry-pi.md")  # broken over two lines
    assert "make signing-key" in commands("many-boards.md")  # with a comment
    assert "sudo systemd-sysusers" in commands("service.md")  # in a table
