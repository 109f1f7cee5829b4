"""Fixtures for tests with real servers; tests/conftest.py has those of the servers themselves."""

from support.consumer_harness import consumer, consumers

__all__ = ["consumer", "consumers"]
