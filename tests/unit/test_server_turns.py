"""The order in which clients are served, and the time that they get: no sockets, and a clock that the test moves."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vigild.hub.turns import BURST_S, MOST_DEBT_S, ONE_SHARE, QUANTUM_S, SHARE, SLICE_S, TICK_S, Turns


class World:
    """A clock, the turns on it, and an event loop that does nothing else."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.due_s: float | None = None
        self.told = 0
        self.served: list[One] = []
        self.busy_s = 0.0
        self.turns = Turns(lambda: self.now_s, self._due)
        self.turns.tick(self.now_s)
        self.next_tick_s = self.now_s + TICK_S

    def _due(self, wait_s: float) -> None:
        self.told += 1
        if self.due_s is None:
            self.due_s = self.now_s + wait_s

    def slice(self) -> float:
        """One slice, now; how long it took."""
        began_s, self.due_s = self.now_s, None
        self.turns.slice()
        self.busy_s += self.now_s - began_s
        return self.now_s - began_s

    def run(self, seconds: float) -> float:
        """Slices when they are due, and ticks; the time spent in slices."""
        end_s, before_s = self.now_s + seconds, self.busy_s
        while min(self.next_tick_s, self.due_s or end_s) < end_s:
            if self.due_s is not None and self.due_s <= self.next_tick_s:
                self.now_s = max(self.now_s, self.due_s)
                self.slice()
            else:
                self.now_s = max(self.now_s, self.next_tick_s)
                self.next_tick_s = self.now_s + TICK_S
                self.turns.tick(self.now_s)
        self.now_s = max(self.now_s, end_s)
        return self.busy_s - before_s


class One:
    """Asks for `requests` things that cost `cost_s` each."""

    def __init__(self, world: World, requests: int, cost_s: float) -> None:
        self.world = world
        self.requests = requests
        self.cost_s = cost_s
        self.done = 0

    def serve(self, until_s: float) -> bool:
        self.world.served.append(self)
        while self.done < self.requests:
            self.done += 1
            self.world.now_s += self.cost_s
            if self.world.now_s >= until_s:
                break
        return self.done < self.requests


ENDLESS = 10**9


def test_all_of_them_together_get_their_share_and_no_more() -> None:
    world = World()
    flood = [One(world, ENDLESS, 0.0001) for _ in range(64)]
    for one in flood:
        world.turns.add(one)
    assert SHARE * 10.0 - 2 * SLICE_S <= world.run(10.0) <= SHARE * 10.0 + 2 * SLICE_S
    done = sorted(one.done for one in flood)
    assert done[0] > 0.9 * done[-1]


def test_one_alone_gets_its_own_share_and_no_more() -> None:
    world = World()
    world.turns.add(One(world, ENDLESS, 0.0001))
    assert 0.9 * ONE_SHARE * 10.0 <= world.run(10.0) <= ONE_SHARE * (10.0 + 2 * TICK_S)


def test_slices_are_short_and_rest_in_between_whatever_is_asked() -> None:
    world = World()
    for _ in range(64):
        world.turns.add(One(world, ENDLESS, 0.0001))
    for _ in range(50):
        assert world.due_s is not None
        world.now_s = max(world.now_s, world.due_s)
        assert SLICE_S <= world.slice() <= SLICE_S + QUANTUM_S + 0.0001
    assert world.due_s is not None
    assert world.due_s - world.now_s >= SLICE_S / SHARE - SLICE_S - 0.0001


def test_a_slice_that_comes_too_early_does_nothing() -> None:
    world = World()
    world.turns.add(One(world, ENDLESS, 0.0001))
    world.turns.add(One(world, ENDLESS, 0.0001))
    world.slice()
    world.slice()
    assert world.slice() == 0.0
    assert world.due_s is not None and world.due_s > world.now_s


def test_one_request_is_served_at_once() -> None:
    world = World()
    for _ in range(10):
        world.turns.add(One(world, 1, 0.0001))
        assert world.due_s == world.now_s
        assert world.slice() == pytest.approx(0.0001)


def test_who_has_had_nothing_comes_before_a_flood() -> None:
    world = World()
    for _ in range(20):
        world.turns.add(One(world, ENDLESS, 0.00005))
    while len(set(world.served)) < 20:
        world.run(0.001)
    seldom = One(world, 1, 0.00005)
    world.served.clear()
    world.turns.add(seldom)
    world.run(0.02)
    assert world.served[0] is seldom


def test_what_took_too_long_is_paid_back_by_waiting() -> None:
    world = World()
    slow, other = One(world, 3, 0.04), One(world, ENDLESS, 0.0001)
    world.turns.add(slow)
    world.slice()
    world.turns.add(other)
    assert world.due_s == pytest.approx(world.now_s + 0.04 / SHARE - 0.04 - BURST_S)
    assert slow.done == 1
    world.run(0.04 / ONE_SHARE - 2 * TICK_S)
    assert slow.done == 1 and other.done > 1
    world.run(4 * TICK_S)
    assert slow.done == 2


def test_a_hub_that_was_stopped_is_not_held_to_it_for_longer_than_a_second() -> None:
    world = World()
    world.turns.add(One(world, 1, 3600.0))
    world.turns.add(other := One(world, 1, 0.0001))
    world.slice()
    world.next_tick_s = world.now_s
    world.run(MOST_DEBT_S - TICK_S)
    assert other.done == 0
    world.run(2 * TICK_S)
    assert other.done == 1


def test_time_is_not_saved_up() -> None:
    world = World()
    world.run(3600.0)
    for _ in range(64):
        world.turns.add(One(world, ENDLESS, 0.0001))
    assert world.run(0.1) <= SHARE * 0.1 + 2 * SLICE_S


def test_ticks_that_come_late_or_go_back_give_no_more_than_there_is() -> None:
    world = World()
    world.turns.add(One(world, ENDLESS, 0.0001))
    world.run(0.09)
    used_s = world.busy_s
    world.turns.tick(world.now_s - 50.0)
    world.turns.tick(world.now_s - 50.0)
    world.next_tick_s = world.now_s + 1.0
    assert world.run(0.9) <= ONE_SHARE * TICK_S
    world.turns.tick(world.now_s + 3600.0)
    assert world.run(0.05) <= ONE_SHARE * 2 * TICK_S
    assert used_s > 0


def test_what_is_spent_elsewhere_counts() -> None:
    world = World()
    asks, other = One(world, ENDLESS, 0.0001), One(world, ENDLESS, 0.0001)
    world.turns.spend(asks, ONE_SHARE * TICK_S)
    world.turns.add(asks)
    world.turns.add(other)
    world.run(0.09)
    assert asks.done == 0 and other.done > 0
    world.run(0.1)
    assert asks.done > 0


def test_the_slice_ends_where_something_was_begun_that_goes_on_elsewhere() -> None:
    world = World()

    class Begins(One):
        def serve(self, until_s: float) -> bool:
            world.turns.end_slice()
            return super().serve(until_s)

    for _ in range(5):
        world.turns.add(Begins(world, 1, 0.00001))
    world.slice()
    assert len(world.served) == 1
    world.run(0.01)
    assert len(world.served) == 5


def test_nothing_is_due_when_nobody_waits() -> None:
    world = World()
    world.run(1.0)
    assert world.told == 0
    one = One(world, 1, 0.0001)
    world.turns.add(one)
    world.turns.add(one)
    assert world.told == 1
    world.run(1.0)
    assert world.served == [one]
    assert world.told == 1


def test_who_is_gone_is_not_served() -> None:
    world = World()
    here, gone, rested = (One(world, ENDLESS, 0.001) for _ in range(3))
    world.turns.spend(rested, 0.006)
    for one in (gone, here, rested):
        world.turns.add(one)
    world.turns.remove(gone)
    world.turns.remove(rested)
    world.run(1.0)
    assert set(world.served) == {here}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.floats(1e-6, 0.05)), min_size=1, max_size=20))
def test_everybody_gets_everything_in_the_end(asked: list[tuple[int, float]]) -> None:
    world = World()
    everybody = [One(world, requests, cost_s) for requests, cost_s in asked]
    for one in everybody:
        world.turns.add(one)
    total_s = sum(requests * cost_s for requests, cost_s in asked)
    most_s = max(requests * cost_s for requests, cost_s in asked)
    # The share of all, or that of the one who asks for most; a slice and a tick for each.
    world.run(total_s / SHARE + most_s / ONE_SHARE + len(asked) * 2 * TICK_S)
    assert [one.done for one in everybody] == [requests for requests, _ in asked]


def test_a_turn_that_raises_is_told_and_comes_again_in_the_next_tick() -> None:
    now_s, told = 100.0, []
    turns = Turns(lambda: now_s, lambda wait_s: None, told.append)

    class Failing:
        served = 0

        def serve(self, until_s: float) -> bool:
            self.served += 1
            raise RuntimeError("a fault of ours")

    class Sound:
        served = 0

        def serve(self, until_s: float) -> bool:
            self.served += 1
            return False

    failing, sound = Failing(), Sound()
    turns.tick(now_s)
    turns.add(failing)
    turns.add(sound)
    turns.slice()
    turns.slice()
    assert (failing.served, sound.served) == (1, 1)
    assert [str(error) for error in told] == ["a fault of ours"]
    now_s += TICK_S
    turns.tick(now_s)
    turns.slice()
    assert failing.served == 2
