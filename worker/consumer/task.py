"""The Celery task: message -> ticket -> `TicketConsumer.serve`. No logic."""

import logging
from typing import Any

from celery import Celery, Task

from shared.broker.app import TASK
from shared.broker.queues import BULK
from shared.errors import InvalidOption
from shared.job.ticket import Ticket
from worker.consumer.ticket_consumer import TicketConsumer

logger = logging.getLogger(__name__)


def register(app: Celery, consumer: TicketConsumer) -> None:
    """Make *app* serve tickets through *consumer*.

    A message that is not exactly a ticket is logged and dropped, so that invalid messages in the
    queue cost next to nothing.
    """

    @app.task(name=TASK, bind=True, ignore_result=True)
    def serve_ticket(self: Task[Any, None], *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - hostile until validated
        try:
            ticket = Ticket.from_args(*args, **kwargs)
        except (InvalidOption, TypeError) as err:
            logger.warning("message refused", extra={"cause": str(err)})
            return
        delivery = self.request.delivery_info or {}
        consumer.serve(ticket, str(delivery.get("routing_key") or BULK))
