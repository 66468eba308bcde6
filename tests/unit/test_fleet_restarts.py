from __future__ import annotations

from vigild.fleet.deadlines import InvokeDeadline, camera_limits, overdue
from vigild.fleet.restarts import Restarts
from vigild.ipc.progress import Stage


def test_the_first_restart_is_immediate_and_the_next_ones_back_off() -> None:
    restarts = Restarts(lambda: 0.0, max_delay_s=4.0)
    assert [restarts.died(now) for now in range(7)] == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 4.0]


def test_jitter_only_shortens_and_differs() -> None:
    delays = {Restarts(lambda r=r: r).died(0) or _second(r) for r in (0.0, 0.3, 0.9)}
    assert len(delays) == 3
    assert all(0.25 * 0.75 <= delay <= 0.25 for delay in delays)


def _second(random: float) -> float:
    restarts = Restarts(lambda: random)
    restarts.died(0)
    return restarts.died(1)


def test_work_in_between_starts_over() -> None:
    restarts = Restarts(lambda: 0.0)
    restarts.died(0)
    assert restarts.died(1) == 0.25
    restarts.works(2)
    assert restarts.died(2.1) == 0.0, "it worked: the next death is the first again"
    assert restarts.unsettled == 3, "but whatever kills it has killed it three times within ten seconds of work"
    restarts.works(3)
    restarts.died(14)
    assert restarts.unsettled == 1


def test_a_kill_from_outside_says_nothing_of_the_worker() -> None:
    restarts = Restarts(lambda: 0.0)
    for now in range(20):
        restarts.works(now)
        assert restarts.died(now + 0.5, outside=True) == 0.0
    assert restarts.unsettled == 0 and restarts.total == 20


def test_what_cannot_be_started_is_not_tried_again_at_once() -> None:
    restarts = Restarts(lambda: 0.0)
    assert [restarts.died(now, started=False) for now in range(3)] == [0.25, 0.5, 1.0]


def test_a_worker_that_dies_all_the_time_does_not_take_the_board() -> None:
    restarts = Restarts(lambda: 0.0)
    delays = []
    for at in range(100):
        restarts.works(at / 4)
        delays.append(restarts.died(at / 4 + 0.1))
    assert delays[:60] == [0.0] * 60 and min(delays[60:]) > 0


def test_deaths_in_the_last_minute() -> None:
    restarts = Restarts(lambda: 0.0)
    for now in (0, 10, 65):
        restarts.died(now)
    assert restarts.in_last_minute(66) == 2
    assert restarts.total == 3


def test_the_invoke_deadline_follows_what_was_measured() -> None:
    deadline = InvokeDeadline()
    assert deadline.seconds == 1.0
    for _ in range(200):
        deadline.observe(0.014)
    assert deadline.seconds == 1.0, "never below a second"
    for _ in range(600):
        deadline.observe(0.5)
    assert deadline.seconds == 4.0


def test_each_kill_without_a_result_doubles_it() -> None:
    deadline = InvokeDeadline()
    deadline.killed()
    assert deadline.seconds == 2.0
    deadline.killed()
    assert deadline.seconds == 4.0
    deadline.observe(0.01)
    assert deadline.seconds == 1.0


def test_only_stages_with_a_limit_can_be_overdue() -> None:
    limits = camera_limits(open_timeout_s=10, read_timeout_s=1.5)
    second_ns = 1_000_000_000
    assert overdue(Stage.GRAB, 1, 2 * second_ns, limits) is not None
    assert overdue(Stage.GRAB, 1, 1 * second_ns, limits) is None
    assert overdue(Stage.BACKOFF, 1, 1000 * second_ns, limits) is None
    assert overdue(Stage.GRAB, 0, 1000 * second_ns, limits) is None, "not started yet"


def test_a_slow_first_invoke_gives_some_time_and_not_for_long() -> None:
    deadline = InvokeDeadline()
    deadline.expect(7.0)
    assert deadline.seconds == 14.0, "eight times would leave one that hangs alone for a minute"
    for _ in range(63):
        deadline.observe(0.1)
    assert deadline.seconds == 14.0
    deadline.observe(0.1)
    assert deadline.seconds == 1.0
    deadline.expect(0.2)
    assert deadline.seconds == 1.0
