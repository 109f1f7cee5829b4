"""Fixtures of the tests with real servers; those of the servers themselves are every test's."""

from support.consumer_harness import consumer, consumers

__all__ = ["consumer", "consumers"]
