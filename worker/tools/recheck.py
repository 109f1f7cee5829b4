"""`rmbg results --checks all`: check the outputs of records anew, from the bytes in the bucket."""

import json
import sys
from collections.abc import Mapping
from pathlib import PurePosixPath

import click

from shared.errors import ItemError
from shared.job.record import ItemRecord
from shared.job.spec import Json
from shared.job.written import written_objects
from shared.objects import ObjectStore, S3Store
from shared.settings import ServiceSettings
from shared.tool_requests import RecheckRequest
from worker.imaging.compliance import Context, check, checks_of


def recheck(request: bytes, env: Mapping[str, str]) -> int:
    """Print each record of standard input with `checks`: what each check finds in each output.

    Checks that need the mask on the canvas are `not possible`. A repetition prints the same.

    Raises:
        ServiceUnavailable: If the store cannot be read.
    """
    asked = RecheckRequest.model_validate_json(request)
    store = S3Store(ServiceSettings.from_env(env).objects)
    for line in sys.stdin.buffer:
        record = ItemRecord.from_json(line)
        found = {"checks": _checks(asked, store, record)}
        click.echo(json.dumps(json.loads(line) | found, ensure_ascii=False))
    return 0


def _checks(
    asked: RecheckRequest, store: ObjectStore, record: ItemRecord
) -> dict[str, dict[str, list[Json]]]:
    """Return the findings by output and object; a done output of several widths has several."""
    recipes = {each.name: each.recipe for each in asked.spec.outputs}
    found: dict[str, dict[str, list[Json]]] = {}
    for written in written_objects(asked.spec, asked.job_id, record):
        if written.output in recipes:
            facts = record.outputs[written.output]
            recipe = recipes[written.output]
            context = Context(
                extension=PurePosixPath(written.key).suffix,
                fill_of=recipe.fill_of,
                upscaled=facts.upscaled,
            )
            try:
                data = store.get(asked.spec.output_bucket, written.key).data
                findings: list[Json] = [
                    vars(each) for each in check(data, checks_of(recipe), context)
                ]
            except ItemError as err:
                findings = [{"check": "readable", "state": "failed", "reason": str(err)}]
            found.setdefault(written.output, {})[written.key] = findings
    return found
