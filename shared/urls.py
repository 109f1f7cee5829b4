"""Parse and redact URLs and addresses; imports nothing that is slow to load."""

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

_USERINFO: Final = re.compile(r"://.*@", re.DOTALL)
_PASSWORD_PARAMETER: Final = re.compile(r"([?&](?:password|username)=)[^&#]*")


def redact(url: str) -> str:
    """Return *url* with user and password replaced by `***`, for messages.

    A malformed URL is masked up to its last `@`.

    >>> redact("redis://:secret@host:6379/0")
    'redis://***@host:6379/0'
    """
    return _PASSWORD_PARAMETER.sub(r"\1***", _USERINFO.sub("://***@", url))


def has_bare_password(url: str) -> bool:
    """Return whether a `#`, `/` or `?` stands before the `@`, as in a password with such a letter.

    Everything after it would count as path, query or fragment, and what comes before it as the
    host, which messages name.
    """
    rest = url.partition("://")[2]
    return "@" in rest[len(re.split(r"[/?#]", rest, maxsplit=1)[0]) :]


def split_url(url: str) -> SplitResult | None:
    """Return the parts of *url*, or None if it is malformed."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is not a number
        (parts.hostname or "").encode("idna")  # raises for a name that cannot be looked up
    except ValueError:
        return None
    return parts


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of `host:port`; an IPv6 host stands in brackets.

    Raises:
        ValueError: If *text* has another form.
    """
    parts = split_url(f"//{text}")
    if parts is None or not parts.hostname or parts.port is None or parts.path:
        raise ValueError(f"{text!r} is not of the form host:port")
    return parts.hostname, parts.port
