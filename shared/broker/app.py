"""Create the Celery app of producers and workers, publish tickets and measure queues."""

from collections.abc import Iterable
from typing import Any, Final

from celery import Celery
from kombu import Queue
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from shared.broker.connection import Amqp
from shared.broker.queues import BULK, CONCURRENCY, QUEUES
from shared.errors import RedisUnavailable, ServiceUnavailable
from shared.jobstore.connection import KEEPALIVE
from shared.jobstore.faults import fault_of, sentence
from shared.jobstore.values import Issued

TASK: Final = "rmbg.ticket"
"""Name of the only task: claim a ticket and process it."""


def make_app(redis_url: str, *, slots: int = CONCURRENCY) -> Celery:
    """Return a Celery app for the broker at *redis_url*; it does not connect yet.

    Without socket timeouts, a half-open connection would never be noticed; unlimited retries
    survive a restart of Redis of any length. Messages are acknowledged late so that the ticket of
    a lost worker returns before its lease expires; the job store decides what is done.

    Args:
        redis_url: Redis database of the queues.
        slots: Tickets of other queues than the interactive one that a worker holds at once.
    """
    app = Celery("rmbg", broker=redis_url, amqp=Amqp, set_as_current=False)
    app.conf.update(_BROKER, **_TASKS, **_WORKER)
    app.conf.broker_transport_options |= {"shared_slots": slots}
    return app


def publish(app: Celery, issued: Iterable[Issued]) -> int:
    """Send a message for each issued ticket over one connection; return how many were sent.

    A second message for a ticket is harmless, so a call that failed half-way can be repeated.
    Workers issue tickets that were never sent again.

    Raises:
        RedisUnavailable: If the broker does not accept them within a few seconds.
    """
    sent = 0
    try:
        with app.producer_pool.acquire(block=True, timeout=_PUBLISH_S) as producer:
            # Otherwise a broken connection is retried without limit; no retry policy applies yet.
            if producer.connection is not None:
                producer.connection.ensure_connection(**_CONNECT, timeout=_PUBLISH_S)
            for one in issued:
                app.send_task(
                    TASK,
                    args=one.ticket.to_args(),
                    queue=one.queue,
                    producer=producer,
                    retry_policy=_CONNECT,
                )
                sent += 1
    except _FAULTS as err:
        raise _fault(app, f"sending ticket {sent + 1}", err) from err
    return sent


def depths(app: Celery) -> dict[str, int]:
    """Return how many messages wait in each queue.

    Raises:
        RedisUnavailable: If the broker cannot be reached.
    """
    try:
        pooled: Any = app.pool.acquire(block=True)  # the stubs lack `default_channel`
        with pooled as connection:
            # Every worker calls this each second: one LLEN per queue; declaring takes six commands.
            pipe = connection.default_channel.client.pipeline(transaction=False)
            for name in QUEUES:
                pipe.llen(name)
            return dict(zip(QUEUES, pipe.execute(), strict=True))
    except _FAULTS as err:
        raise _fault(app, "reading the lengths of the queues", err) from err


def _fault(app: Celery, doing: str, err: BaseException) -> ServiceUnavailable:
    """Return the error to raise for *err*; kombu wraps those of redis-py."""
    where = f"broker at {app.connection_for_write().as_uri()}: {doing}"
    causes = (err, err.__cause__, err.__context__)
    found = next((cause for cause in causes if isinstance(cause, RedisError)), None)
    return (
        RedisUnavailable(f"{where}: {sentence(err)}") if found is None else fault_of(found, where)
    )


_FAULTS: Final = (KombuError, RedisError, OSError, AttributeError)
"""Errors of kombu for a lost connection; `AttributeError` from a channel that just lost it."""
_PUBLISH_S: Final = 5
_CONNECT: Final[dict[str, Any]] = {
    "max_retries": 3,
    "interval_start": 0.1,
    "interval_step": 0.2,
    "interval_max": 1,
}
"""Shorter than the app's own policy, because a user waits for it and can submit again."""
_BROKER: Final[dict[str, Any]] = {
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_channel_error_retry": True,  # do not exit while Redis is full and refuses commands
    "broker_pool_limit": 4,
    "broker_transport_options": {
        "visibility_timeout": 3600,  # fallback only; leases recover tickets
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "socket_keepalive_options": KEEPALIVE,
        "health_check_interval": 10,
        "max_connections": 20,
        "queue_order_strategy": "priority",
        "priority_steps": [0],  # one Redis list per queue, with the name of the queue
        "client_name": "rmbg",
    },
}
_TASKS: Final[dict[str, Any]] = {
    "task_queues": [Queue(name) for name in QUEUES],
    "task_default_queue": BULK,
    "task_create_missing_queues": False,
    "task_serializer": "json",
    "result_serializer": "json",
    "event_serializer": "json",
    "accept_content": ["json"],
    "result_backend": None,
    "task_ignore_result": True,
    "task_store_errors_even_if_ignored": False,
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "task_acks_on_failure_or_timeout": True,
    "task_publish_retry": True,
    "task_publish_retry_policy": {
        "max_retries": 20,
        "interval_start": 0.1,
        "interval_step": 0.2,
        "interval_max": 2,
    },
}
_WORKER: Final[dict[str, Any]] = {
    "worker_pool": "threads",
    "worker_prefetch_multiplier": 1,
    "worker_enable_prefetch_count_reduction": False,
    "worker_cancel_long_running_tasks_on_connection_loss": False,  # threads cannot be killed
    "worker_soft_shutdown_timeout": 0,
    "worker_send_task_events": False,
    "task_send_sent_event": False,
    "worker_enable_remote_control": False,
    "worker_hijack_root_logger": False,
}
