"""Fixtures for tests of the gateway."""

from support.gateway import address, client_of, gateway, gateway_settings, new_key, shop

__all__ = ["address", "client_of", "gateway", "gateway_settings", "new_key", "shop"]
