"""`rmbg doctor`: check the services and the workers."""

from typing import Final

import click

from producer.commands.context import services_of
from producer.doctor import run_checks
from shared.probes import Level

_WORDS: Final = {Level.OK: "ok", Level.WARNING: "warn"}


@click.command
@click.pass_context
def doctor(ctx: click.Context) -> int:
    """Check Redis, S3 and workers, and explain how to fix what is wrong.

    Runs once on the real services what jobs need, and deletes what it writes. Takes less than
    10 s. Exits with 1 if it finds a fault; a warning is no fault.
    """
    findings = run_checks(services_of(ctx))
    for found in findings:
        click.echo(f"{_WORDS.get(found.level, 'FAULT'):5}  {found.subject}: {found.detail}")
    return 1 if any(found.is_fault for found in findings) else 0
