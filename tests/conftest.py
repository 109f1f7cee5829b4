"""Fixtures and summary lines for every test."""

import os
import signal
from collections import Counter

import pytest

pytest_plugins = ["support.redis_server", "support.servers", "support.object_clients"]

KEPT = ("RMBG_HOME",)
"""Folder of the weights cache; without it, every test run would download the weights again."""
OPTIONAL_TESTS = {"gpu": "GPU", "weights": "Weights"}
"""Markers of tests that may be skipped on some machines, and their names in the summary."""


@pytest.fixture(autouse=True)
def without_settings_of_the_environment(monkeypatch):
    """Hide the developer's own services and credentials from every test."""
    for name in list(os.environ):  # noqa: TID251 - removes variables
        if name.startswith(("RMBG_", "AWS_", "HF_")) and name not in KEPT:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True, scope="session")
def with_default_sigint_handler():
    """Handle SIGINT: a shell makes background processes and their children ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter):
    """End the summary with one line per kind of optional test that was skipped."""
    yield
    for marker, name in OPTIONAL_TESTS.items():
        reasons = Counter(
            report.longrepr[2].removeprefix("Skipped: ")
            for report in terminalreporter.getreports("skipped")
            if marker in report.keywords
        )
        if reasons:
            why = "; ".join(sorted(reasons))
            terminalreporter.write_line(f"{name} tests: {reasons.total()} skipped ({why})")
