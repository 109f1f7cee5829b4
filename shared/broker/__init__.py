"""Celery app, queues and the connection to Redis as a broker."""
