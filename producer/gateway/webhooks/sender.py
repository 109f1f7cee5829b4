"""Send one event to its receiver."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from producer.gateway.fetch import Fetcher
from producer.gateway.problems import Problem
from producer.gateway.webhooks.schedule import Accepted, Failed, Gone, Outcome
from producer.gateway.webhooks.signing import Signer
from shared.webhooks import Delivery

TIMEOUT_S: Final = 15.0
"""Longest time of an attempt, in seconds."""
ANSWER_BYTES: Final = 4096
"""What is read of an answer, which has no meaning but its status."""
_ASKS: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
"""Statuses whose `Retry-After` counts."""


@dataclass(frozen=True)
class Sender:
    """Sends signed events."""

    fetcher: Fetcher
    signer: Signer

    async def send(self, delivery: Delivery, now: datetime) -> Outcome:
        """Send the event of *delivery* and return what the receiver answers."""
        headers = {
            "Content-Type": "application/json",
            **self.signer.headers(delivery.tenant, delivery.webhook_id, delivery.body, now),
        }
        try:
            response = await self.fetcher.send(
                "POST", delivery.url, headers, delivery.body.encode()
            )
        except Problem as err:
            return Failed(err.detail)
        return outcome_of(response.status, response.headers, now)


def outcome_of(status: int, headers: Mapping[str, str], now: datetime) -> Outcome:
    """Return what an answer means.

    Args:
        status: Its status.
        headers: Its headers; names are in lower case.
        now: The time, aware.
    """
    said = f"the receiver answered {status}"
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Accepted()
    if status == HTTPStatus.GONE:
        return Gone(said)
    if status in _ASKS:
        return Failed(said, _wait(headers.get("retry-after", ""), now))
    return Failed(said)


def _wait(text: str, now: datetime) -> timedelta:
    """Return the time that `Retry-After` names: seconds, or a date; 0 if it is neither."""
    if text.isdecimal():
        return timedelta(seconds=min(int(text), 10**6))
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return timedelta(0)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)) - now
