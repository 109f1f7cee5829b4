"""Parse the values of a recipe as people write them: a number, a text or a list.

Each value is written back as one text or number, so that equal recipes have equal canonical forms.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any, Final

from pydantic_core import CoreSchema, core_schema

NUMBER: Final = r"(?:\d+\.?\d*|\.\d+)"
"""Pattern of a number that is not negative."""
_SHARE: Final = re.compile(rf"({NUMBER})\s*(%)?")
_BYTES: Final = re.compile(rf"({NUMBER})\s*(b|kb|mb|kib|mib)?", re.IGNORECASE)
_BYTES_OF: Final = {"b": 1, "kb": 10**3, "mb": 10**6, "kib": 2**10, "mib": 2**20}


def parts(value: object) -> Sequence[Any]:
    """Return the items of a list, the words of a text, or the one value.

    >>> parts("5% 10%"), parts([1, 2]), parts(3)
    (['5%', '10%'], [1, 2], [3])
    """
    if isinstance(value, str):
        return value.replace(",", " ").split()
    return value if isinstance(value, list | tuple) else [value]


def is_number(value: object) -> bool:
    """Return whether *value* is a number, which a truth value is not here."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def parse_share(value: object) -> float:
    """Return the share of `0.85` or `"85%"`.

    Raises:
        ValueError: If it is neither, or not from 0 to 1.
    """
    found = _SHARE.fullmatch(str(value).strip())
    share = float(found[1]) / (100 if found[2] else 1) if found else 2.0
    if share > 1:
        raise ValueError("give a share from 0 to 1 or in %, for example 0.85 or 85%")
    return share


def parse_bytes(value: object) -> int:
    """Return the bytes of `500000`, `"10 MB"` (10,000,000) or `"30 KiB"` (30,720).

    Raises:
        ValueError: If it is none of these, or 0.
    """
    found = _BYTES.fullmatch(str(value).strip())
    size_bytes = round(float(found[1]) * _BYTES_OF[(found[2] or "b").lower()]) if found else 0
    if not size_bytes:
        raise ValueError("give a size in bytes, kB or MB, for example 10 MB")
    return size_bytes


@dataclass(frozen=True)
class Parsed:
    """The annotation of a field of a type that is parsed from text and written with `str`."""

    parse: Callable[[Any], object]
    """Return the value, also from what `str` writes; raise `ValueError` with what to give."""
    examples: tuple[str, ...] = ()
    """Texts for the JSON Schema."""
    schema: Callable[[], dict[str, Any]] | None = None
    """Return a more exact JSON Schema."""

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> CoreSchema:  # noqa: ANN401 - pydantic's signature
        return core_schema.no_info_plain_validator_function(
            lambda value: self.parse(str(value) if is_dataclass(value) else value),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )

    def __get_pydantic_json_schema__(self, _schema: Any, _handler: Any) -> dict[str, Any]:  # noqa: ANN401 - pydantic's signature
        if self.schema is not None:
            return self.schema()
        return {"type": ["string", "number", "array"], "examples": list(self.examples)}
