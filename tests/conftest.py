"""What every test gets."""

import os

import pytest

pytest_plugins = ["support.producing", "support.redis_server", "support.servers"]


@pytest.fixture(autouse=True)
def no_settings_of_the_surroundings(monkeypatch):
    """A developer's own services and credentials are never used by a test."""
    for name in list(os.environ):  # noqa: TID251 - to take them away
        if name.startswith(("RMBG_", "AWS_")):
            monkeypatch.delenv(name)
