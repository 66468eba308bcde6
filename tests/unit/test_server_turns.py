"""The order in which clients are served, and the time that they get: no sockets, and a clock that the test moves."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from vigild.hub.turns import MOST_DEBT_S, ONE_SHARE, QUANTUM_S, SHARE, SLICE_S, TICK_S, Turns


class World:
    """A clock, and the turns on it."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.due = 0
        self.served: list[One] = []
        self.turns = Turns(lambda: self.now_s, self._due)
        self.tick(0.0)

    def _due(self) -> None:
        self.due += 1

    def tick(self, after_s: float = TICK_S) -> None:
        self.now_s += after_s
        self.turns.tick(self.now_s)

    def work(self, slices: int = 1000) -> float:
        """Slices as long as more is due; how long they took, in all."""
        began_s = self.now_s
        for _ in range(slices):
            before = self.due
            self.turns.slice()
            if self.due == before:
                break
        return self.now_s - began_s


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
    used_s = world.work()
    for _ in range(100):
        world.tick()
        used_s += world.work()
    assert SHARE * 100 * TICK_S <= used_s <= SHARE * 101 * TICK_S + 101 * SLICE_S
    done = sorted(one.done for one in flood)
    assert done[0] > 0.9 * done[-1]


def test_one_alone_gets_its_own_share_and_no_more() -> None:
    world = World()
    world.turns.add(One(world, ENDLESS, 0.0001))
    used_s = world.work()
    for _ in range(100):
        world.tick()
        used_s += world.work()
    assert ONE_SHARE * 100 * TICK_S <= used_s <= ONE_SHARE * 101 * TICK_S + 101 * QUANTUM_S


def test_a_slice_is_short_whatever_is_asked() -> None:
    world = World()
    for _ in range(64):
        world.turns.add(One(world, ENDLESS, 0.0001))
    before_s = world.now_s
    world.turns.slice()
    assert SLICE_S <= world.now_s - before_s <= SLICE_S + QUANTUM_S


def test_who_has_had_nothing_comes_before_a_flood() -> None:
    world = World()
    for _ in range(64):
        world.turns.add(One(world, ENDLESS, 0.00005))
    while len(set(world.served)) < 64:
        world.turns.slice()
    seldom = One(world, 1, 0.00005)
    world.served.clear()
    world.turns.add(seldom)
    world.work()
    assert world.served[0] is seldom


def test_what_took_too_long_is_paid_back_by_waiting() -> None:
    world = World()
    slow = One(world, 5, 0.04)  # each twice what there is for all of them in a tick
    world.turns.add(slow)
    world.work()
    assert slow.done == 1
    ticks = 0
    while slow.done == 1:
        world.tick()
        world.work()
        ticks += 1
    assert ticks == round(0.04 / (ONE_SHARE * TICK_S))


def test_a_hub_that_was_stopped_is_not_held_to_it_for_longer_than_a_second() -> None:
    world = World()
    world.turns.add(One(world, 1, 3600.0))
    world.turns.add(other := One(world, 1, 0.0001))
    world.work()
    assert other.done == 0
    for _ in range(1 + round(MOST_DEBT_S / TICK_S)):
        world.tick()
        world.work()
    assert other.done == 1


def test_time_is_not_saved_up() -> None:
    world = World()
    world.tick(3600.0)
    for _ in range(64):
        world.turns.add(One(world, ENDLESS, 0.0001))
    assert world.work() <= SHARE * TICK_S + SLICE_S


def test_a_clock_that_goes_back_gives_and_takes_nothing() -> None:
    world = World()
    world.turns.add(One(world, ENDLESS, 0.0001))
    world.work()
    world.now_s -= 5.0
    world.turns.tick(world.now_s)
    assert world.work() == 0.0
    world.tick()
    assert world.work() > 0.0


def test_what_is_spent_elsewhere_counts() -> None:
    world = World()
    asks, other = One(world, ENDLESS, 0.0001), One(world, ENDLESS, 0.0001)
    world.turns.spend(asks, ONE_SHARE * TICK_S)
    world.turns.add(asks)
    world.turns.add(other)
    world.work()
    assert asks.done == 0 and other.done > 0
    world.tick()
    world.work()
    assert asks.done > 0


def test_the_slice_ends_where_something_was_begun_that_goes_on_elsewhere() -> None:
    world = World()

    class Begins(One):
        def serve(self, until_s: float) -> bool:
            world.turns.end_slice()
            return super().serve(until_s)

    for _ in range(5):
        world.turns.add(Begins(world, 1, 0.00001))
    world.turns.slice()
    assert len(world.served) == 1
    world.work()
    assert len(world.served) == 5


def test_nothing_is_due_when_nobody_waits() -> None:
    world = World()
    assert world.due == 0
    world.tick()
    assert world.due == 0
    one = One(world, 1, 0.0001)
    world.turns.add(one)
    world.turns.add(one)
    assert world.due == 1
    world.work()
    assert world.served == [one]
    world.tick()
    assert world.due == 1


def test_who_is_gone_is_not_served() -> None:
    world = World()
    here, gone, rested = (One(world, ENDLESS, 0.001) for _ in range(3))
    world.turns.spend(rested, 0.006)
    for one in (gone, here, rested):
        world.turns.add(one)
    world.turns.remove(gone)
    world.turns.remove(rested)
    world.tick()
    world.work()
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
    # Each tick gives its share, to all or to the one that asks for most.
    for _ in range(2 + int(total_s / (SHARE * TICK_S) + most_s / (ONE_SHARE * TICK_S)) + len(asked)):
        world.work()
        world.tick()
    world.work()
    assert [one.done for one in everybody] == [requests for requests, _ in asked]
