"""Settings of the gateway: `RMBG_GATEWAY_*` beside those of the services."""

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AliasGenerator, ConfigDict, Field, StringConstraints

from shared.reader import Flag, Names, Settings, group, seconds
from shared.settings import Bucket, ServiceSettings, Token

MIB: Final = 2**20
WebhookSecret: TypeAlias = Annotated[Token, StringConstraints(min_length=32)]


class GatewaySettings(Settings):
    """Settings of a gateway."""

    model_config = ConfigDict(
        alias_generator=AliasGenerator(validation_alias=lambda name: f"RMBG_GATEWAY_{name.upper()}")
    )

    services: ServiceSettings = group()
    host: str = "127.0.0.1"
    """Address to listen on (`RMBG_GATEWAY_HOST`)."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    """Port to listen on (`RMBG_GATEWAY_PORT`); 0 lets the system choose one."""
    probes_port: Annotated[int, Field(ge=0, le=65_535)] = 9102
    """Port of `/healthz`, `/readyz` and `/metrics` (`RMBG_GATEWAY_PROBES_PORT`), which need no
    key; on the same address."""
    threads: Annotated[int, Field(ge=4, le=1000)] = 64
    """Requests that wait for Redis or the object store at once (`RMBG_GATEWAY_THREADS`)."""
    max_body_bytes: Annotated[int, Field(ge=MIB)] = 64 * MIB
    """Largest body of a request (`RMBG_GATEWAY_MAX_BODY_BYTES`)."""
    wait_s: float = seconds(60.0, least=1, most=3600)
    """How long a caller waits for an image, in seconds (`RMBG_GATEWAY_WAIT_S`)."""
    max_waiting: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Callers that wait for an image at once (`RMBG_GATEWAY_MAX_WAITING`)."""
    max_streams: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    """Callers that listen to jobs at once (`RMBG_GATEWAY_MAX_STREAMS`)."""
    upload_bucket: Bucket | None = None
    """Bucket for images of requests (`RMBG_GATEWAY_UPLOAD_BUCKET`), which workers must be allowed
    to read; None: the output bucket."""
    model: str = "isnet-general-use"
    """Model of requests that name none (`RMBG_GATEWAY_MODEL`)."""
    allow_private: Flag = False
    """Whether URLs in requests may name private addresses (`RMBG_GATEWAY_ALLOW_PRIVATE`), as in a
    lab; otherwise they must be public."""
    webhook_secrets: Annotated[tuple[WebhookSecret, ...], Names] = Field(default=(), repr=False)
    """What the secrets that sign webhooks are derived from (`RMBG_GATEWAY_WEBHOOK_SECRETS`,
    comma-separated), the newest first; without any, jobs cannot have webhooks."""
    preview: Literal["small", "full"] = "small"
    """What `size=preview`, the default of remove.bg's API, is (`RMBG_GATEWAY_PREVIEW`): 0.25
    megapixels (`small`) or all that the image has (`full`)."""
