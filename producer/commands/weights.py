"""`rmbg weights pull | list`: download model weights, and list models and licences."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from producer.commands.context import settings_of
from shared.models import registry as models
from shared.models import weights as cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DIR = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the weights cache; default: RMBG_HOME, or ~/.cache/rmbg.",
)


@click.group
def weights() -> None:
    """Download, verify and list model weights."""


@weights.command
@click.argument("model")
@_DIR
@click.pass_context
def pull(ctx: click.Context, model: str, folder: Path | None) -> None:
    """Download and verify the weights of MODEL, and print their path."""
    settings = settings_of(ctx)
    found = models.get(model)
    click.echo(f"{found.name}: licence {found.licence}", err=True)
    with _progress(found.name) as progress:
        path = cache.pull(
            found,
            folder or settings.home,
            base_url=settings.weights_url,
            offline=settings.offline,
            progress=progress,
        )
    click.echo(path)


@weights.command("list")
@_DIR
@click.pass_context
def list_(ctx: click.Context, folder: Path | None) -> None:
    """List models with licence, permitted use and file.

    The columns are separated by tabs; the file is - if the weights are not on this machine.
    """
    for model, path in cache.known(folder or settings_of(ctx).home):
        use = "commercial use allowed" if model.commercial else "non-commercial use only"
        click.echo(f"{model.name}\t{model.licence}\t{use}\t{path or '-'}")


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int | None], None] | None]:
    """Yield a callback that shows a progress bar on a terminal, or None without a terminal."""
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(name, total=None)
        yield lambda so_far, total: bar.update(task, completed=so_far, total=total)
