"""One line and a file for an error that nobody foresaw."""

import re
import tempfile
from pathlib import Path

import pytest

from shared import incident


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """The folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def raised(text):
    with pytest.raises(RuntimeError) as caught:
        fail(text)
    return caught.value


def fail(text):
    raise RuntimeError(text)


def test_the_line_names_the_incident_and_the_file_with_the_traceback(folder):
    line = incident.record(raised("first\nsecond"))

    [path] = folder.iterdir()
    found = re.fullmatch(
        r"unforeseen error, incident ([0-9a-f]{8}): RuntimeError: first second; "
        r"its traceback is in (.+); report the error with this file",
        line,
    )
    assert found
    assert Path(found[2]) == path
    assert found[1] in path.name
    text = path.read_text()
    assert text.startswith("Traceback (most recent call last):")
    assert "in fail" in text
    assert path.stat().st_mode & 0o777 == 0o600


def test_neither_the_line_nor_the_file_has_a_password(folder):
    line = incident.record(raised("redis://:hunter2@host/0"))

    [path] = folder.iterdir()
    assert "hunter2" not in line + path.read_text()
    assert "redis://:***@host/0" in line


def test_text_that_is_not_valid_unicode_is_saved(folder):
    incident.record(raised("\udce9.jpg"))

    [path] = folder.iterdir()
    assert "\\udce9.jpg" in path.read_text()


def test_the_line_says_so_if_the_traceback_cannot_be_saved(folder, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "missing"))

    line = incident.record(raised("text"))

    assert "RuntimeError: text; its traceback could not be saved (No such file" in line
    assert "set TMPDIR to a writable folder" in line
    assert "\n" not in line
