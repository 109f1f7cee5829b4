"""What producer and worker both need to know of their surroundings, from a given mapping."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from shared.reader import Reader, redact

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Reader", "ServiceSettings", "StoreSettings", "redact"]

_TOKEN: Final = re.compile(r"[!-~]+")
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}")


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """Where the object store is and who we are to it."""

    endpoint: str | None = None
    """`http(s)://host[:port]` of an S3-compatible server (`RMBG_S3_ENDPOINT`); None: AWS."""
    region: str = "us-east-1"
    """Region that requests are signed for (`RMBG_S3_REGION`)."""
    access_key_id: str | None = field(default=None, repr=False)
    """`RMBG_S3_ACCESS_KEY_ID`; None: boto3's own credential chain."""
    secret_access_key: str | None = field(default=None, repr=False)
    """`RMBG_S3_SECRET_ACCESS_KEY`; set with the key id or not at all."""

    @classmethod
    def read(cls, reader: Reader) -> StoreSettings:
        """Read the `RMBG_S3_*` variables; problems are left in *reader*."""
        endpoint = reader.url("RMBG_S3_ENDPOINT", None, schemes=("http", "https"))
        if endpoint is not None and "@" in endpoint:
            reader.problem(
                "RMBG_S3_ENDPOINT", "holds a user or password; those go into RMBG_S3_ACCESS_KEY_ID"
            )
        key_id = reader.text("RMBG_S3_ACCESS_KEY_ID")
        secret = reader.text("RMBG_S3_SECRET_ACCESS_KEY")
        if (key_id is None) != (secret is None):
            missing = "RMBG_S3_ACCESS_KEY_ID" if key_id is None else "RMBG_S3_SECRET_ACCESS_KEY"
            reader.problem(missing, "not set, although the other half of the credentials is")
        return cls(
            endpoint=endpoint.rstrip("/") if endpoint else None,
            region=reader.text("RMBG_S3_REGION") or cls.region,
            access_key_id=key_id,
            secret_access_key=secret,
        )


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """What producer and worker both need to know of their surroundings."""

    broker_url: str = field(default="redis://127.0.0.1:6379/0", repr=False)
    """Redis database n, for the queue (`RMBG_REDIS_URL`, as given)."""
    store_url: str = field(default="redis://127.0.0.1:6379/1", repr=False)
    """Database n + 1 of the same server, for the job store."""
    objects: StoreSettings = field(default_factory=StoreSettings)
    input_buckets: tuple[str, ...] = ("inbox",)
    """Buckets that jobs may read from (`RMBG_INPUT_BUCKETS`, comma-separated)."""
    output_bucket: str = "cutouts"
    """Bucket that pictures and job documents are written to (`RMBG_OUTPUT_BUCKET`)."""
    home: Path
    """Folder of fetched weights, and of what was measured of this machine (`RMBG_HOME`)."""
    offline: bool = False
    """Whether fetching weights is forbidden (`RMBG_OFFLINE`)."""
    commercial: bool = False
    """Whether models with a non-commercial licence are refused (`RMBG_COMMERCIAL`)."""
    weights_url: str | None = field(default=None, repr=False)
    """Base URL of a mirror that weights are fetched from instead (`RMBG_WEIGHTS_URL`)."""
    hf_token: str | None = field(default=None, repr=False)
    """Access token for downloads from huggingface.co (`HF_TOKEN`)."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> ServiceSettings:
        """Read the variables named above; all others are left alone.

        Raises:
            InvalidOption: With one line for each variable that cannot be used.
        """
        reader = Reader(env)
        settings = cls.read(reader)
        reader.finish()
        return settings

    @classmethod
    def read(cls, reader: Reader) -> ServiceSettings:
        """Do as `from_env`, but leave the problems in *reader*, for who has more to read."""
        broker_url, store_url = _redis_urls(reader)
        inputs = reader.names("RMBG_INPUT_BUCKETS", cls.input_buckets)
        if not inputs:
            reader.problem("RMBG_INPUT_BUCKETS", "names no bucket")
        output = reader.text("RMBG_OUTPUT_BUCKET") or cls.output_bucket
        for name, buckets in (("RMBG_INPUT_BUCKETS", inputs), ("RMBG_OUTPUT_BUCKET", (output,))):
            for bucket in buckets:
                if not _BUCKET.fullmatch(bucket):
                    reader.problem(
                        name, f"{bucket!r} is no bucket name (3 or more of A-Z a-z 0-9 . _ -)"
                    )
        hf_token = reader.text("HF_TOKEN")
        if hf_token and not _TOKEN.fullmatch(hf_token):
            reader.problem("HF_TOKEN", "has characters other than letters, digits and punctuation")
        return cls(
            broker_url=broker_url,
            store_url=store_url,
            objects=StoreSettings.read(reader),
            input_buckets=inputs,
            output_bucket=output,
            home=reader.path("RMBG_HOME", reader.cache_home / "rmbg"),
            offline=reader.flag("RMBG_OFFLINE"),
            commercial=reader.flag("RMBG_COMMERCIAL"),
            weights_url=reader.url("RMBG_WEIGHTS_URL", None, schemes=("http", "https")),
            hf_token=hf_token,
        )


def _check_buckets(reader: Reader, name: str, buckets: tuple[str, ...]) -> None:
    for bucket in buckets:
        if not _BUCKET.fullmatch(bucket):
            reader.problem(name, f"{bucket!r} is no bucket name: 3 or more of A-Z a-z 0-9 . _ -")


def _redis_urls(reader: Reader) -> tuple[str, str]:
    """Return broker and job store URL: the one given, and the same with the next database."""
    name, default = "RMBG_REDIS_URL", ServiceSettings.broker_url
    url = reader.url(name, default, schemes=("redis", "rediss")) or default
    parts = urlsplit(url)
    database = parts.path.strip("/") or "0"
    if not re.fullmatch(r"[0-9]{1,4}", database):
        reader.problem(name, f"{redact(url)!r} ends in no database number such as /0")
        return default, ServiceSettings.store_url
    if re.search(r"(?:^|&)db=", parts.query):
        reader.problem(name, "takes its database as the path (/0), not as db=")
    return url, parts._replace(path=f"/{int(database) + 1}").geturl()
