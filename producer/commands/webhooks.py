"""`rmbg webhooks list | resend`: events of jobs that receivers have not got."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import click

from producer.commands.context import checked_job_id, services_of
from producer.commands.output import echo_json, echo_row
from shared.errors import InvalidOption
from shared.urls import split_url
from shared.webhooks import Delivery, DeliveryState, Outbox

_STATES: Final = (DeliveryState.PENDING, DeliveryState.DEAD)
_job_option: Final = click.option(
    "--job",
    metavar="JOB",
    callback=lambda ctx, param, value: value and checked_job_id(ctx, param, value),
    help="One job: its delivered webhooks as well.",
)


@click.group
def webhooks() -> None:
    """List the webhooks that were not delivered, and send them again."""


@webhooks.command("list")
@click.option(
    "--state", type=click.Choice([*map(str, _STATES)]), help="Only pending or only dead ones."
)
@_job_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
@click.pass_context
def list_(ctx: click.Context, *, state: str | None, job: str | None, as_json: bool) -> None:
    """List the webhooks that are not delivered: pending, or dead after the last attempt.

    The columns are separated by tabs: ID, job, event, state, attempts, time of the next attempt or
    of the end, host of the receiver, and why the latest attempt failed.
    """
    outbox = _outbox(ctx)
    found = _of_job(outbox, job, state) if job else _noted(outbox, state)
    for each in found:
        if as_json:
            echo_json({**each.model_dump(exclude={"url", "body"}), "host": _host(each)})
            continue
        at = each.ended_at or each.next_at
        echo_row(
            (
                each.webhook_id,
                each.job_id,
                each.event,
                each.state,
                each.attempts,
                f"{at:%Y-%m-%d %H:%M:%S}Z",
                _host(each),
                each.error or "-",
            )
        )


@webhooks.command
@click.argument("webhook_id", metavar="ID")
@_job_option
@click.pass_context
def resend(ctx: click.Context, webhook_id: str, job: str | None) -> None:
    """Send the webhook ID again, with all attempts; a gateway does it within seconds.

    The ID stays the same, so that a receiver that has the event can tell.
    """
    outbox = _outbox(ctx)
    jobs = [job] if job else _jobs_of(outbox, webhook_id)
    now = datetime.now(UTC)
    if not any(outbox.begin_again(each, webhook_id, now) for each in jobs):
        where = f"job {job} has no webhook" if job else "no webhook is pending or dead with the ID"
        raise InvalidOption(f"{where} {webhook_id!r}; `rmbg webhooks list --job JOB` shows all")


def _outbox(ctx: click.Context) -> Outbox:
    services = services_of(ctx)
    return Outbox(services.objects, services.settings.output_bucket)


def _noted(outbox: Outbox, state: str | None) -> Iterator[Delivery]:
    for each in [DeliveryState(state)] if state else _STATES:
        for note in outbox.notes(each):
            found = outbox.find(note.job_id, note.webhook_id)
            if found is not None and found.delivery.state is each:
                yield found.delivery


def _of_job(outbox: Outbox, job: str, state: str | None) -> Iterator[Delivery]:
    for each in outbox.of_job(job):
        if state in (None, each.delivery.state):
            yield each.delivery


def _jobs_of(outbox: Outbox, webhook_id: str) -> list[str]:
    notes = (note for state in _STATES for note in outbox.notes(state))
    return [note.job_id for note in notes if note.webhook_id == webhook_id]


def _host(delivery: Delivery) -> str:
    """Return the host of the receiver; the whole address may be a secret."""
    parts = split_url(delivery.url)
    return (parts.hostname if parts else None) or "-"
