"""`rmbg presets` and `rmbg recipes`: the presets, their recipes, and the schema of a recipe."""

import json
from urllib.parse import parse_qsl

import click

from producer.commands.output import echo_json, echo_row
from producer.gateway.fronts.removebg_fields import translate
from producer.submission.outputs import choose_outputs
from shared.errors import InvalidOption
from shared.recipes import Recipe, canonical, presets


@click.command("presets")
@click.option("--json", "as_json", is_flag=True, help="Print whole presets as JSON lines.")
def list_presets(*, as_json: bool) -> None:
    """List the presets, each with its version and the source of its figures.

    The columns are separated by tabs: name, version, `unverified` if no official page was found,
    else `-`, the day on which the page was read, its title and address.
    """
    for name in presets.names():
        preset = presets.get(name)
        source = preset.source
        if as_json:
            echo_json({"name": name, **preset.model_dump(mode="json", exclude_defaults=True)})
        else:
            origin = (source.read, source.title, source.address) if source else ("-", "-", "-")
            echo_row((name, preset.version, "unverified" if preset.unverified else "-", *origin))


@click.group
def recipes() -> None:
    """Check recipe files, and print the schema of a recipe."""


@recipes.command
def schema() -> None:
    """Print the JSON Schema of a recipe, for editors and validators."""
    click.echo(json.dumps(Recipe.model_json_schema(), indent=2))


@recipes.command
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def check(names: tuple[str, ...]) -> None:
    """Check recipe files or presets, and print each with all defaults as a JSON line.

    All problems of all files are named at once, as at submission.
    """
    found = choose_outputs(names).recipes
    if not found:
        raise InvalidOption("cutout and mask have no recipe; name presets or recipe files")
    for output in found:
        echo_json({"name": output.name, **canonical(output.recipe)})


@recipes.command("from-removebg")
@click.argument("parameters")
def from_removebg(parameters: str) -> None:
    """Print the recipe that parameters of remove.bg ask for, such as 'crop=true&scale=80%'.

    It is JSON: write it to a file, and name the file as an output.
    """
    recipe = translate(dict(parse_qsl(parameters, keep_blank_values=True))).recipe
    echo_json(recipe.model_dump(mode="json", exclude_defaults=True))
