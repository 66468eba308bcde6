"""The journal of a deploy: whatever is interrupted, one whole release runs, and the board gets to an end by itself."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cross.board import journal as states
from cross.board.journal import Allowance, Journal, JournalError, Moment

S = 10**9
AT = Moment("boot-1", 100 * S)
ALLOWED = Allowance(60, True)


def tried(release: str = "new", good: str | None = "old") -> Journal:
    return states.begin(Journal(current=good, good=good), release, ALLOWED, AT)


def test_what_passes_is_good_and_the_one_before_is_remembered():
    journal = states.passed(tried())
    assert (journal.phase, journal.current, journal.good, journal.previous) == ("settled", "new", "new", "old")
    assert journal.candidate is None


def test_what_fails_is_replaced_by_the_good_one_which_is_judged_too():
    journal = states.failed(tried(), "no detections", AT)
    assert (journal.phase, journal.current, journal.failed) == ("reverting", "old", "new")
    settled = states.passed(journal)
    assert (settled.phase, settled.current, settled.good, settled.ailing) == ("settled", "old", "old", False)
    assert settled.reason == "no detections"


def test_when_the_good_one_fails_too_the_board_goes_on_with_it_and_says_so():
    journal = states.failed(states.failed(tried(), "no detections", AT), "no camera", AT)
    assert (journal.phase, journal.current, journal.ailing) == ("settled", "old", True)
    assert "no detections" in journal.reason
    assert "no camera" in journal.reason


def test_the_first_release_has_nothing_before_it_and_stays():
    journal = states.failed(tried(good=None), "no detections", AT)
    assert (journal.phase, journal.current, journal.good, journal.ailing) == ("settled", "new", None, True)


def test_one_trial_at_a_time():
    with pytest.raises(JournalError, match="new is being tried"):
        states.begin(tried(), "newer", ALLOWED, AT)


def test_the_window_ends_by_the_clock_that_nobody_sets():
    journal = tried()
    assert not journal.expired(Moment("boot-1", 159 * S))
    assert journal.expired(Moment("boot-1", 160 * S))
    assert journal.expired(Moment("boot-2", 0)), "the clock of another start of the board tells nothing"


def test_a_start_of_the_board_costs_a_try_and_the_last_one_reverts():
    once = states.resumed(tried(), Moment("boot-2", 5 * S))
    assert (once.phase, once.current, once.tries_left) == ("trying", "new", 0)
    assert once.deadline_ns == 65 * S
    twice = states.resumed(once, Moment("boot-3", 5 * S))
    assert (twice.phase, twice.current, twice.failed) == ("reverting", "old", "new")


def test_a_guard_that_is_started_again_gets_no_more_time():
    assert states.resumed(tried(), Moment("boot-1", 150 * S)) == tried()


def test_a_rollback_can_be_rolled_back():
    journal = states.passed(tried())
    back = states.passed(states.begin(journal, "old", ALLOWED, AT))
    assert (back.good, back.previous) == ("old", "new")


def test_what_is_written_is_read_again():
    for journal in (Journal(), tried(), states.failed(tried(), "why", AT)):
        assert states.decode(states.encode(journal)) == journal


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON"),
        (b"[]", "format"),
        (states.encode(replace(Journal(), format=2)), "format"),
        (b'{"format": 1}', "keys"),
        (states.encode(tried()).replace(b'"trying"', b'"dying"'), "phase"),
        (states.encode(tried()).replace(b'"candidate": "new"', b'"candidate": null'), "candidate"),
        (states.encode(tried()).replace(b'"tries_left": 1', b'"tries_left": "1"'), "tries_left"),
    ],
)
def test_a_damaged_journal_is_refused(data: bytes, message: str):
    with pytest.raises(JournalError, match=message):
        states.decode(data)


# ---- cut off anywhere


@dataclass
class Board:
    """A board in two lines of disk, a journal and a link, each of which changes at once or not at all."""

    journal: Journal = field(default_factory=Journal)
    link: str | None = None
    whole: set[str] = field(default_factory=set)
    boot: int = 0
    now_ns: int = 0
    steps_left: int = 10**9

    def moment(self) -> Moment:
        return Moment(f"boot-{self.boot}", self.now_ns)

    def step(self) -> None:
        if self.steps_left == 0:
            raise InterruptedError
        self.steps_left -= 1

    def save(self, journal: Journal) -> None:
        self.step()
        self.journal = journal

    def point(self) -> None:
        if self.link != self.journal.current:
            self.step()
            self.link = self.journal.current

    def power(self) -> None:
        self.boot += 1
        self.now_ns = 0
        self.steps_left = 10**9
        self.save(states.resumed(self.journal, self.moment()))
        self.point()


Deed = tuple[str, int]
DEEDS = st.lists(st.tuples(st.sampled_from(["deploy", "pass", "fail", "late", "cut", "guard"]), st.integers(0, 3)))


def act(board: Board, deed: str, number: int) -> None:
    if deed == "deploy" and board.journal.phase == "settled":
        release = f"release-{number}"
        board.whole.add(release)  # whole before the journal names it
        board.save(states.begin(board.journal, release, ALLOWED, board.moment()))
        board.point()
    elif deed == "guard":
        board.save(states.resumed(board.journal, board.moment()))
        board.point()
    elif deed == "late":
        board.now_ns += 61 * S
        if board.journal.expired(board.moment()):
            board.save(states.failed(board.journal, "late", board.moment()))
            board.point()
    elif deed in ("pass", "fail") and board.journal.phase != "settled":
        after = states.passed if deed == "pass" else lambda journal: states.failed(journal, "bad", board.moment())
        board.save(after(board.journal))
        board.point()


@given(DEEDS, st.lists(st.integers(0, 3), min_size=1))
def test_cut_off_after_any_step_one_whole_release_is_pointed_at(deeds: list[Deed], cuts: list[int]):
    board = Board()
    for index, (deed, number) in enumerate(deeds):
        board.steps_left = cuts[index % len(cuts)]
        try:
            act(board, deed, number)
            if deed == "cut":
                raise InterruptedError
        except InterruptedError:
            board.power()
            assert board.link == board.journal.current
        assert board.link is None or board.link in board.whole
        assert board.journal.needs() <= board.whole
        assert states.decode(states.encode(board.journal)) == board.journal
    # Nobody does anything any more, and nothing passes: it still comes to an end, on what was good last.
    good = board.journal.good
    board.steps_left = 10**9
    for _ in range(3):
        act(board, "guard", 0)
        act(board, "late", 0)
    assert board.journal.phase == "settled"
    assert board.journal.good == good
    assert board.link == board.journal.current
    if good is not None and board.journal.failed != good and board.journal.failed is not None:
        assert board.link == good
