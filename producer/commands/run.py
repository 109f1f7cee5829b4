"""`rmbg run`: the whole system on one machine."""

from pathlib import Path

import click

from producer.commands.job_options import job_options, read_options


@click.command
@click.argument(
    "sources",
    nargs=-1,
    required=True,
    metavar="SRC...",
    type=click.Path(path_type=Path, exists=True),
)
@click.argument("out_dir", type=click.Path(path_type=Path, file_okay=False))
@job_options
@click.pass_context
def run(ctx: click.Context, /, sources: tuple[Path, ...], out_dir: Path, **given: object) -> int:
    """Process a folder of images, or some files, on this machine.

    SRC is a folder, or image files. Removes the background of every image in the folder and its
    subfolders, or of the files, and writes cutouts, masks, results.jsonl and report.html to
    OUT_DIR. Starts Redis, S3 and a worker, and stops them at the end. To resume an interrupted
    run, repeat the command.
    """
    from producer.local.run import run as run_locally  # noqa: PLC0415 - `--help` needs no service

    return run_locally(sources, out_dir, read_options(given), ctx.obj)
