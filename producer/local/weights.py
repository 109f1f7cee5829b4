"""Download weights for a person at a terminal, with a progress bar."""

from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from shared.models import weights
from shared.models.card import Card
from shared.settings import ServiceSettings


def fetch(model: Card, settings: ServiceSettings, *, home: Path | None = None) -> Path:
    """Return the path of *model*'s verified weights; see `shared.models.weights.pull`.

    Shows a bar on standard error if that is a terminal.

    Args:
        model: From the registry.
        settings: Cache, mirror and token.
        home: Another cache than `settings.home`.

    Raises:
        WeightsInvalid: If no source delivered the right file.
    """
    console = Console(stderr=True)
    console.quiet = not console.is_terminal
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), console=console) as bar:
        task = bar.add_task(model.name, total=None)
        return weights.pull(
            model,
            home or settings.home,
            base_url=settings.weights_url,
            hf_token=settings.hf_token,
            offline=settings.offline,
            progress=lambda so_far, total: bar.update(task, completed=so_far, total=total),
        )


def fetch_if_missing(model: Card, settings: ServiceSettings) -> None:
    """Download *model*'s weights with a message, unless the cache has a file for them.

    Raises:
        WeightsInvalid: If no source delivered the right file.
    """
    if weights.locate(model, settings.home) is None:
        click.echo(f"downloading the weights of {model.name} ({model.licence})", err=True)
        fetch(model, settings)
