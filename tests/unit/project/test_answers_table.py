"""`docs/reliability.md` shows the table of `shared/objects/answers.py`.

Print the section again with `python tests/unit/project/test_answers_table.py`.
"""

import sys
from pathlib import Path

from shared.errors import (
    BucketUnavailable,
    ItemError,
    RequestRefused,
    StoreError,
    StoreUnavailable,
)
from shared.objects import PreconditionFailed
from shared.objects.answers import OUTAGE, REFUSED, TABLE, Meaning, WriteConflict

PAGE = Path(__file__).parents[3] / "docs/reliability.md"
BEGIN, END = "<!-- answers: begin -->\n", "<!-- answers: end -->\n"
HANDLING = {
    RequestRefused: "the item fails if other keys of the bucket work now; otherwise the job waits",
    ItemError: "the item fails",
    BucketUnavailable: "the job waits and shows the reason; the item is not blamed",
    WriteConflict: "the write is repeated, at most 3 times",
    PreconditionFailed: "what is at the key decides",
    StoreUnavailable: "the request is repeated; the circuit breaker of the bucket counts it",
}
"""What is done about an error class; the first one that matches applies."""


def handling(fault: type[StoreError]) -> str:
    return next(text for kind, text in HANDLING.items() if issubclass(fault, kind))


def section() -> str:
    rows = ["| S3 code | error class | what is done | message |", "|---|---|---|---|"]
    rows += [row(meaning) for meaning in (*TABLE, REFUSED, OUTAGE)]
    return "\n".join(rows) + "\n"


def row(meaning: Meaning) -> str:
    message = meaning.advice + (": *the service's own message*" if meaning.quotes else "")
    codes = ", ".join(f"`{code}`" for code in meaning.codes)
    return f"| {codes} | `{meaning.fault.__name__}` | {handling(meaning.fault)} | {message} |"


def test_the_page_shows_the_table_of_the_code():
    _, _, rest = PAGE.read_text().partition(BEGIN)
    shown, found, _ = rest.partition(END)

    assert found
    assert shown == section()


def test_no_code_has_two_meanings():
    codes = [code for meaning in TABLE for code in meaning.codes]

    assert len(codes) == len(set(codes))


if __name__ == "__main__":
    sys.stdout.write(section())
