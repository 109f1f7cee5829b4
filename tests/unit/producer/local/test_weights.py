"""Weights downloaded by the command line."""

import hashlib

import pytest
from support.cards import card
from support.file_server import File, FileServer

from producer.local.weights import fetch
from shared.models.card import Source
from shared.settings import ServiceSettings

BODY = b"weights" * 1000
SOURCE = Source(
    kind="github",
    location="http://127.0.0.1:1/never",
    file_name="net.onnx",
    checksum=f"sha256:{hashlib.sha256(BODY).hexdigest()}",
)
MODEL = card(SOURCE)


@pytest.fixture
def settings(tmp_path):
    """Settings with an empty cache and a mirror that has the model."""
    with FileServer({"/net.onnx": File(BODY)}) as server:
        variables = {"RMBG_HOME": str(tmp_path / "home"), "RMBG_WEIGHTS_URL": server.url}
        yield ServiceSettings.from_env(variables)


def test_a_terminal_shows_a_progress_bar(settings, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # Rich then treats any stream as a terminal

    path = fetch(MODEL, settings)

    shown = capsys.readouterr().err
    assert path.read_bytes() == BODY
    assert "net" in shown
    assert "7.0/7.0 kB" in shown


def test_nothing_is_shown_without_a_terminal(settings, capsys, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    fetch(MODEL, settings)

    assert capsys.readouterr() == ("", "")


def test_another_cache_can_be_named(settings, tmp_path):
    path = fetch(MODEL, settings, home=tmp_path / "other")

    assert path.is_relative_to(tmp_path / "other")
