"""Who gets in, and which change would lock its maker out."""

from __future__ import annotations

import grp
import os

import pytest

from vigild.config.schema import DaemonConfig
from vigild.hub.places import KEPT_PLACES, Maker, has_place, no_way_back

BEFORE = DaemonConfig(max_clients=64, privileged_group="vigild")
NO_GROUP = "no-such-group-anywhere"


@pytest.mark.parametrize(
    ("connected", "stranger", "owner"),
    [(0, True, True), (3, True, True), (4, False, True), (5, False, True), (6, False, False), (99, False, False)],
)
def test_two_places_are_kept_for_the_machines_owners(connected: int, stranger: bool, owner: bool) -> None:
    assert KEPT_PLACES == 2
    assert has_place(connected, 4, False) is stranger
    assert has_place(connected, 4, True) is owner


@pytest.mark.parametrize("is_owner", [True, False])
def test_fewer_places_than_there_are_clients_are_refused(is_owner: bool) -> None:
    maker = Maker(is_owner, frozenset(), 12)
    why = no_way_back(maker, BEFORE, DaemonConfig(max_clients=1))
    assert why is not None
    assert why.startswith("daemon.max_clients: found 1, and 12 clients are connected")
    assert "expected at least 12" in why
    assert no_way_back(maker, BEFORE, DaemonConfig(max_clients=12)) is None
    assert no_way_back(maker._replace(connected=1), BEFORE, DaemonConfig(max_clients=1)) is None


def test_more_places_are_never_refused_even_if_they_are_still_too_few() -> None:
    assert no_way_back(Maker(True, frozenset(), 66), BEFORE, DaemonConfig(max_clients=65)) is None


def test_a_member_cannot_give_the_privilege_to_a_group_that_he_is_not_in() -> None:
    entry = grp.getgrgid(os.getegid())
    outside, inside = Maker(False, frozenset((entry.gr_gid + 1,)), 1), Maker(False, frozenset((entry.gr_gid,)), 1)
    why = no_way_back(outside, BEFORE, DaemonConfig(privileged_group=entry.gr_name))
    assert why is not None and f'you are not in the group "{entry.gr_name}"' in why
    assert no_way_back(inside, BEFORE, DaemonConfig(privileged_group=entry.gr_name)) is None
    why = no_way_back(inside, BEFORE, DaemonConfig(privileged_group=NO_GROUP))
    assert why is not None and f'there is no group "{NO_GROUP}"' in why
    assert no_way_back(Maker(True, frozenset(), 1), BEFORE, DaemonConfig(privileged_group=NO_GROUP)) is None


def test_other_changes_are_none_of_this() -> None:
    assert no_way_back(Maker(False, frozenset(), 99), BEFORE, DaemonConfig(health_interval=1.0)) is None
