"""Signatures of webhooks."""

from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from producer.gateway.webhooks.signing import Signer

OLD, NEW = "old-secret-of-32-characters-0000", "new-secret-of-32-characters-0000"
BODY = '{"type":"job.done"}'


def test_the_library_signs_as_the_specification_says():
    """The example of the specification, so that the library is not its own proof."""
    key = Webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    at = datetime.fromtimestamp(1614265330, UTC)

    signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", at, '{"test": 2432232314}')

    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def verified(secret, headers, body=BODY):
    return Webhook(secret).verify(body, dict(headers))


def test_a_tenant_verifies_its_events_with_its_secret():
    signer = Signer([NEW])
    headers = signer.headers("shop", "wh_1", BODY, datetime.now(UTC))

    assert verified(signer.secret_of("shop"), headers) == {"type": "job.done"}
    for secret, body in ((signer.secret_of("other"), BODY), (signer.secret_of("shop"), "{}")):
        with pytest.raises(WebhookVerificationError):
            verified(secret, headers, body)


def test_while_secrets_change_old_and_new_ones_verify():
    headers = Signer([NEW, OLD]).headers("shop", "wh_1", BODY, datetime.now(UTC))

    for secret in (NEW, OLD):
        assert verified(Signer([secret]).secret_of("shop"), headers)
    with pytest.raises(WebhookVerificationError):
        verified(Signer(["another"]).secret_of("shop"), headers)


def test_secrets_are_not_shown():
    assert NEW not in repr(Signer([NEW]))
