"""Queue names for Flower, whose image does not contain our packages."""

from celery import Celery
from kombu import Queue

NAMES = ("rmbg.interactive", "rmbg.recovery", "rmbg.bulk", "rmbg.suspect")

app = Celery("rmbg")  # CELERY_BROKER_URL sets the broker address
app.conf.task_queues = [Queue(name) for name in NAMES]
app.conf.task_create_missing_queues = False
app.conf.task_default_queue = "rmbg.bulk"
app.conf.broker_connection_retry_on_startup = True
