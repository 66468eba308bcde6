"""What every test relies on."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

# What somebody measured with `vigild tune` on this machine must not choose the variants that the tests run.
os.environ["VIGILD_PROFILE"] = "/nonexistent/tune.json"

# A shell starts what it puts into the background with SIGINT ignored, which every process of a test would inherit:
# those that are to be stopped with Ctrl-C would then never end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says how busy the machine is, nothing about the program.
settings.register_profile("vigild", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vigild")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test logged may hold anything, surrogates too; a report that goes to another process may not."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report
