"""`rmbg webhooks`: list what was not delivered, and send it again."""

from datetime import UTC, datetime

import pytest
from support.producing import json_lines

from shared.webhooks import Delivery, DeliveryState, Outbox

pytestmark = pytest.mark.integration
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.fixture
def outbox(services):
    return Outbox(services.objects, services.settings.output_bucket)


@pytest.fixture
def written(outbox):
    """Write a delivery in a state, and return its ID."""

    def write(number, state, error=None):
        given = {
            "webhook_id": f"wh_{number:040x}",
            "job_id": f"job-{number}",
            "generation": 1,
            "tenant": "shop",
            "event": "job.done",
            "url": "https://shop.example/hidden",
            "body": "{}",
            "created_at": NOW,
            "next_at": NOW,
        }
        outbox.add(Delivery(**given))
        read = outbox.find(f"job-{number}", given["webhook_id"])
        after = read.delivery.model_copy(update={"state": state, "attempts": 10, "error": error})
        outbox.replace(read, after)
        if state is not DeliveryState.PENDING:
            outbox.end(after)
        return given["webhook_id"]

    return write


def test_dead_webhooks_are_listed_and_sent_again(run_rmbg, outbox, written):
    pending = written(1, DeliveryState.PENDING)
    dead = written(2, DeliveryState.DEAD, "the receiver answered 500")
    delivered = written(3, DeliveryState.DELIVERED)

    def listed(*args):
        return [each["webhook_id"] for each in json_lines(run_rmbg("webhooks", "list", *args))]

    assert listed("--json") == [pending, dead]
    assert listed("--json", "--state", "dead") == [dead]
    assert listed("--json", "--job", "job-3") == [delivered]
    assert listed("--json", "--job", "job-3", "--state", "dead") == []
    row = run_rmbg("webhooks", "list", "--state", "dead").stdout.decode()
    assert row.split("\t") == [
        dead,
        "job-2",
        "job.done",
        "dead",
        "10",
        "2026-11-27 12:00:00Z",
        "shop.example",
        "the receiver answered 500\n",
    ]

    assert run_rmbg("webhooks", "resend", dead).returncode == 0
    assert run_rmbg("webhooks", "resend", delivered, "--job", "job-3").returncode == 0

    assert listed("--json", "--state", "dead") == []
    assert listed("--json") == [pending, dead, delivered]
    assert outbox.find("job-2", dead).delivery.attempts == 0


@pytest.mark.parametrize(
    "args",
    [("wh_none",), ("wh_none", "--job", "job-9"), ("wh_none", "--job", "../x"), ()],
)
def test_what_cannot_be_sent_again(run_rmbg, args):
    done = run_rmbg("webhooks", "resend", *args)

    assert done.returncode == 2
    assert done.stderr.startswith(b"rmbg: ")
