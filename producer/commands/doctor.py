"""`rmbg doctor`: check the services and the workers."""

import click

from producer.commands.context import services_of
from producer.doctor import run_checks


@click.command
@click.pass_context
def doctor(ctx: click.Context) -> int:
    """Check Redis, S3 and workers, and explain how to fix what is wrong.

    Takes less than 10 s. Exits with 3 if a check fails.
    """
    checks = run_checks(services_of(ctx))
    for check in checks:
        click.echo(f"{'ok   ' if check.ok else 'FAULT'}  {check.subject}: {check.detail}")
    return 0 if all(check.ok for check in checks) else 3
