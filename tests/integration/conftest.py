"""Fixtures for tests with real servers; tests/conftest.py has those of the servers themselves."""

from support.desk import desk, desks
from support.producing import client, hand, run_rmbg, services, submitted

__all__ = ["client", "desk", "desks", "hand", "run_rmbg", "services", "submitted"]
