"""What the routes of a gateway share."""

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from fastapi import Depends, Request

from producer.gateway.settings import GatewaySettings
from producer.services import Services


@dataclass(frozen=True)
class Gateway:
    """The settings and services of a gateway."""

    settings: GatewaySettings
    services: Services


def gateway_of(request: Request) -> Gateway:
    """Return the gateway that serves *request*."""
    gateway: Gateway = request.app.state.gateway
    return gateway


Here: TypeAlias = Annotated[Gateway, Depends(gateway_of)]
"""Parameter of a route: the gateway."""
