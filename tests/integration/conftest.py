"""Fixtures for tests with real servers; tests/conftest.py has those of the servers themselves."""

from support.consumer_harness import consumer, consumers
from support.producing import client, hand, run_rmbg, services, submitted

__all__ = ["client", "consumer", "consumers", "hand", "run_rmbg", "services", "submitted"]
