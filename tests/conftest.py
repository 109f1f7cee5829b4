"""What every test gets."""

import os

import pytest

pytest_plugins = ["support.redis_server", "support.servers"]

KEPT = ("RMBG_HOME",)
"""Where fetched weights lie; without it a machine would fetch them again."""


@pytest.fixture(autouse=True)
def no_settings_of_the_surroundings(monkeypatch):
    """A developer's own services and credentials are never used by a test."""
    for name in list(os.environ):  # noqa: TID251 - to take them away
        if name.startswith(("RMBG_", "AWS_")) and name not in KEPT:
            monkeypatch.delenv(name)
