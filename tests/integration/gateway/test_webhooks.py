"""Webhooks over real servers: signed, repeated, given up, and not lost with Redis."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import redis
from standardwebhooks import Webhook
from support.gateway import serving
from support.receiver import Receiver
from support.until import until

from producer.gateway.app import build_app
from producer.gateway.context import Gateway
from producer.gateway.probes import Metrics
from producer.gateway.schemas import JobRequest
from producer.gateway.settings import GatewaySettings
from producer.gateway.submission import create_job
from producer.gateway.webhooks.notifier import MOST_OF_TENANT, Notifier
from producer.gateway.webhooks.schedule import ATTEMPT, DELAYS, JITTER
from producer.gateway.webhooks.sender import Sender
from producer.services import Services
from shared.access import ApiKey
from shared.webhooks import DeliveryState

pytestmark = pytest.mark.integration
COMMAND = str(Path(sys.executable).with_name("rmbg-gateway"))
SECRET = "a-secret-of-at-least-32-characters"
LAB = {"RMBG_GATEWAY_WEBHOOK_SECRETS": SECRET, "RMBG_GATEWAY_ALLOW_PRIVATE": "1"}


@pytest.fixture
def gateway_settings(service_env):
    """Settings of a gateway that signs webhooks, and may send them to loopback."""
    return GatewaySettings.from_env({**service_env, **LAB})


@pytest.fixture
def key(bucket):
    """The key of a tenant, for jobs that are created without HTTP."""
    return ApiKey(
        name="shop", tenant="shop", sha256="", bucket=bucket, created_at=datetime.now(UTC)
    )


@pytest.fixture
def receiver():
    with Receiver() as running:
        yield running


@pytest.fixture
def ended(gateway, key, hand, receiver):
    """Run a job of an image that tells *receiver* of its end, and return its ID."""

    def run(name="a.jpg", url=receiver.url, tenant="shop"):
        request = JobRequest(keys=[name], model="RMBG-1.4", webhook={"url": url})
        owner = key.model_copy(update={"tenant": tenant})
        job_id = create_job(gateway, owner, request, None).job_id
        hand.run(job_id)
        return job_id

    return run


class Clock:
    """The time, and what the test adds to it."""

    def __init__(self):
        self.ahead = timedelta(0)

    def __call__(self):
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def notifiers(gateway, clock):
    """Return new notifiers over the test's services, each as of a gateway of its own."""

    def new():
        sender = Sender(gateway.webhooks.fetcher, gateway.webhooks.signer)
        return Notifier(gateway.webhooks.outbox, gateway.services.jobs, sender, clock=clock)

    return new


def rounds(*running):
    """Let notifiers look for what is due at the same time, and wait for their attempts."""

    async def call():
        await asyncio.gather(*(each.round() for each in running))
        await asyncio.gather(*(each.finish() for each in running))

    asyncio.run(call())


def delivery_of(gateway, job_id):
    [found] = gateway.webhooks.outbox.of_job(job_id)
    return found.delivery


def noted(gateway, state):
    return [each.job_id for each in gateway.webhooks.outbox.notes(state)]


def bring_forward(gateway, job_id):
    """Make the next attempt due now: the library refuses timestamps of another day."""
    [found] = gateway.webhooks.outbox.of_job(job_id)
    due = found.delivery.model_copy(update={"next_at": datetime.now(UTC)})
    assert gateway.webhooks.outbox.replace(found, due)


def verified(gateway, received, tenant="shop"):
    return Webhook(gateway.webhooks.secret_of(tenant)).verify(received.body, received.headers)


def test_a_receiver_that_fails_nine_times_gets_the_tenth_attempt(
    ended, gateway, notifiers, receiver
):
    receiver.answers = [*(500,) * 9, 204]
    job_id = ended()

    for attempt, delay in enumerate(DELAYS, 1):
        began = datetime.now(UTC)
        rounds(notifiers())
        failed = delivery_of(gateway, job_id)
        assert (failed.attempts, failed.state) == (attempt, DeliveryState.PENDING)
        assert failed.error == "the receiver answered 500"
        assert failed.next_at - began > delay * (1 - JITTER)
        rounds(notifiers())  # not due
        assert len(receiver.received) == attempt
        bring_forward(gateway, job_id)
    rounds(notifiers())

    assert len(receiver.received) == 10
    assert len(set(receiver.ids)) == 1
    for each in receiver.received:
        event = verified(gateway, each)
        assert event["type"] == "job.done"
        assert event["data"]["job_id"] == job_id
    delivered = delivery_of(gateway, job_id)
    assert (delivered.state, delivered.error) == (DeliveryState.DELIVERED, None)
    assert noted(gateway, "pending") == noted(gateway, "dead") == []


def test_after_the_tenth_failure_a_delivery_is_dead_until_it_is_sent_again(
    ended, gateway, notifiers, receiver
):
    receiver.answers = [500]
    job_id = ended()
    for _ in range(11):
        bring_forward(gateway, job_id)
        rounds(notifiers())

    assert len(receiver.received) == 10
    assert delivery_of(gateway, job_id).state is DeliveryState.DEAD
    assert (noted(gateway, "pending"), noted(gateway, "dead")) == ([], [job_id])

    receiver.answers = [200]
    [name] = set(receiver.ids)
    gateway.webhooks.outbox.begin_again(job_id, name, datetime.now(UTC))
    rounds(notifiers())

    assert set(receiver.ids) == {name}
    assert delivery_of(gateway, job_id).state is DeliveryState.DELIVERED
    assert noted(gateway, "dead") == []


def test_a_receiver_that_is_gone_is_not_asked_again(ended, gateway, notifiers, receiver):
    receiver.answers = [410]
    job_id = ended()
    notifier = notifiers()

    rounds(notifier)
    rounds(notifier)

    assert len(receiver.received) == 1
    assert delivery_of(gateway, job_id).state is DeliveryState.DEAD


def test_a_receiver_says_when_to_come_back(ended, gateway, notifiers, receiver, clock):
    receiver.answers = [(429, {"Retry-After": "3600"}), 204]
    job_id, notifier = ended(), notifiers()

    rounds(notifier)
    clock.ahead = timedelta(minutes=50)
    rounds(notifier)
    assert len(receiver.received) == 1
    clock.ahead = timedelta(minutes=61)
    rounds(notifier)

    assert delivery_of(gateway, job_id).state is DeliveryState.DELIVERED


def test_gateways_side_by_side_attempt_a_delivery_once(ended, gateway, notifiers, receiver):
    jobs = [ended(f"{n}.jpg") for n in range(4)]

    rounds(*(notifiers() for _ in range(4)))

    assert len(receiver.ids) == len(set(receiver.ids)) == len(jobs)


def test_an_attempt_that_was_cut_off_is_repeated(ended, gateway, notifiers, receiver, clock):
    """As by a gateway that was killed: nobody knows whether the receiver has the event."""
    job_id = ended()
    receiver.may_answer.clear()

    async def killed():
        arrived, loop = asyncio.Event(), asyncio.get_running_loop()
        receiver.on_request = lambda: loop.call_soon_threadsafe(arrived.set)
        running = asyncio.create_task(notifiers().run())
        await arrived.wait()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    asyncio.run(killed())
    receiver.on_request = lambda: None
    receiver.may_answer.set()
    assert delivery_of(gateway, job_id).state is DeliveryState.PENDING

    rounds(notifiers())
    assert len(receiver.received) == 1, "the attempt of another gateway may be in progress"
    clock.ahead = ATTEMPT
    rounds(notifiers())

    assert len(receiver.received) == 2
    assert len(set(receiver.ids)) == 1
    assert delivery_of(gateway, job_id).state is DeliveryState.DELIVERED


def test_a_tenant_with_slow_receivers_does_not_hold_up_others(ended, gateway, notifiers, receiver):
    for n in range(MOST_OF_TENANT + 2):
        ended(f"{n}.jpg")
    receiver.may_answer.clear()
    with Receiver() as quick:
        ended("z.jpg", tenant="other", url=quick.url)

        async def call():
            notifier = notifiers()
            await notifier.round()
            for _ in range(3):
                await asyncio.to_thread(until, lambda: quick.received)
                await notifier.round()
            waiting = len(receiver.received)
            receiver.may_answer.set()
            await notifier.finish()
            return waiting

        assert asyncio.run(call()) <= MOST_OF_TENANT
        assert verified(gateway, quick.received[0], "other")


def test_a_cancelled_job_tells_that_it_is_cancelled(gateway, key, hand, notifiers, receiver):
    request = JobRequest(keys=["a.jpg"], model="RMBG-1.4", webhook={"url": receiver.url})
    job_id = create_job(gateway, key, request, None).job_id
    gateway.services.cancel(job_id)
    hand.run(job_id)

    rounds(notifiers())

    assert [verified(gateway, each)["type"] for each in receiver.received] == ["job.cancelled"]


def test_an_end_that_is_not_committed_yet_is_not_told(gateway, key, hand, notifiers, receiver):
    """A receiver that asks for the job must find that it has ended."""
    request = JobRequest(keys=["a.jpg"], model="RMBG-1.4", webhook={"url": receiver.url})
    job_id = create_job(gateway, key, request, None).job_id
    hand.step()
    merge = hand.claim_next()
    commit, hand.jobs.leases = hand.jobs.leases, NoCommit()
    hand.process(merge)

    rounds(notifiers())
    assert noted(gateway, "pending") == [job_id]
    assert receiver.received == []

    commit.merge_commit(merge.lease)
    rounds(notifiers())
    assert len(receiver.received) == 1


class NoCommit:
    """Leases of a worker that dies before it commits a merge."""

    def merge_commit(self, lease):
        """Do nothing."""


def test_each_end_of_a_job_is_an_event(ended, gateway, notifiers, receiver, hand):
    job_id = ended("bad.jpg")
    rounds(notifiers())
    gateway.services.retry(job_id)
    hand.bad = "nothing"
    hand.run(job_id)
    rounds(notifiers())

    assert [json.loads(each.body)["type"] for each in receiver.received] == [
        "job.failed",
        "job.done",
    ]
    assert len(set(receiver.ids)) == 2


def test_an_address_inside_the_network_is_not_reached(
    ended, gateway, service_env, receiver, caplog
):
    """The check at submission knows addresses only; names are resolved by each attempt."""
    url = receiver.url.replace("127.0.0.1", "localhost")
    settings = GatewaySettings.from_env({**service_env, **LAB, "RMBG_GATEWAY_ALLOW_PRIVATE": "0"})
    guarded = Gateway.of(settings, gateway.services).webhooks
    job_id = ended(url=url)
    sender = Sender(guarded.fetcher, guarded.signer)

    rounds(Notifier(guarded.outbox, gateway.services.jobs, sender))

    assert receiver.received == []
    assert delivery_of(gateway, job_id).error == "localhost has an address that is not public"
    assert "webhook not delivered" in caplog.text
    assert not [each for each in caplog.records if "hidden" in str(vars(each))]


def test_a_redirect_is_a_failure(ended, gateway, notifiers, receiver):
    with Receiver() as inside:
        receiver.answers = [(307, {"Location": inside.url})]
        job_id = ended()
        rounds(notifiers())

        assert inside.received == []
    assert delivery_of(gateway, job_id).error == "the receiver answered 307"


# --- over HTTP


@pytest.fixture
def client(new_key, client_of):
    """An HTTP client of the tenant `shop`."""
    return client_of(new_key())


def submit(client, receiver, **webhook):
    body = {"keys": ["a.jpg"], "model": "RMBG-1.4", "webhook": {"url": receiver.url} | webhook}
    return client.post("/v1/jobs", json=body)


def test_a_job_tells_of_its_end(client, receiver, hand):
    job_id = submit(client, receiver).json()["job_id"]
    assert client.get(f"/v1/jobs/{job_id}/webhooks").json() == {"webhooks": []}
    hand.run(job_id)

    until(lambda: receiver.received)
    secret = client.get("/v1/webhooks/secret").json()["secret"]
    event = Webhook(secret).verify(receiver.received[0].body, receiver.received[0].headers)
    assert event["data"]["job_id"] == job_id

    def told():
        [one] = client.get(f"/v1/jobs/{job_id}/webhooks").json()["webhooks"]
        return one if one["state"] == "delivered" else None

    told = until(told)
    assert (told["event"], told["attempts"], told["next_at"]) == ("job.done", 1, None)
    assert "hidden" not in str(told)

    resend = f"/v1/jobs/{job_id}/webhooks/{told['webhook_id']}/resend"
    assert client.post(resend).status_code == 202
    until(lambda: len(receiver.received) == 2)
    assert len(set(receiver.ids)) == 1


def test_webhooks_of_others_do_not_exist(client, new_key, client_of, ended, gateway):
    job_id = ended()
    other = client_of(new_key("other"))
    name = delivery_of(gateway, job_id).webhook_id

    assert len(client.get(f"/v1/jobs/{job_id}/webhooks").json()["webhooks"]) == 1
    assert other.get(f"/v1/jobs/{job_id}/webhooks").status_code == 404
    assert other.post(f"/v1/jobs/{job_id}/webhooks/{name}/resend").status_code == 404
    secrets = {each.get("/v1/webhooks/secret").json()["secret"] for each in (client, other)}
    assert len(secrets) == 2


@pytest.fixture
def guarded(service_env, new_key):
    """Return a client of a gateway with other settings."""

    @contextlib.contextmanager
    def connect(**changes):
        settings = GatewaySettings.from_env({**service_env, **LAB, **changes})
        app = build_app(Gateway.of(settings, Services(settings.services)), Metrics())
        headers = {"Authorization": f"Bearer {new_key()}"}
        with serving(app) as url, httpx.Client(base_url=url, headers=headers) as client:
            yield client

    return connect


def test_addresses_that_cannot_be_reached_are_refused_at_once(guarded):
    expected = {
        "https://shop.example/": (201, None),
        "http://10.0.0.1/": (422, "url-refused"),
        "http://[::1]/": (422, "url-refused"),
        "https://user:password@shop.example/": (422, "url-refused"),
        "file:///etc/passwd": (422, "url-refused"),
        "": (422, "invalid-request"),
    }
    with guarded(RMBG_GATEWAY_ALLOW_PRIVATE="0") as client:
        for url, (status, name) in expected.items():
            body = {"keys": ["a.jpg"], "webhook": {"url": url}}
            answer = client.post("/v1/jobs", json=body)
            assert (url, answer.status_code) == (url, status)
            assert name is None or answer.json()["type"].endswith(name)


def test_without_a_secret_webhooks_are_refused(guarded, receiver):
    with guarded(RMBG_GATEWAY_WEBHOOK_SECRETS="") as client:
        for answer in (submit(client, receiver), client.get("/v1/webhooks/secret")):
            assert answer.status_code == 422
            assert "RMBG_GATEWAY_WEBHOOK_SECRETS" in answer.json()["detail"]


def test_jobs_with_other_receivers_are_other_jobs(client, receiver):
    """A job that is joined would not tell the second receiver."""
    first = submit(client, receiver).json()["job_id"]
    joined = submit(client, receiver).json()["job_id"]
    other = submit(client, receiver, events=["job.failed"]).json()["job_id"]

    assert first == joined != other


# --- processes


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def process(service_env, tmp_path):
    """Return a context manager: a gateway in a process of its own, and its log."""

    @contextlib.contextmanager
    def run():
        own = {"PATH": os.defpath, "RMBG_GATEWAY_PORT": "0", "RMBG_GATEWAY_PROBES_PORT": "0"}
        log = tmp_path / "log"
        with log.open("ab") as stderr:
            env = {**service_env, **LAB, **own}
            with subprocess.Popen([COMMAND], env=env, stderr=stderr) as running:
                try:
                    yield log
                    running.send_signal(signal.SIGTERM)
                    assert running.wait(30) in (0, -signal.SIGTERM)
                finally:
                    running.kill()

    return run


def lose_redis(service_env):
    with redis.Redis.from_url(service_env["RMBG_REDIS_URL"]) as client:
        client.flushall()


def test_an_end_that_no_gateway_saw_is_told_after_a_loss_of_redis(
    process, ended, gateway, receiver, service_env
):
    job_id = ended()
    lose_redis(service_env)

    with process():
        until(lambda: not noted(gateway, "pending"))

    event = verified(gateway, receiver.received[0])
    assert event["data"] | {"job_id": job_id, "done": 1} == event["data"]
    assert delivery_of(gateway, job_id).state is DeliveryState.DELIVERED


def test_a_receiver_that_was_down_is_told_after_a_loss_of_redis_and_a_restart(
    process, ended, gateway, receiver, service_env
):
    receiver.answers = [503]
    job_id = ended()
    with process() as log:
        until(lambda: delivery_of(gateway, job_id).error)
    lose_redis(service_env)
    receiver.answers = [204]
    with process():
        until(lambda: delivery_of(gateway, job_id).state is DeliveryState.DELIVERED)

    assert len(receiver.received) >= 2
    assert len(set(receiver.ids)) == 1
    for each in receiver.received:
        verified(gateway, each)
    assert "webhook delivered" in log.read_text()
    for secret in ("hidden", SECRET, gateway.webhooks.secret_of("shop")):
        assert secret not in log.read_text()
