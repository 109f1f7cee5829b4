"""Fixtures of the tests with real servers; those of the servers themselves are every test's."""

from support.desk import desk, desks
from support.producing import client, hand, run_rmbg, services, submitted

__all__ = ["client", "desk", "desks", "hand", "run_rmbg", "services", "submitted"]
