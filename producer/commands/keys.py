"""`rmbg keys create | list | rotate | revoke`: API keys of the gateway."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from producer.commands.context import services_of
from producer.commands.output import echo_json, echo_row
from producer.submission.submit import choose_bucket
from shared.access import KEY_NAME, ApiKey, Scope, digest, new_text
from shared.errors import InvalidOption, UnknownKey
from shared.job.keys import check_prefix

_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1)}
_DURATION: Final = re.compile(r"([1-9][0-9]{0,4})([hd])")


@click.group
def keys() -> None:
    """Create, list, rotate and revoke API keys of the gateway.

    A key is printed once. Redis holds its hash only.
    """


@keys.command
@click.argument("name")
@click.option("--tenant", metavar="NAME", help="Owner of the jobs; default: the name of the key.")
@click.option("--bucket", metavar="BUCKET", help="Bucket that image keys are read from.")
@click.option(
    "--prefix",
    default="",
    metavar="PREFIX",
    help="Prefix that image keys must have, and that outputs are written under; default: any.",
)
@click.option(
    "--rate",
    type=click.IntRange(1, 60_000),
    default=600,
    show_default=True,
    help="Requests a minute.",
)
@click.option(
    "--max-open-images",
    type=click.IntRange(1),
    default=1_000_000,
    show_default=True,
    help="Most images of the tenant in progress.",
)
@click.option(
    "--weight",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Share of the fleet beside other tenants that wait.",
)
@click.option(
    "--scopes",
    default="submit,read,review",
    show_default=True,
    help="What the key allows, separated by commas.",
)
@click.option("--expires", metavar="DATE|30d|12h", help="When the key ends; default: never.")
@click.pass_context
def create(  # noqa: PLR0917 - click passes options by name
    ctx: click.Context,
    /,
    name: str,
    tenant: str | None,
    bucket: str | None,
    prefix: str,
    rate: int,
    max_open_images: int,
    weight: int,
    scopes: str,
    expires: str | None,
) -> None:
    """Create the API key NAME and print it.

    It is shown this once: store it where the program that uses it can read it.
    """
    services, now = services_of(ctx), datetime.now(UTC)
    text = new_text(_checked_name(name))
    key = ApiKey(
        name=name,
        tenant=_checked_name(tenant or name),
        sha256=digest(text),
        bucket=choose_bucket(services, bucket),
        prefix=_checked_prefix(prefix),
        rate_per_minute=rate,
        max_open_images=max_open_images,
        weight=weight,
        scopes=frozenset(_scopes(scopes.split(","))),
        created_at=now,
        expires_at=_end(expires, now) if expires else None,
    )
    if not services.jobs.api_keys.add(key):
        raise InvalidOption(
            f"the API key {name} exists; choose another name, or `rmbg keys rotate {name}`"
        )
    services.persist()
    click.echo(text)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print keys as JSON lines.")
@click.pass_context
def list_(ctx: click.Context, *, as_json: bool) -> None:
    """List the API keys, without their secrets.

    The columns are separated by tabs: name, tenant, bucket, prefix, scopes, requests a minute, most
    images in progress, weight and end.
    """
    for key in services_of(ctx).jobs.api_keys.all():
        scopes = ",".join(sorted(key.scopes))
        if as_json:
            echo_json({**key.model_dump(exclude={"sha256", "scopes"}), "scopes": scopes.split(",")})
            continue
        ends = f"{key.expires_at:%Y-%m-%d %H:%M}Z" if key.expires_at else "-"
        limits = (key.rate_per_minute, key.max_open_images, key.weight)
        echo_row((key.name, key.tenant, key.bucket, key.prefix or "-", scopes, *limits, ends))


@keys.command
@click.argument("name")
@click.pass_context
def rotate(ctx: click.Context, name: str) -> None:
    """Replace the secret of the API key NAME and print the new key; the old one ends at once."""
    services = services_of(ctx)
    if (known := services.jobs.api_keys.find(name)) is None:
        raise _unknown(name)
    text = new_text(name)
    services.jobs.api_keys.put(known.model_copy(update={"sha256": digest(text)}))
    services.persist()
    click.echo(text)


@keys.command
@click.argument("name")
@click.pass_context
def revoke(ctx: click.Context, name: str) -> None:
    """Revoke the API key NAME: the next request with it is refused. Its jobs go on."""
    services = services_of(ctx)
    if not services.jobs.api_keys.revoke(name):
        raise _unknown(name)
    services.persist()


def _unknown(name: str) -> UnknownKey:
    return UnknownKey(f"there is no API key {name!r}; `rmbg keys list` shows all")


def _checked_name(name: str) -> str:
    if not KEY_NAME.fullmatch(name):
        raise InvalidOption(
            f"invalid name {name!r}; use 1 to 64 of A-Z a-z 0-9 . _ - and begin with a letter or "
            "digit"
        )
    return name


def _checked_prefix(prefix: str) -> str:
    """Return *prefix* without slashes at its end, after the checks of a save prefix."""
    if "%" in prefix:
        raise InvalidOption(
            f"--prefix {prefix!r}: a key's prefix has no placeholders; remove the %"
        )
    if stripped := prefix.rstrip("/"):
        check_prefix(stripped)
    return stripped


def _scopes(names: Sequence[str]) -> list[Scope]:
    try:
        return [Scope(name.strip()) for name in names]
    except ValueError as err:
        raise InvalidOption(f"--scopes: {err}; scopes: {', '.join(Scope)}") from err


def _end(text: str, now: datetime) -> datetime:
    """Return the time that *text* names: a date or time in ISO 8601, or a duration from *now*."""
    if found := _DURATION.fullmatch(text):
        return now + int(found[1]) * _UNITS[found[2]]
    try:
        given = datetime.fromisoformat(text)
    except ValueError as err:
        raise InvalidOption(f"--expires {text!r} is no date; use 2027-01-31, 30d or 12h") from err
    end = given if given.tzinfo else given.replace(tzinfo=UTC)
    if end <= now:
        raise InvalidOption(f"--expires {text!r} is in the past")
    return end
