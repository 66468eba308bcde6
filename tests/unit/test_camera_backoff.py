from vigild.camera.backoff import FIRST_S, HEALTHY_S, Backoff


def test_doubles_up_to_the_limit() -> None:
    backoff = Backoff(max_s=3.0, rand=lambda: 0.0)
    assert [backoff.failed(0.0) for _ in range(6)] == [0.25, 0.5, 1.0, 2.0, 3.0, 3.0]


def test_never_overflows() -> None:
    backoff = Backoff(max_s=30.0, rand=lambda: 0.0)
    assert [backoff.failed(0.0) for _ in range(5000)][-1] == 30.0


def test_a_source_that_worked_starts_over() -> None:
    backoff = Backoff(max_s=30.0, rand=lambda: 0.0)
    for _ in range(5):
        backoff.failed(HEALTHY_S / 2)
    assert backoff.failed(HEALTHY_S / 2) > FIRST_S
    assert backoff.failed(HEALTHY_S) == FIRST_S


def test_jitter_shortens_by_at_most_a_quarter() -> None:
    assert Backoff(30.0, rand=lambda: 1.0).failed(0.0) == FIRST_S * 0.75
