"""`rmbg weights pull | list`: download model weights, and list models and licences."""

from pathlib import Path

import click

from producer.local.weights import fetch
from shared.models import registry as models
from shared.models import weights as cache
from shared.settings import ServiceSettings

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
    """Download and verify the weights of MODEL, and print their path.

    For models that require a login at huggingface.co, set HF_TOKEN to an access token.
    """
    found = models.get(model)
    click.echo(f"{found.name}: licence {found.licence}", err=True)
    click.echo(fetch(found, ServiceSettings.from_env(ctx.obj), home=folder))


@weights.command("list")
@_DIR
@click.pass_context
def list_(ctx: click.Context, folder: Path | None) -> None:
    """List models with licence, permitted use and file.

    The columns are separated by tabs; the file is - if the weights are not on this machine.
    """
    for model, path in cache.known(folder or ServiceSettings.from_env(ctx.obj).home):
        use = "commercial use allowed" if model.commercial else "non-commercial use only"
        click.echo(f"{model.name}\t{model.licence}\t{use}\t{path or '-'}")
