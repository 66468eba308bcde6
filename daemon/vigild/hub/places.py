"""Who gets a place among the connected clients, and which change would leave its maker none. No I/O, but for
the table of groups.

The machine's owners (root, and the user the daemon runs as) always get in: two places are kept for them beyond
`daemon.max_clients`, one for the program that holds a connection and one to find out why.
"""

from __future__ import annotations

from typing import NamedTuple

from vigild.config.schema import DaemonConfig
from vigild.hub.privilege import group_id

KEPT_PLACES = 2


class Maker(NamedTuple):
    """Who asks for a change."""

    is_owner: bool
    """Root or the daemon's own user."""
    gids: frozenset[int]
    """Its groups."""
    connected: int
    """Clients connected now, itself among them."""


def has_place(connected: int, most: int, is_owner: bool) -> bool:
    """Whether one more client fits beside those that are connected."""
    return connected < most + (KEPT_PLACES if is_owner else 0)


def no_way_back(maker: Maker, before: DaemonConfig, after: DaemonConfig) -> str | None:
    """Why the maker of a change could not come back to undo it, as a sentence; None when it could."""
    if after.max_clients < before.max_clients and after.max_clients < maker.connected:
        return (
            f"daemon.max_clients: found {after.max_clients}, and {maker.connected} clients are connected, you among "
            f"them: whoever leaves could not come back; expected at least {maker.connected}, or end some of them first"
        )
    group = after.privileged_group
    if group == before.privileged_group or maker.is_owner or group_id(group) in maker.gids:
        return None
    what = f'there is no group "{group}"' if group_id(group) is None else f'you are not in the group "{group}"'
    return (
        f"daemon.privileged_group: {what}, so you could not change it back; expected a group that you are in, or let "
        "root make the change"
    )
