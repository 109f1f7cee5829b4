"""Pack records and facts into the metadata of objects, which S3 limits to 2,048 bytes in all."""

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from shared.job.record import ItemRecord, OutputFacts

MAX_RECORD_BYTES: Final = 1000
"""Room for a record: 700 bytes for facts and 300 for the rest are left."""
MAX_FACTS_BYTES: Final = 700


def pack_record(record: ItemRecord) -> str:
    """Return the record without keys and outputs, which its reader knows.

    Notes and reasons are left out if it is too long with them.
    """
    left_out: dict[str, Any] = {
        "image_key": "",
        "cutout_key": None,
        "mask_key": None,
        "outputs": {},
    }
    body = json.loads(record.model_copy(update=left_out).to_json())
    quality = dict(body["qc"] or {})
    quality.pop("reasons", None)
    return _shortest(
        (body, body | {"notes": []}, body | {"notes": [], "qc": quality}), MAX_RECORD_BYTES
    )


def unpack_record(packed: str) -> ItemRecord:
    """Return the record that `pack_record` packed."""
    return ItemRecord.from_json(base64.b64decode(packed))


def pack_facts(facts: OutputFacts) -> str:
    """Return the facts; checks that only should pass are left out if they are too long."""
    body = facts.model_dump(mode="json")
    shorter = {name: value for name, value in body.items() if name not in ("noted", "fixes")}
    return _shortest((body, shorter, {"verdict": facts.verdict}), MAX_FACTS_BYTES)


def unpack_facts(packed: str) -> OutputFacts:
    """Return the facts that `pack_facts` packed."""
    return OutputFacts.model_validate_json(base64.b64decode(packed))


def _shortest(bodies: Iterable[Mapping[str, Any]], limit_bytes: int) -> str:
    """Return the first of *bodies* that fits, or the last."""
    packed = ""
    for body in bodies:
        packed = base64.b64encode(json.dumps(body, separators=(",", ":")).encode()).decode()
        if len(packed) <= limit_bytes:
            break
    return packed
