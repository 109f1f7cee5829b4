"""Fixtures of the consumer tests."""

from support.consumer_harness import consumer, consumers

__all__ = ["consumer", "consumers"]
