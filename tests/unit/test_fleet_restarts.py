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


def test_a_worker_that_worked_for_a_while_starts_over() -> None:
    restarts = Restarts(lambda: 0.0)
    restarts.died(0)
    restarts.died(1)
    restarts.works(2)
    assert restarts.died(30) == 0.0
    restarts.works(31)
    assert restarts.died(32) > 0, "one second of work is not settled"


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
