"""Fixtures for producer tests: a client, a worker controlled by the test, and `rmbg`."""

import json
from functools import partial

import pytest

from producer.client import Client
from producer.services import Services
from support.command import rmbg
from support.hand_worker import HandWorker


@pytest.fixture
def hand(service_settings):
    """A registered worker for RMBG-1.4 that works when the test tells it to."""
    worker = HandWorker(service_settings)
    yield worker
    worker.close()


@pytest.fixture
def services(service_settings):
    return Services(service_settings)


@pytest.fixture
def client(service_settings):
    return Client(service_settings)


@pytest.fixture
def run_rmbg(service_env):
    """Run `rmbg` against the test's services."""
    return partial(rmbg, env=dict(service_env))


@pytest.fixture
def submitted(run_rmbg):
    """Submit keys with `rmbg submit` and return the job's id."""

    def submit(*keys, args=()):
        done = run_rmbg("submit", *args, stdin="\n".join(keys).encode())
        assert done.returncode == 0, done
        return done.stdout.decode().strip()

    return submit


def json_lines(done):
    """Return the JSON objects in the output of a command, one per line."""
    assert done.returncode == 0, done
    return [json.loads(line) for line in done.stdout.splitlines()]
