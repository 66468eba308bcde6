"""From measurements and budgets to one setting."""

from __future__ import annotations

import pytest
from tunekit import row

from vigild.catalogue.choose import REST_OF_DAEMON_BYTES, choose, unfit
from vigild.catalogue.profile import Budgets, Row

FREE = Budgets()
MIB = 2**20


def chosen(rows: list[Row], budgets: Budgets = FREE, cores: int = 4) -> tuple[str, int, str]:
    choice = choose(rows, budgets, cores)
    assert choice.row is not None, choice.reason
    return choice.row.variant, choice.row.threads, choice.row.delegate


def test_what_is_lost_within_the_tie_is_not_lost() -> None:
    rows = [row("float32", p50_ms=7.2, ap=0.234), row("int8", p50_ms=3.1, ap=0.2295)]
    assert chosen(rows)[0] == "int8"
    rows[1] = row("int8", p50_ms=3.1, ap=0.228)
    assert chosen(rows)[0] == "float32"


def test_without_annotations_the_larger_input_counts_as_more_accurate() -> None:
    rows = [
        row("int8-192", p50_ms=1, agreement=1.0, width=192, height=192),
        row("int8-256", p50_ms=2, agreement=0.97, width=256, height=256),
        row("float32-256", p50_ms=4, agreement=1.0, width=256, height=256),
    ]
    assert chosen(rows)[0] == "int8-256"
    assert chosen(rows, Budgets(latency_ms=1.5))[0] == "int8-192"
    choice = choose(rows, FREE, 4)
    assert choice.reason == "the fastest of those with the largest input that agree with float32"


def test_with_annotations_the_size_does_not_matter() -> None:
    rows = [
        row("int8-192", p50_ms=1, ap=0.4, width=192, height=192),
        row("int8-256", p50_ms=2, ap=0.402, width=256, height=256),
    ]
    assert chosen(rows)[0] == "int8-192"


def test_a_variant_that_destroys_the_network_is_not_taken_however_fast_it_is() -> None:
    rows = [row("float32", p50_ms=7, agreement=1.0), row("dynamic", p50_ms=2, agreement=0.1)]
    assert chosen(rows)[0] == "float32"


def test_known_truth_comes_before_the_size() -> None:
    rows = [
        row("int8-192", p50_ms=1, found=144, missed=0, invented=0, width=192, height=192),
        row("broken-256", p50_ms=1, found=20, missed=124, invented=40, width=256, height=256),
    ]
    assert chosen(rows)[0] == "int8-192"


def test_what_was_not_judged_is_not_preferred_to_what_was() -> None:
    rows = [row("a", p50_ms=5, agreement=0.97), row("b", p50_ms=1)]
    assert chosen(rows)[0] == "a"
    choice = choose([row("a", p50_ms=5), row("b", p50_ms=1)], FREE, 4)
    assert choice.row is not None and choice.row.variant == "b"
    assert choice.reason == "the fastest of those (how accurate they are is not known)"


def test_a_core_is_left_to_the_cameras_where_that_fits() -> None:
    rows = [row(threads=count, p50_ms=8 / count, agreement=1.0) for count in (1, 2, 4)]
    assert chosen(rows, cores=4)[1] == 2
    assert chosen(rows, Budgets(latency_ms=2.5), cores=4)[1] == 4
    assert chosen(rows[:1], cores=1)[1] == 1
    assert chosen(rows[:2], cores=2)[1] == 1


def test_of_equals_in_speed_the_one_that_takes_less_of_the_cpu() -> None:
    rows = [row(threads=1, p50_ms=3.0, cpu_ms=3.0), row(threads=2, p50_ms=2.9, cpu_ms=5.5)]
    assert chosen(rows)[1] == 1


def test_budgets() -> None:
    small, large = row("int8", memory_bytes=40 * MIB, ap=0.2), row("float32", memory_bytes=110 * MIB, ap=0.3)
    assert chosen([small, large])[0] == "float32"
    assert chosen([small, large], Budgets(memory_bytes=REST_OF_DAEMON_BYTES + 60 * MIB))[0] == "int8"
    hot = row("float32", celsius=81.0, ap=0.3)
    assert chosen([small, hot], Budgets(temperature_celsius=75))[0] == "int8"
    assert chosen([hot], Budgets(temperature_celsius=85))[0] == "float32"
    assert unfit(row(p50_ms=60, celsius=80.0), Budgets(latency_ms=50, temperature_celsius=75)) == (
        "72 ms (p95) of 50 ms and 80 °C of 75 °C"
    )


def test_nothing_fits_and_nothing_runs() -> None:
    choice = choose([row("int8", p50_ms=60), row("float32", p50_ms=100)], Budgets(latency_ms=50), 4)
    assert choice.row is None
    assert choice.reason == (
        "no setting fits the budget: even int8 with 1 thread on xnnpack takes 72 ms (p95) of 50 ms"
    )
    assert choose([row(rounds=0, failed="it aborts")], FREE, 4) == (None, "nothing that was measured runs here")
    assert choose([], FREE, 4).row is None


def test_the_only_one_that_fits_is_called_that() -> None:
    assert choose([row("a", p50_ms=1), row("b", p50_ms=100)], Budgets(latency_ms=50), 4).reason == (
        "the only setting that fits"
    )


def test_what_failed_or_was_given_up_is_not_taken() -> None:
    rows = [row("a", p50_ms=1, failed="it died in round 2"), row("b", p50_ms=2, dropped="slow"), row("c", p50_ms=3)]
    assert chosen(rows)[0] == "c"


@pytest.mark.parametrize("cores", [1, 2, 4, 64])
def test_the_order_of_the_rows_does_not_matter(cores: int) -> None:
    rows = [
        row(variant, threads=threads, p50_ms=base / threads, cpu_ms=base, agreement=agreement)
        for variant, base, agreement in (("float32", 7, 1.0), ("int8", 3, 0.98), ("bad", 1, 0.2))
        for threads in (1, 2, 4)
    ]
    assert chosen(rows, cores=cores) == chosen(rows[::-1], cores=cores)
