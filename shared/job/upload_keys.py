"""Keys of images that callers of the gateway upload."""

import re
from typing import Final

UPLOADS: Final = "_uploads"
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_CHARS: Final = 100


def upload_key(tenant: str, date: str, nonce: str, name: str) -> str:
    """Return the key of an upload: `{tenant}/_uploads/{date}/{nonce}/{safe name}`.

    The server chooses it, so that no caller can name the object of another.

    >>> upload_key("shop", "2026-03-09", "0a1b", "../Über uns/a b.jpg")
    'shop/_uploads/2026-03-09/0a1b/a_b.jpg'
    """
    safe = _UNSAFE.sub("_", re.split(r"[/\\]", name)[-1]).strip("._")[-_NAME_CHARS:]
    return f"{folder_of(tenant)}{date}/{nonce}/{safe or 'image'}"


def folder_of(tenant: str) -> str:
    """Return the prefix of all uploads of a tenant."""
    return f"{tenant}/{UPLOADS}/"
