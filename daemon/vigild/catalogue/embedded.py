"""The network that comes with the package: what runs where the configuration names no model.

    entry = library.load().get(embedded.ENTRY)     # its variants: a ladder of operating points, the default first
    embedded.default_file()                        # models/embedded/....tflite

It is an entry of the shipped manifest like any other, so `model.variant` chooses among its builds, and
`model.name` needs not be written for that. This is the one place that says which entry it is.

In an installed package the folder embedded/ stands beside this module. It is no package, so Python takes the module.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from vigild.catalogue import library, store
from vigild.catalogue.entry import Entry, ManifestError

ENTRY = "people_vehicles_ssd"


def entry(environ: Mapping[str, str] = os.environ) -> Entry:
    """The entry with its variants, the default first. Raises ManifestError."""
    return library.load(environ).get(ENTRY)


def default_file(environ: Mapping[str, str] = os.environ) -> Path:
    """The file of the default variant. Raises ManifestError when it is not there."""
    found = entry(environ)
    path = store.find(found, found.variants[0], environ)
    if path is None:
        raise ManifestError(
            f"The embedded model {found.variants[0].file} is not here; install vigild again.", "missing"
        )
    return path
