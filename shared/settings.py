"""Settings that producer and worker share: Redis, object store, weights."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias
from urllib.parse import SplitResult, parse_qsl, urlsplit

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
from shared.tls import check_redis_files

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


_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
"""Part of a host name between two dots, as boto3 accepts it."""
_OPTION_NAME: Final = re.compile(r"[a-z_]{1,32}")
_TLS_OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "ssl_cert_reqs": ("required", "optional", "none"),
    "ssl_check_hostname": ("true", "false"),
    **dict.fromkeys(("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile"), ()),
    "ssl_password": (),
}
"""Options in the query of a URL of Redis, and their values; any text if there are none."""


def _refuse_user(endpoint: str) -> str:
    if "@" in endpoint:
        raise ValueError("holds a user or password; set RMBG_S3_ACCESS_KEY_ID instead")
    return endpoint


def _check_endpoint(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    if parts.query or parts.fragment:
        raise ValueError("holds a ? or #; give scheme, host and port only")
    if ":" not in (host := parts.hostname or "") and not all(
        map(_LABEL.fullmatch, host.split("."))
    ):
        raise ValueError(f"host name {host!r} may only hold letters, digits, - and .")
    return endpoint.rstrip("/")


def _check_secret(secret: str | None, info: ValidationInfo) -> str | None:
    if (secret is None) != (info.data.get("access_key_id") is None):
        raise ValueError("set both RMBG_S3_ACCESS_KEY_ID and RMBG_S3_SECRET_ACCESS_KEY, or neither")
    return secret


def _check_redis(redis_url: str) -> str:
    parts = urlsplit(redis_url)
    if parts.fragment or redis_url.endswith("#"):
        raise ValueError("holds a #; percent-encode it as %23")
    if not re.fullmatch(r"[0-9]{1,4}", _database(parts)):
        raise ValueError("does not end in a database number such as /0")
    options = parse_qsl(parts.query, keep_blank_values=True)
    for name, value in options:
        _check_option(name, value, is_tls=parts.scheme == "rediss")
    check_redis_files(dict(options))
    return redis_url


def _check_option(name: str, value: str, *, is_tls: bool) -> None:
    """Refuse an option that the clients of the queue and of the job store do not both have."""
    if name == "db":
        raise ValueError("name the database in the path (/0), not as db=")
    if name in ("username", "password"):
        raise ValueError("put the user before the host: redis://user:password@host")
    if name not in _TLS_OPTIONS:
        shown = f"option {name}" if value and _OPTION_NAME.fullmatch(name) else "an option"
        raise ValueError(f"has {shown} that is not known; known: {', '.join(_TLS_OPTIONS)}")
    if not is_tls:
        raise ValueError(f"option {name} needs TLS: rediss:// in place of redis://")
    if not value or value not in (_TLS_OPTIONS[name] or (value,)):
        raise ValueError(f"option {name} must be {' or '.join(_TLS_OPTIONS[name]) or 'given'}")


def _database(parts: SplitResult) -> str:
    return parts.path.strip("/") or "0"


class StoreSettings(Settings):
    """Address and credentials of the object store."""

    model_config = ConfigDict(
        alias_generator=AliasGenerator(validation_alias=lambda name: f"RMBG_S3_{name.upper()}")
    )

    endpoint: (
        Annotated[
            str,
            AfterValidator(_refuse_user),
            url("http", "https"),
            AfterValidator(_check_endpoint),
        ]
        | None
    ) = None
    """`http(s)://host[:port]` of an S3-compatible server (`RMBG_S3_ENDPOINT`); None: AWS."""
    public_endpoint: (
        Annotated[
            str,
            AfterValidator(_refuse_user),
            url("http", "https"),
            AfterValidator(_check_endpoint),
        ]
        | None
    ) = None
    """Address under which browsers reach the same server (`RMBG_S3_PUBLIC_ENDPOINT`): the gateway
    signs links for it. None: it sends the bytes itself."""
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

    broker_url: Annotated[str, url("redis", "rediss"), AfterValidator(_check_redis)] = Field(
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
    allow_eviction: Flag = False
    """Whether a Redis that may delete jobs when its memory is short is accepted
    (`RMBG_ALLOW_EVICTION`)."""
    commercial: Flag = False
    """Whether models with a non-commercial licence are refused (`RMBG_COMMERCIAL`)."""
    models_strict: Flag = False
    """Whether models whose weights are known by an MD5 only are refused (`RMBG_MODELS_STRICT`)."""
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


_SERVICE_VARIABLES: Final = (
    "RMBG_REDIS_URL",
    "RMBG_S3_",
    "RMBG_INPUT_BUCKETS",
    "RMBG_OUTPUT_BUCKET",
)
"""Prefixes of variables that name services."""


def without_services(env: Mapping[str, str]) -> dict[str, str]:
    """Return *env* without the variables that name services, for commands that use their own."""
    return {name: text for name, text in env.items() if not name.startswith(_SERVICE_VARIABLES)}
