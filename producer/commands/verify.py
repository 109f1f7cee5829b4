"""`rmbg verify`: whether the bucket holds what a job's records say."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

import click

from producer.commands.common import echo_json, job_argument, one_cell, services_of
from producer.results.repair import Repair
from producer.results.verify import Verifier
from producer.submission.submit import DURABLE_S

EXIT_FAULTS = 1


@click.command
@job_argument
@click.option("--repair", is_flag=True, help="Do the images again of which pictures are faulty.")
@click.option("--deep", is_flag=True, help="Ask for every picture's parameters as well; slower.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a fault.")
@click.pass_context
def verify(ctx: click.Context, job: str, *, repair: bool, deep: bool, as_json: bool) -> int:
    """Print what the bucket lacks of a job, holds damaged, or holds beyond its records.

    One line a picture: fault, key, reason, separated by tabs. Exits with 1 if there is any.
    Pictures that another or a later job has written are no fault.
    """
    services = services_of(ctx)
    verifier = Verifier(services, job, deep=deep)
    mending = Repair(services, verifier.status) if repair else None
    counts: Counter[str] = Counter()
    for finding in verifier.findings():
        counts[finding.fault] += 1
        if mending is not None:
            mending.add(finding)
        if as_json:
            echo_json(asdict(finding))
        else:
            click.echo("\t".join(map(one_cell, (finding.fault, finding.key, finding.reason))))
    said = ", ".join(f"{counts[fault]} {fault}" for fault in ("missing", "damaged", "extra"))
    click.echo(f"{verifier.pictures} pictures of {job}: {said}", err=True)
    if mending is not None:
        click.echo(f"{mending.reopen()} images of {job} are done again", err=True)
        services.jobs.submissions.durable(DURABLE_S)
    return EXIT_FAULTS if counts else 0
