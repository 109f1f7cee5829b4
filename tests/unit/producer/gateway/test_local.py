"""What `rmbg serve` keeps in its folder."""

import pytest

from producer.gateway.local import webhook_secret
from producer.gateway.settings import GatewaySettings


@pytest.mark.parametrize("left", [None, "", "\n"])
def test_the_secret_of_webhooks_is_made_once(left, tmp_path):
    """A start that was killed may have left an empty file."""
    path = tmp_path / "webhook-secret"
    if left is not None:
        path.write_text(left)

    secret = webhook_secret(path)

    assert webhook_secret(path) == secret
    assert path.stat().st_mode & 0o777 == 0o600
    env = {"HOME": str(tmp_path), "RMBG_GATEWAY_WEBHOOK_SECRETS": secret}
    assert GatewaySettings.from_env(env).webhook_secrets == (secret,)
