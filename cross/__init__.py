"""Bundles for boards, and how they get there: targets, locks, bundle, deploy, fleet.

`python -m cross COMMAND`, run by the Makefile. `board/` is what runs on the board itself: standard library only,
shipped inside every bundle as `vigild-deploy`.
"""
