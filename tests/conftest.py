"""What every test relies on."""

from __future__ import annotations

import os

# What somebody measured with `vigild tune` on this machine must not choose the variants that the tests run.
os.environ["VIGILD_PROFILE"] = "/nonexistent/tune.json"
