"""What every test relies on."""

from __future__ import annotations

import os
import signal

# What somebody measured with `vigild tune` on this machine must not choose the variants that the tests run.
os.environ["VIGILD_PROFILE"] = "/nonexistent/tune.json"

# A shell starts what it puts into the background with SIGINT ignored, which every process of a test would inherit:
# those that are to be stopped with Ctrl-C would then never end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
