"""`rmbg models`: the models that jobs can name, and what is on this machine."""

import click

from producer.commands.output import echo_json, echo_row
from shared.models import weights
from shared.settings import ServiceSettings


@click.command
@click.option("--json", "as_json", is_flag=True, help="Print whole cards as JSON lines.")
@click.pass_context
def models(ctx: click.Context, *, as_json: bool) -> None:
    """List the models that `--rem-mode` can name.

    The columns are separated by tabs: name, other names, architecture, permitted use, licence,
    `weak` if the weights are known by an MD5 only, and their file; - if there is none.
    """
    for card, path in weights.known(ServiceSettings.from_env(ctx.obj).home):
        if as_json:
            facts = {"identity": card.identity, "weak": card.is_weak}
            file = str(path) if path else None
            echo_json(card.model_dump(mode="json", exclude_none=True) | facts | {"file": file})
            continue
        use = "commercial" if card.commercial else "non-commercial"
        names = ",".join(card.aliases) or "-"
        weak = "weak" if card.is_weak else "-"
        echo_row((card.name, names, card.architecture, use, card.licence, weak, path or "-"))
