"""Which words may head a text inside a PNG; asked at submission and when one is written."""

from typing import Final

from shared.errors import InvalidOption

MAX_KEYWORD_CHARS: Final = 79
"""PNG (third edition), 11.3.3.2: a keyword has 1 to 79 Latin-1 characters."""


def keyword_bytes(keyword: str) -> bytes:
    """Return *keyword* in Latin-1.

    Raises:
        InvalidOption: If PNG does not allow it.
    """
    allowed = all(" " <= c <= "~" or "\xa1" <= c <= "\xff" for c in keyword)
    tidy = keyword == keyword.strip() and "  " not in keyword
    if not (allowed and tidy and 1 <= len(keyword) <= MAX_KEYWORD_CHARS):
        raise InvalidOption(
            f"text keyword {keyword!r}: PNG allows 1 to {MAX_KEYWORD_CHARS} Latin-1 characters,"
            " with no spaces at its ends nor two in a row"
        )
    return keyword.encode("latin-1")
