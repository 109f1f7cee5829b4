"""Output formats of commands: JSON lines and tab-separated rows."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime

import click

from shared.job.spec import Json


def echo_json(body: Json) -> None:
    """Print one JSON value on one line; times are written as ISO 8601 in UTC."""
    click.echo(to_json(body))


def to_json(body: Json) -> str:
    """Return *body* as one line of JSON; times are written as ISO 8601 in UTC."""
    return json.dumps(body, default=_iso, ensure_ascii=False)


def echo_row(cells: Iterable[object]) -> None:
    """Print *cells* on one line, separated by tabs; tabs and line breaks in a cell are replaced."""
    click.echo("\t".join(_one_line(str(cell)) for cell in cells))


def _one_line(text: str) -> str:
    return " ".join(text.split()) if "\t" in text or "\n" in text else text


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
