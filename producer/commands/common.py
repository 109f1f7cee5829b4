"""What several commands share: settings, services, the job's options, JSON for people's tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

import click

from producer.submission.options import DEFAULT_MODEL, DEFAULT_PREFIX, JobOptions
from shared.errors import InvalidOption, UnknownJob
from shared.job.spec import Existing, ImageOutput, Json, Naming, PictureOptions, Priority
from shared.job.thresholds import Thresholds
from shared.job.ticket import JOB_ID
from shared.settings import ServiceSettings

if TYPE_CHECKING:
    from producer.services import Services

_Command = TypeVar("_Command", bound=Callable[..., object])
_PICTURES: Final = {
    "edges": (("estimate", "source", "seed"), "Colours of soft edges."),
    "stretch": (("guarded", "seed"), "What is made of a picture without a subject."),
    "alpha": (("keep", "ignore"), "What becomes of a picture's own transparency."),
    "truncated": (("fail", "accept"), "What becomes of files that end too early."),
    "png": (("fast", "small"), "How hard PNGs are compressed."),
}
"""Options that change pixels; the first choice of each is the default."""


def settings_of(ctx: click.Context) -> ServiceSettings:
    """Return the settings of the environment that `producer.cli` handed over."""
    env: Mapping[str, str] = ctx.obj
    return ServiceSettings.from_env(env)


def services_of(ctx: click.Context) -> Services:
    """Return the services of the environment that `producer.cli` handed over."""
    from producer.services import Services  # noqa: PLC0415 - `rmbg run --help` needs no redis

    return Services(settings_of(ctx))


def job_argument(command: _Command) -> _Command:
    """Add the argument JOB; what cannot be an id is refused before it becomes part of a key."""
    return click.argument("job", callback=_job_id)(command)


def job_options(command: _Command) -> _Command:
    """Add the options of `rmbg submit` and `rmbg run`; `read_options` takes them together."""
    added = [
        click.option("--rem-mode", default=DEFAULT_MODEL, show_default=True, metavar="MODEL"),
        click.option("--save-prefix", default=DEFAULT_PREFIX, show_default=True, metavar="PREFIX"),
        _choice("image-output", [str(each) for each in ImageOutput], ImageOutput.SAVE),
        _choice("naming", [str(each) for each in Naming], Naming.SOURCE),
        _choice("existing", [str(each) for each in Existing], Existing.REPLACE),
        _choice("priority", [str(each) for each in Priority], Priority.BULK),
        click.option("--job-id", metavar="ID", help="This id always means this job."),
        *(_choice(name, ways, ways[0], text) for name, (ways, text) in _PICTURES.items()),
        click.option(
            "--route-review",
            "review_prefix",
            metavar="PREFIX",
            help="Copy doubtful cutouts here as well.",
        ),
        click.option(
            "--thresholds", type=click.File("rb"), help="JSON object: when a cutout is doubtful."
        ),
        click.option("--prompt", type=click.File("rb"), help="JSON for the PNGs' text chunk."),
        click.option("--extra-pnginfo", type=click.File("rb"), help="JSON object, a chunk a key."),
    ]
    for add in reversed(added):
        command = add(command)
    return command


def read_options(given: Mapping[str, Any]) -> JobOptions:
    """Return the options that `job_options` added, out of a command's arguments.

    Raises:
        InvalidOption: If a file is not the JSON it should be.
    """
    extra = _object_of("--extra-pnginfo", given["extra_pnginfo"])
    thresholds = _object_of("--thresholds", given["thresholds"])
    return JobOptions(
        rem_mode=given["rem_mode"],
        save_prefix=given["save_prefix"],
        image_output=ImageOutput(given["image_output"]),
        naming=Naming(given["naming"]),
        existing=Existing(given["existing"]),
        priority=Priority(given["priority"]),
        job_id=given["job_id"],
        pictures=PictureOptions(**{name: given[name] for name in _PICTURES}),
        thresholds=Thresholds.of(thresholds or {}),
        review_prefix=given["review_prefix"],
        prompt=_json_of("--prompt", given["prompt"]),
        extra_pnginfo=extra,
    )


def echo_json(body: Json) -> None:
    """Print one object on one line; times become ISO 8601 in UTC."""
    click.echo(json.dumps(body, default=_iso, ensure_ascii=False))


def one_cell(text: str) -> str:
    """Return *text* without what would end a cell or a line of a table."""
    return " ".join(text.split()) if "\t" in text or "\n" in text else text


def _job_id(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not JOB_ID.fullmatch(value):
        raise UnknownJob(f"no job can be called {value!r}")
    return value


def _iso(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} is not for JSON")


def _choice(
    name: str, ways: list[str] | tuple[str, ...], default: str, text: str = ""
) -> Callable[[_Command], _Command]:
    return click.option(
        f"--{name}", type=click.Choice(ways), default=str(default), show_default=True, help=text
    )


def _object_of(option: str, stream: IO[bytes] | None) -> dict[str, Json] | None:
    body = _json_of(option, stream)
    if body is not None and not isinstance(body, dict):
        raise InvalidOption(f"{option}: the file holds no JSON object")
    return body


def _json_of(option: str, stream: IO[bytes] | None) -> Json:
    if stream is None:
        return None
    try:
        return json.loads(stream.read())
    except ValueError as err:
        raise InvalidOption(f"{option} {stream.name}: not JSON: {err}") from err
