"""`rmbg download`: the outputs of a job in a folder."""

from pathlib import Path

import click

from producer.commands.context import job_argument, services_of
from producer.progress import count
from producer.results.download import download_job


@click.command
@job_argument
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--output", metavar="NAME", help="One output, such as cutout; default: all.")
@click.pass_context
def download(ctx: click.Context, job: str, folder: Path, output: str | None) -> int:
    """Download a job's outputs to a folder; repeat it to go on after an interruption.

    Files that are there with the right size are not downloaded again. DIR/MISSING.txt names objects
    that the bucket does not have any more; then the exit code is 1. Of a running job, the images
    that have ended are downloaded.
    """
    made = download_job(services_of(ctx), job, folder, output)
    click.echo(f"{count(made.downloaded, 'file')} downloaded, {made.kept} there before", err=True)
    if made.missing:
        gone = count(len(made.missing), "object")
        click.echo(f"rmbg: warning: {gone} missing, see {folder / 'MISSING.txt'}", err=True)
    return 1 if made.missing else 0
