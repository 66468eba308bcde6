"""The network that comes with the package: what runs where the configuration names no model.

    entry = library.load().get(embedded.ENTRY)     # its variants: a ladder of operating points, the default first

It is an entry of the shipped manifest like any other, so `model.variant` chooses among its builds, and
`model.name` needs not be written for that. This is the one place that says which entry it is.

In an installed package the folder embedded/ stands beside this module. It is no package, so Python takes the module.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from vigild.catalogue import library
from vigild.catalogue.entry import Entry

ENTRY = "people_vehicles_ssd"


def entry(environ: Mapping[str, str] = os.environ) -> Entry:
    """The entry with its variants, the default first. Raises ManifestError."""
    return library.load(environ).get(ENTRY)
