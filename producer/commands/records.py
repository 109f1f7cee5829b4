"""`rmbg results | failures`: the records of a job's images."""

import functools
import json
from collections.abc import Callable

import click

from producer.commands.context import job_argument, services_of
from producer.commands.output import echo_json, echo_row, to_json
from producer.commands.worker_tool import pipe_through_tool
from producer.patience import Patience
from producer.results import reader
from producer.results.failed_checks import failed_checks
from producer.results.links import linker
from producer.results.reviewed import Reviewed, joined
from shared.job.record import ItemRecord
from shared.job.spec import Json
from shared.tool_requests import RecheckRequest


@click.command
@job_argument
@click.option("--follow", is_flag=True, help="Wait for further records until the job ends.")
@click.option("--links", is_flag=True, help="Add signed links to the outputs, valid for one hour.")
@click.option(
    "--checks",
    type=click.Choice(["failed", "all"]),
    default="failed",
    show_default=True,
    help="Checks of outputs: those that failed, as recorded, or all, made again from the bytes in "
    "the bucket.",
)
@click.pass_context
def results(ctx: click.Context, job: str, checks: str, *, follow: bool, links: bool) -> int:
    """Print a job's records as JSON lines, one per image.

    Records come in the order of the job's images. For a running job, the records known so far
    are printed. Records stay readable after Redis has deleted the job, 7 days after its end.
    Without --follow, a record has the decision about its image under `review`, if there is one.
    """
    services = services_of(ctx)
    patience = Patience(functools.partial(click.echo, err=True))
    found = (
        (Reviewed(each) for each in reader.follow(services, job, patience=patience))
        if follow
        else joined(services, job, reader.records(services, job))
    )
    link = linker(services, job) if links else None
    lines = (_line(reviewed, link) for reviewed in found)
    if checks == "all":
        request = RecheckRequest(job_id=job, spec=services.jobs.queries.spec(job))
        return pipe_through_tool(request, lines, ctx.obj)
    for line in lines:
        click.echo(line)
    return 0


def _line(reviewed: Reviewed, link: Callable[[ItemRecord], dict[str, Json]] | None) -> str:
    record, stored = reviewed.record, reviewed.stored
    if link is None and stored is None:
        return record.to_json()
    fields = json.loads(record.to_json()) if link is None else link(record)
    if stored is not None:
        latest, standing = stored.review.latest, stored.review.standing
        decision = None if standing is None else standing.decision
        shown = latest.model_dump(mode="json") | {"decision": decision, "stale": reviewed.is_stale}
        fields["review"] = shown
    return to_json(fields)


@click.command
@job_argument
@click.option("--json", "as_json", is_flag=True, help="Print complete records as JSON lines.")
@click.option("--checks", is_flag=True, help="Count the checks that outputs failed instead.")
@click.pass_context
def failures(ctx: click.Context, job: str, *, as_json: bool, checks: bool) -> None:
    """List a job's failed images and the reasons.

    Each line has the image's index, key, error class and reason, separated by tabs. With --checks,
    each line has the number of images, the output, the check and the key of the first image.
    """
    if checks:
        for each in failed_checks(reader.records(services_of(ctx), job)):
            if as_json:
                echo_json(vars(each))
            else:
                echo_row((each.images, each.output, each.check, each.first))
        return
    for record in reader.failures(services_of(ctx), job):
        if as_json:
            click.echo(record.to_json())
        else:
            error = record.error or {}
            reason = (error.get("class", "?"), error.get("reason", ""))
            echo_row((record.index, record.image_key, *reason))
