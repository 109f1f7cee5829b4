"""Validate keywords of PNG text chunks, at submission and before writing."""

from typing import Final

from shared.errors import InvalidOption

MAX_KEYWORD_CHARS: Final = 79
"""PNG (third edition), 11.3.3.2: a keyword has 1 to 79 Latin-1 characters."""


def keyword_bytes(keyword: str) -> bytes:
    """Return *keyword* encoded in Latin-1.

    Raises:
        InvalidOption: If PNG does not allow the keyword.
    """
    allowed = all(" " <= c <= "~" or "\xa1" <= c <= "\xff" for c in keyword)
    tidy = keyword == keyword.strip() and "  " not in keyword
    if not (allowed and tidy and 1 <= len(keyword) <= MAX_KEYWORD_CHARS):
        raise InvalidOption(
            f"text keyword {keyword!r}: PNG allows 1 to {MAX_KEYWORD_CHARS} Latin-1 characters,"
            " without leading, trailing or double spaces"
        )
    return keyword.encode("latin-1")
