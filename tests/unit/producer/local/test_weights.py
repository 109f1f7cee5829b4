"""Weights downloaded by the command line."""

import hashlib
import io

import pytest
from support.file_server import File, FileServer

from producer.local.weights import fetch
from shared.models.registry import Model, Source
from shared.settings import ServiceSettings

BODY = b"weights" * 1000
SOURCE = Source(
    kind="github",
    location="http://127.0.0.1:1/never",
    file_name="net.onnx",
    sha256=hashlib.sha256(BODY).hexdigest(),
)
MODEL = Model(name="net", licence="none", commercial=True, sources=(SOURCE,))


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def settings(tmp_path):
    """Settings with an empty cache and a mirror that has the model."""
    with FileServer({"/net.onnx": File(BODY)}) as server:
        variables = {"RMBG_HOME": str(tmp_path / "home"), "RMBG_WEIGHTS_URL": server.url}
        yield ServiceSettings.from_env(variables)


def test_a_terminal_shows_a_progress_bar(settings):
    terminal = Terminal()

    path = fetch(MODEL, settings, stream=terminal)

    assert path.read_bytes() == BODY
    assert "net" in terminal.getvalue()
    assert "7.0/7.0 kB" in terminal.getvalue()


def test_a_stream_that_is_no_terminal_stays_empty(settings):
    stream = io.StringIO()

    fetch(MODEL, settings, stream=stream)

    assert stream.getvalue() == ""


def test_another_cache_can_be_named(settings, tmp_path):
    path = fetch(MODEL, settings, home=tmp_path / "other")

    assert path.is_relative_to(tmp_path / "other")
