"""`rmbg doctor`: check the services and the fleet."""

from __future__ import annotations

from typing import Final

import click

from producer.commands.common import services_of
from producer.doctor import examine

_EXIT_FAULT: Final = 3


@click.command
@click.pass_context
def doctor(ctx: click.Context) -> int:
    """Check Redis, the buckets and the workers; of each fault, say what to do about it.

    Exits with 3 if there is any.
    """
    findings = examine(services_of(ctx))
    for finding in findings:
        click.echo(f"{'ok   ' if finding.well else 'FAULT'}  {finding.subject}: {finding.text}")
    return 0 if all(finding.well for finding in findings) else _EXIT_FAULT
