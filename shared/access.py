"""API keys of the gateway: what a key allows, and how it is written and recognised."""

import hashlib
import hmac
import re
import secrets
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field, StringConstraints

from shared.document import Document

KEY_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Names of keys and tenants."""
_PREFIX: Final = "rmbg."
_SECRET_BYTES: Final = 32


class Scope(StrEnum):
    """What a key may be used for."""

    SUBMIT = "submit"
    """Create, cancel and retry jobs, and upload images."""
    READ = "read"
    """Read jobs, records and files."""
    REVIEW = "review"
    """Decide about doubtful images."""


class ApiKey(Document):
    """An API key without its secret. Fields that a later version added are ignored."""

    model_config = ConfigDict(extra="ignore")

    name: str
    tenant: str
    """Whom its jobs belong to; several keys may belong to one tenant."""
    sha256: str = Field(repr=False)
    """Hash of the secret, in hexadecimal digits."""
    bucket: str
    """Bucket that image keys are read from."""
    prefix: str = ""
    """Prefix that image keys and outputs must have, without a slash at its end; empty: any."""
    scopes: frozenset[Scope] = frozenset(Scope)
    rate_per_minute: Annotated[int, Field(ge=1)] = 600
    """Requests a minute; as many may come at once."""
    max_open_images: Annotated[int, Field(ge=1)] = 1_000_000
    """Most images of the tenant that have not ended."""
    weight: Annotated[int, Field(ge=1, le=1000)] = 1
    """Share of the fleet beside other tenants that wait."""
    created_at: datetime
    expires_at: datetime | None = None

    def is_expired(self, now: datetime) -> bool:
        """Return whether the key is no longer valid at *now*, an aware time."""
        return self.expires_at is not None and now >= self.expires_at

    def matches(self, text: str) -> bool:
        """Return whether *text* is this key, in a time that does not depend on the answer."""
        return hmac.compare_digest(self.sha256, digest(text))


Name = Annotated[str, StringConstraints(pattern=rf"^{KEY_NAME.pattern}$")]
"""Type of a name in a request."""


def new_text(name: str) -> str:
    """Return the text of a new key called *name*, which its owner sends with each request.

    It names the key, so that one that turns up in the wrong place can be revoked.
    """
    return f"{_PREFIX}{name}.{secrets.token_urlsafe(_SECRET_BYTES)}"


def name_in(text: str) -> str | None:
    """Return the name of the key whose text is *text*, or None if it cannot be a key.

    >>> name_in("rmbg.shop.eu.c2VjcmV0")
    'shop.eu'
    >>> name_in("sk-0123") is None
    True
    """
    name = text.removeprefix(_PREFIX).rpartition(".")[0]
    return name if text.startswith(_PREFIX) and KEY_NAME.fullmatch(name) else None


def digest(text: str) -> str:
    """Return the hash that is stored of a key's text.

    A plain SHA-256 is enough: the secret has 256 random bits, so that guessing is hopeless.
    """
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
