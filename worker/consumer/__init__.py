"""From a Celery message to a closed ticket."""
