"""`rmbg check | preview`: commands that need image libraries, which `rmbg-worker` has."""

from functools import partial

import click

from producer.commands.context import read_background
from producer.commands.worker_tool import become_tool
from producer.submission.assets import pinned
from producer.submission.options import DEFAULT_MODEL
from producer.submission.outputs import choose_outputs
from producer.submission.sources import parse_prefix
from shared.errors import InvalidOption
from shared.models import registry as models
from shared.tool_requests import CheckRequest, PreviewRequest


@click.command
@click.argument("files", nargs=-1, metavar="[FILES]...")
@click.option("--prefix", metavar="s3://BUCKET/PREFIX/", help="Check all images with this prefix.")
@click.option(
    "--preset",
    "presets",
    multiple=True,
    required=True,
    metavar="NAME",
    help="Preset or recipe file with the checks. Repeat it for several.",
)
@click.option("--json", "as_json", is_flag=True, help="Print every finding, as JSON lines.")
def check(
    files: tuple[str, ...], prefix: str | None, presets: tuple[str, ...], *, as_json: bool
) -> None:
    """Check images that exist already, without network and mask.

    FILES are image files and folders. For each image and preset one line is printed, separated by
    tabs: the file, the preset, ok or fails, and what was found. Checks that need a mask are named
    as not possible. Exits with 1 if a check that must pass fails.
    """
    if bool(files) == (prefix is not None):
        raise InvalidOption("give files or --prefix, one of them")
    outputs = choose_outputs(presets).recipes
    if len(outputs) < len(set(presets)):
        raise InvalidOption("cutout and mask have no checks; name presets or recipe files")
    bucket, folder = ("", "") if prefix is None else parse_prefix(prefix)
    request = CheckRequest(
        files=files, bucket=bucket, prefix=folder, outputs=outputs, as_json=as_json
    )
    become_tool(request)


@click.command
@click.argument("image", metavar="IMAGE")
@click.option(
    "--output",
    "names",
    multiple=True,
    metavar="NAME",
    help="Preset or recipe file to show beside the cutout. Repeat it for several.",
)
@click.option(
    "--folder",
    default="preview",
    show_default=True,
    metavar="DIR",
    help="Folder for the outputs and the page.",
)
@click.option(
    "--rem-mode",
    default=DEFAULT_MODEL,
    show_default=True,
    metavar="MODEL",
    help="Model that removes the background; `rmbg weights list` shows all.",
)
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser.")
@click.pass_context
def preview(
    ctx: click.Context,
    image: str,
    names: tuple[str, ...],
    folder: str,
    rem_mode: str,
    *,
    open_page: bool,
) -> None:
    """Show one local image, its cutout and each output side by side, with their checks.

    The image goes through the same stages as in a job. Prints a line for the mask and for each
    output, and the path of the page. Exits with 1 if a verdict is not ok.
    """
    chosen = choose_outputs(names)
    outputs, assets = pinned(chosen.recipes, chosen.files, partial(read_background, ctx))
    request = PreviewRequest(
        image=image,
        folder=folder,
        outputs=outputs,
        rem_mode=models.get(rem_mode).name,
        assets=dict(assets),
        open_page=open_page,
    )
    become_tool(request)
