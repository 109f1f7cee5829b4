"""`rmbg weights pull | list`: models, their licences, and what of them is here."""

from __future__ import annotations

from pathlib import Path

import click

from producer.commands.common import settings_of
from producer.local.weights import fetch
from shared.models import registry as models
from shared.models import weights as cache

_DIR = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="The cache; default: RMBG_HOME.",
)


@click.group
def weights() -> None:
    """Fetch and verify weights ahead of time, or list what is known."""


@weights.command
@click.argument("model")
@_DIR
@click.pass_context
def pull(ctx: click.Context, model: str, folder: Path | None) -> None:
    """Fetch and verify MODEL's weights; print where they lie."""
    settings = settings_of(ctx)
    found = models.get(model)
    click.echo(f"{found.name}: licence {found.licence}", err=True)
    click.echo(fetch(found, settings, home=folder))


@weights.command("list")
@_DIR
@click.pass_context
def list_(ctx: click.Context, folder: Path | None) -> None:
    """Print each model's name, licence and file; - where it is not here."""
    for model, path in cache.known(folder or settings_of(ctx).home):
        use = "commercial use allowed" if model.commercial else "non-commercial use only"
        click.echo(f"{model.name}\t{model.licence}\t{use}\t{path or '-'}")
