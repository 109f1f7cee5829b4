"""Deliver the events of jobs to the addresses that callers name."""
