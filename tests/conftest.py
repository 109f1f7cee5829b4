"""What every test gets."""

import os
import signal

import pytest

pytest_plugins = ["support.redis_server", "support.servers"]

KEPT = ("RMBG_HOME",)
"""Where fetched weights lie; without it a machine would fetch them again."""


@pytest.fixture(autouse=True)
def no_settings_of_the_surroundings(monkeypatch):
    """A developer's own services and credentials are never used by a test."""
    for name in list(os.environ):  # noqa: TID251 - to take them away
        if name.startswith(("RMBG_", "AWS_", "HF_")) and name not in KEPT:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_is_heard():
    """A shell has what it starts in the background ignore SIGINT, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
