"""`rmbg run`: the whole system on one machine."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from producer.commands.common import job_options, read_options


@click.command
@click.argument("src_dir", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.argument("out_dir", type=click.Path(path_type=Path, file_okay=False))
@job_options
@click.pass_context
def run(ctx: click.Context, /, src_dir: Path, out_dir: Path, **given: object) -> int:
    """Remove the backgrounds of all pictures in SRC_DIR; results go to OUT_DIR.

    Redis, S3 and a worker are started for it and stopped afterwards. The same command resumes
    what was interrupted.
    """
    local = importlib.import_module("producer.local.run")
    code: int = local.run(src_dir, out_dir, read_options(given), ctx.obj)
    return code
