"""Metrics, health and liveness of a worker process."""
