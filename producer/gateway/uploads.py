"""Images that callers upload: their keys, and the notes by which old ones are found."""

import secrets
from datetime import UTC, datetime
from typing import Final

from producer.services import Services
from shared.job.notes import uploaded_key
from shared.job.upload_keys import upload_key

MEDIA_TYPE: Final = "application/octet-stream"

_MOST_NOTED: Final = 10_000
"""Notes that are remembered; then they are written again."""


class Uploads:
    """Names and writes uploads; thread-safe."""

    def __init__(self, services: Services, bucket: str) -> None:
        self._services = services
        self.bucket = bucket
        """Bucket of the uploads."""
        self._noted: set[str] = set()

    def new_key(self, tenant: str, name: str) -> str:
        """Return a new key for a file called *name*."""
        day = datetime.now(UTC).date().isoformat()
        return self.key(tenant, day, secrets.token_hex(16), name)

    def key(self, tenant: str, day: str, nonce: str, name: str) -> str:
        """Return the key of an upload; the first one of a tenant and day leaves a note."""
        note = uploaded_key(tenant, day)
        if note not in self._noted:
            bucket = self._services.settings.output_bucket
            self._services.objects.put(bucket, note, b"", content_type="text/plain")
            if len(self._noted) >= _MOST_NOTED:
                self._noted.clear()
            self._noted.add(note)
        return upload_key(tenant, day, nonce, name)

    def put(self, key: str, data: bytes) -> None:
        """Write an upload."""
        self._services.objects.put(self.bucket, key, data, content_type=MEDIA_TYPE)
