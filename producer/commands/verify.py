"""`rmbg verify`: compare a job's records with the bucket."""

from collections import Counter
from dataclasses import asdict

import click

from producer.commands.context import job_argument, services_of
from producer.commands.output import echo_json, echo_row
from producer.progress import count
from producer.results.repair import Repair
from producer.results.verify import Verifier


@click.command
@job_argument
@click.option(
    "--repair", is_flag=True, help="Process images with a missing or damaged output again."
)
@click.option(
    "--deep", is_flag=True, help="Also check the options that outputs were made with; slower."
)
@click.option("--json", "as_json", is_flag=True, help="Print faults as JSON lines.")
@click.pass_context
def verify(ctx: click.Context, job: str, *, repair: bool, deep: bool, as_json: bool) -> int:
    """Check that every output of a job exists and is intact.

    Prints one line per fault (missing, damaged or extra), key and reason, separated by tabs.
    Outputs that another job wrote are not faults. Exits with 1 if there is any fault.
    """
    services = services_of(ctx)
    verifier = Verifier(services, job, deep=deep)
    findings = verifier.findings()
    repairs = Repair(services, verifier.status) if repair else None
    faults: Counter[str] = Counter()
    for finding in repairs.collect(findings) if repairs else findings:
        faults[finding.fault] += 1
        if as_json:
            echo_json(asdict(finding))
        else:
            echo_row((finding.fault, finding.key, finding.reason))
    totals = ", ".join(f"{faults[fault]} {fault}" for fault in ("missing", "damaged", "extra"))
    click.echo(f"checked {count(verifier.checked, 'output')} of {job}: {totals}", err=True)
    if repairs is not None:
        click.echo(f"processing {count(repairs.reopen(), 'image')} of {job} again", err=True)
    return 1 if faults else 0
