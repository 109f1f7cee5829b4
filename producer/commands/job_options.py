"""Command-line options of a job, shared by `rmbg submit` and `rmbg run`."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO, Any, Final, TypeVar, get_args

import click

from producer.commands.files import InputFile
from producer.submission.options import DEFAULT_MODEL, DEFAULT_PREFIX, JobOptions
from shared.errors import InvalidOption
from shared.job.options import PictureOptions
from shared.job.spec import Existing, ImageOutput, Json, Naming, Previews, Priority
from shared.job.thresholds import Thresholds

_Command = TypeVar("_Command", bound=Callable[..., object])


def _choice(
    name: str, ways: Iterable[str], default: str, text: str
) -> Callable[[_Command], _Command]:
    return click.option(
        f"--{name.replace('_', '-')}",
        type=click.Choice([str(way) for way in ways]),
        default=str(default),
        show_default=True,
        help=text,
    )


def _ways(annotation: Any) -> tuple[str, ...]:  # noqa: ANN401 - the type of a field
    """Return the choices of a field: the values of a `Literal`, or the members of an enum."""
    return get_args(annotation) or tuple(annotation)


def _json_file(option: str, text: str) -> Callable[[_Command], _Command]:
    return click.option(option, type=InputFile(), metavar="FILE", help=text)


_MODEL: Final = (
    click.option(
        "--rem-mode",
        default=DEFAULT_MODEL,
        show_default=True,
        metavar="MODEL",
        help="Model that removes the background; `rmbg weights list` shows all.",
    ),
)
_KEYS: Final = (
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
    _choice(
        "previews",
        Previews,
        Previews.SAMPLE,
        "Small before-and-after previews for the report: none, up to 2,000 evenly spread ones and "
        "some doubtful ones (sample), or one of every image (all).",
    ),
    click.option(
        "--job-id",
        metavar="ID",
        help="ID of the job; default: derived from image keys and options. An ID that is in "
        "use for other keys or options is an error.",
    ),
)
_IMAGE: Final = (
    *(
        _choice(name, ways, field.default, field.description or "")
        for name, field in PictureOptions.model_fields.items()
        if len(ways := _ways(field.annotation)) > 1
    ),
    click.option(
        "--output",
        "outputs",
        multiple=True,
        metavar="NAME",
        help="Output to write for each image: cutout, mask, a preset (`rmbg presets`) or a recipe "
        "file. Repeat it for several. Default: cutout and mask.",
    ),
    click.option(
        "--no-mask",
        "keep_mask",
        flag_value=False,
        default=True,
        help="Do not write masks; `rmbg rerender` then needs the network again.",
    ),
)
_OTHER_JOBS: Final = (
    click.option(
        "--reuse-masks/--no-reuse-masks",
        default=True,
        show_default=True,
        help="Make outputs of the masks that earlier jobs wrote below the same prefix, if image "
        "and model are the same.",
    ),
    click.option(
        "--route-review",
        "review_prefix",
        metavar="PREFIX",
        help="Also copy cutouts of doubtful quality to keys with this prefix.",
    ),
)
_DOCUMENTS: Final = (
    _json_file("--thresholds", "JSON object of the limits beyond which a cutout is doubtful."),
    _json_file("--prompt", "JSON value to store in the text chunk `prompt` of each PNG."),
    _json_file("--extra-pnginfo", "JSON object; store each entry as a text chunk in each PNG."),
)


def job_options(command: _Command) -> _Command:
    """Add the options of a job to *command*; `read_options` reads them."""
    return _with((*_MODEL, *_KEYS, *_IMAGE, *_OTHER_JOBS, *_DOCUMENTS), command)


def image_options(command: _Command) -> _Command:
    """Add the options of a job that say what is made of one image; `read_options` reads them."""
    return _with((*_MODEL, *_IMAGE, *_DOCUMENTS), command)


def _with(options: Sequence[Callable[[_Command], _Command]], command: _Command) -> _Command:
    """Add *options* to *command*, in the order of the help text."""
    for add in reversed(options):
        command = add(command)
    return command


def read_options(given: Mapping[str, Any]) -> JobOptions:
    """Return the job options among a command's arguments.

    Raises:
        InvalidOption: If a file is not valid JSON of the expected kind, or an output is unknown or
            has problems.
    """
    pixels = {name: given[name] for name in PictureOptions.model_fields if name in given}
    values = {name: value for name, value in given.items() if name not in pixels} | {
        "pictures": PictureOptions(**pixels),
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
    except (json.JSONDecodeError, UnicodeDecodeError) as err:
        raise InvalidOption(f"{option}: {stream.name} is not valid JSON: {err}") from err
    except ValueError as err:
        raise InvalidOption(f"{option}: {stream.name} has a number of over 4,300 digits") from err
    except RecursionError as err:
        raise InvalidOption(f"{option}: {stream.name} is nested too deeply") from err
