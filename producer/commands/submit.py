"""`rmbg submit`: create a job from a prefix, a file of keys or standard input."""

import sys
from typing import IO

import click

from producer.commands.context import services_of
from producer.commands.files import InputFile, wait_for_input
from producer.commands.job_options import job_options, read_options
from producer.progress import watch_job
from producer.submission.lines import LineSource
from producer.submission.sources import Source, parse_prefix
from producer.submission.submit import list_prefix, plan
from producer.submission.submit import submit as submit_job
from shared.streams import printable


@click.command
@click.option("--prefix", metavar="s3://BUCKET/PREFIX/", help="Submit all images with this prefix.")
@click.option(
    "--keys",
    type=InputFile(),
    metavar="FILE",
    help="Read image keys or s3://BUCKET/KEY from a file, one per line; - is standard input.",
)
@click.option(
    "--bucket", metavar="BUCKET", help="Input bucket of the keys; needed if several are allowed."
)
@click.option("--wait", is_flag=True, help="Show progress until the job ends, like `rmbg watch`.")
@job_options
@click.pass_context
def submit(
    ctx: click.Context,
    /,
    prefix: str | None,
    keys: IO[bytes] | None,
    bucket: str | None,
    *,
    wait: bool,
    **given: object,
) -> int:
    """Create a job from image keys and print its ID.

    Image keys come from --prefix, --keys or standard input. Submitting the same keys and options
    again while the job runs joins that job.
    """
    if prefix is not None and (keys is not None or bucket is not None):
        raise click.UsageError("--prefix cannot be combined with --keys or --bucket")
    options, services = read_options(given), services_of(ctx)
    source: Source
    if prefix is None:
        source = _lines(keys)
        spec = plan(services, options, bucket or source.first_bucket())
        source.bucket = spec.input_bucket
    else:
        spec = plan(services, options, parse_prefix(prefix)[0])
        source = list_prefix(services, prefix, spec, options.save_prefix)
    submitted = submit_job(
        services, source, spec, job_id=options.job_id, files=options.outputs.files
    )
    if remark := source.remark():
        click.echo(remark, err=True)
    for warning in submitted.warnings:
        click.echo(f"warning: {warning}", err=True)
    if not submitted.created:
        click.echo("joined the job of an earlier identical submission", err=True)
    click.echo(submitted.job_id)
    return watch_job(services, submitted.job_id, sys.stderr) if wait else 0


def _lines(keys: IO[bytes] | None) -> LineSource:
    if keys is None and (sys.stdin is None or sys.stdin.isatty()):
        raise click.UsageError("no image keys; use --prefix, --keys or standard input")
    stream = sys.stdin.buffer if keys is None else keys
    name = "standard input" if keys is None else f"--keys {printable(keys.name)}"
    wait_for_input(stream, f"image keys from {name}")
    return LineSource(stream, name)
