"""The queues' names for Flower, which runs in an image of its own and knows nothing of ours."""

from celery import Celery
from kombu import Queue

NAMES = ("rmbg.interactive", "rmbg.recovery", "rmbg.bulk", "rmbg.suspect")

app = Celery("rmbg")  # the broker's address comes from CELERY_BROKER_URL
app.conf.task_queues = [Queue(name) for name in NAMES]
app.conf.task_create_missing_queues = False
app.conf.task_default_queue = "rmbg.bulk"
app.conf.broker_connection_retry_on_startup = True
