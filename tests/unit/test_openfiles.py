"""How many files may be open: what is raised, warned of and refused. Pure."""

from __future__ import annotations

import resource

import pytest

from vigild.openfiles import FEWEST_CLIENTS, HUB, PER_CAMERA, plan_for

NEEDED = HUB + PER_CAMERA + 64
LEAST = HUB + PER_CAMERA + FEWEST_CLIENTS
NO_LIMIT = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [
        (1024, 4096, 1024),
        (NO_LIMIT, NO_LIMIT, NO_LIMIT),
        (20, 4096, NEEDED),
        (20, NO_LIMIT, NEEDED),
        (NEEDED, NEEDED, NEEDED),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_needed(soft, hard, raised):
    assert plan_for(soft, hard, cameras=1, clients=64) == (raised, "", "")


def test_fewer_clients_than_wanted_is_a_warning():
    plan = plan_for(20, NEEDED - 1, cameras=1, clients=64)
    assert (plan.soft, plan.refusal) == (NEEDED - 1, "")
    assert f"for those {NEEDED} are needed" in plan.warning
    assert plan_for(20, LEAST, cameras=1, clients=64).refusal == ""


def test_too_few_for_a_single_client_is_refused_with_what_is_needed():
    plan = plan_for(20, LEAST - 1, cameras=1, clients=64)
    assert plan.soft == 20 and not plan.warning
    assert f"at most {LEAST - 1} files may be open here, and 1 camera with 64 clients" in plan.refusal
    assert f"ulimit -n {NEEDED}" in plan.refusal


def test_each_camera_counts():
    assert plan_for(NEEDED, NEEDED, cameras=2, clients=64).warning
    assert "3 cameras" in plan_for(20, 20, cameras=3, clients=64).refusal
