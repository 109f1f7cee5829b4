"""Command-line options of a job, shared by `rmbg submit` and `rmbg run`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import IO, Any, Final, TypeVar

import click

from producer.submission.options import DEFAULT_MODEL, DEFAULT_PREFIX, JobOptions
from shared.errors import InvalidOption
from shared.job.spec import Existing, ImageOutput, Json, Naming, PictureOptions, Priority
from shared.job.thresholds import Thresholds

_Command = TypeVar("_Command", bound=Callable[..., object])

_PIXELS: Final = ("edges", "stretch", "alpha", "truncated", "png")
"""Options that are fields of `PictureOptions`."""


def _choice(
    name: str, ways: Iterable[str], default: str, text: str
) -> Callable[[_Command], _Command]:
    return click.option(
        f"--{name}",
        type=click.Choice([str(way) for way in ways]),
        default=str(default),
        show_default=True,
        help=text,
    )


def _json_file(option: str, text: str) -> Callable[[_Command], _Command]:
    return click.option(option, type=click.File("rb"), metavar="FILE", help=text)


_OPTIONS: Final = (
    click.option(
        "--rem-mode",
        default=DEFAULT_MODEL,
        show_default=True,
        metavar="MODEL",
        help="Model that removes the background; `rmbg weights list` shows all.",
    ),
    click.option(
        "--save-prefix",
        default=DEFAULT_PREFIX,
        show_default=True,
        metavar="PREFIX",
        help="Prefix of all output keys; %year%, %month%, %day%, %hour%, %minute%, %second%, "
        "%width%, %height% and %batch_num% are filled in.",
    ),
    _choice(
        "image-output",
        ImageOutput,
        ImageOutput.SAVE,
        "Write outputs and allow links to them (Save), write them without links (Hide/Save), "
        "delete them after one day (Preview), or write records only (Hide).",
    ),
    _choice(
        "naming",
        Naming,
        Naming.SOURCE,
        "Derive output keys from image keys (source), or number outputs as ComfyUI does.",
    ),
    _choice(
        "existing",
        Existing,
        Existing.REPLACE,
        "If a different output already exists: replace it, keep it, or fail the image. Outputs of "
        "later jobs are never replaced.",
    ),
    _choice(
        "priority",
        Priority,
        Priority.BULK,
        "Interactive jobs, of at most 64 images, run ahead of bulk jobs.",
    ),
    click.option(
        "--job-id",
        metavar="ID",
        help="ID of the job; default: derived from image keys and options. An ID that is in "
        "use for other keys or options is an error.",
    ),
    _choice(
        "edges",
        ("estimate", "source", "seed"),
        "estimate",
        "Colours of soft edges: estimate the subject's (estimate), keep the image's (source), or "
        "darken them as the original ComfyUI node does (seed).",
    ),
    _choice(
        "stretch",
        ("guarded", "seed"),
        "guarded",
        "Mask of an image without a subject: leave it empty (guarded), or stretch it to full "
        "range as the original ComfyUI node does (seed).",
    ),
    _choice(
        "alpha",
        ("keep", "ignore"),
        "keep",
        "Transparency of the image itself: multiply it into the mask (keep), or ignore it.",
    ),
    _choice(
        "truncated",
        ("fail", "accept"),
        "fail",
        "Image files that end too early: fail them, or accept the part that is there.",
    ),
    _choice("png", ("fast", "small"), "fast", "PNG compression level; the pixels are the same."),
    click.option(
        "--route-review",
        "review_prefix",
        metavar="PREFIX",
        help="Also copy cutouts of doubtful quality to keys with this prefix.",
    ),
    _json_file("--thresholds", "JSON object of the limits beyond which a cutout is doubtful."),
    _json_file("--prompt", "JSON value to store in the text chunk `prompt` of each PNG."),
    _json_file("--extra-pnginfo", "JSON object; store each entry as a text chunk in each PNG."),
)
"""In the order of the help text."""


def job_options(command: _Command) -> _Command:
    """Add the options of a job to *command*; `read_options` reads them."""
    for add in reversed(_OPTIONS):
        command = add(command)
    return command


def read_options(given: Mapping[str, Any]) -> JobOptions:
    """Return the job options among a command's arguments.

    Raises:
        InvalidOption: If a file is not valid JSON of the expected kind.
    """
    values = {name: value for name, value in given.items() if name not in _PIXELS} | {
        "pictures": PictureOptions(**{name: given[name] for name in _PIXELS}),
        "extra_pnginfo": _read_object("--extra-pnginfo", given["extra_pnginfo"]),
        "thresholds": Thresholds.of(_read_object("--thresholds", given["thresholds"]) or {}),
        "prompt": _read_json("--prompt", given["prompt"]),
    }
    return JobOptions.of(**values)


def _read_object(option: str, stream: IO[bytes] | None) -> dict[str, Json] | None:
    body = _read_json(option, stream)
    if body is not None and not isinstance(body, dict):
        raise InvalidOption(f"{option}: the file must contain a JSON object")
    return body


def _read_json(option: str, stream: IO[bytes] | None) -> Json:
    if stream is None:
        return None
    try:
        return json.loads(stream.read())
    except ValueError as err:
        raise InvalidOption(f"{option}: {stream.name} is not valid JSON: {err}") from err
