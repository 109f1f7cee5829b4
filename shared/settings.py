"""Settings that producer and worker share: Redis, object store, weights."""

import re
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    AliasGenerator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

from shared.reader import (
    Flag,
    HttpUrl,
    Location,
    Names,
    Settings,
    cache_home,
    group,
    matches,
    url,
)
from shared.urls import redact

Bucket: TypeAlias = Annotated[
    str,
    matches(
        r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}",
        "{!r} is not a bucket name (3 or more of A-Z a-z 0-9 . _ -)",
    ),
]
Token: TypeAlias = Annotated[
    str, matches(r"[!-~]+", "has characters other than letters, digits and punctuation")
]


def _check_endpoint(endpoint: str) -> str:
    if "@" in endpoint:
        raise ValueError("holds a user or password; set RMBG_S3_ACCESS_KEY_ID instead")
    return endpoint.rstrip("/")


def _check_secret(secret: str | None, info: ValidationInfo) -> str | None:
    if (secret is None) != (info.data.get("access_key_id") is None):
        raise ValueError("set both RMBG_S3_ACCESS_KEY_ID and RMBG_S3_SECRET_ACCESS_KEY, or neither")
    return secret


def _check_database(redis_url: str) -> str:
    parts = urlsplit(redis_url)
    if not re.fullmatch(r"[0-9]{1,4}", _database(parts)):
        raise ValueError(f"{redact(redis_url)!r} does not end in a database number such as /0")
    if re.search(r"(?:^|&)db=", parts.query):
        raise ValueError("name the database in the path (/0), not as db=")
    return redis_url


def _database(parts: SplitResult) -> str:
    return parts.path.strip("/") or "0"


class StoreSettings(Settings):
    """Address and credentials of the object store."""

    model_config = ConfigDict(
        alias_generator=AliasGenerator(validation_alias=lambda name: f"RMBG_S3_{name.upper()}")
    )

    endpoint: Annotated[HttpUrl, AfterValidator(_check_endpoint)] | None = None
    """`http(s)://host[:port]` of an S3-compatible server (`RMBG_S3_ENDPOINT`); None: AWS."""
    region: str = "us-east-1"
    """Region that requests are signed for (`RMBG_S3_REGION`)."""
    access_key_id: str | None = Field(default=None, repr=False)
    """`RMBG_S3_ACCESS_KEY_ID`; None: boto3's own credential chain."""
    secret_access_key: Annotated[str | None, AfterValidator(_check_secret)] = Field(
        default=None, repr=False, validate_default=True
    )
    """`RMBG_S3_SECRET_ACCESS_KEY`; set together with the key id or not at all."""
    addressing: Literal["auto", "path", "virtual"] = "auto"
    """Where a URL names the bucket (`RMBG_S3_ADDRESSING`): `path`, as SeaweedFS and MinIO want, or
    `virtual`, in the host name. `auto`: `path` with an endpoint, else boto3's choice."""
    request_payer: Literal["requester"] | None = None
    """`requester` accepts the costs of requests to requester-pays buckets
    (`RMBG_S3_REQUEST_PAYER`)."""
    conditional: Flag = True
    """Whether the store has conditional writes (`RMBG_S3_CONDITIONAL`). Without them, a worker
    that was frozen or cut off may overwrite an output when it comes back."""


class ServiceSettings(Settings):
    """Settings that producer and worker share."""

    broker_url: Annotated[str, url("redis", "rediss"), AfterValidator(_check_database)] = Field(
        default="redis://127.0.0.1:6379/0", validation_alias="RMBG_REDIS_URL", repr=False
    )
    """Redis database n, for the queues (`RMBG_REDIS_URL`, as given)."""
    objects: StoreSettings = group()
    input_buckets: Annotated[tuple[Bucket, ...], Names] = ("inbox",)
    """Buckets that jobs may read from (`RMBG_INPUT_BUCKETS`, comma-separated)."""
    output_bucket: Bucket = "cutouts"
    """Bucket for outputs and job documents (`RMBG_OUTPUT_BUCKET`)."""
    home: Location
    """Folder for downloaded weights and measurements of this machine (`RMBG_HOME`)."""
    offline: Flag = False
    """Whether downloading weights is forbidden (`RMBG_OFFLINE`)."""
    commercial: Flag = False
    """Whether models with a non-commercial licence are refused (`RMBG_COMMERCIAL`)."""
    weights_url: HttpUrl | None = Field(default=None, repr=False)
    """Base URL of a mirror to download weights from (`RMBG_WEIGHTS_URL`)."""
    hf_token: Token | None = Field(default=None, validation_alias="HF_TOKEN", repr=False)
    """Access token for downloads from huggingface.co (`HF_TOKEN`)."""

    @property
    def store_url(self) -> str:
        """Redis database n + 1 of the same server, for the job store."""
        parts = urlsplit(self.broker_url)
        return parts._replace(path=f"/{int(_database(parts)) + 1}").geturl()

    @model_validator(mode="before")
    @classmethod
    def _default_home(cls, given: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if info.context is None:
            return given
        return {"RMBG_HOME": f"{cache_home(info.context)}/rmbg"} | given
