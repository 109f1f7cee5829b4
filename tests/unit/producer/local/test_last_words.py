"""What a process that failed logged last: one line, without a traceback."""

import pytest

from producer.local.supervise import last_words

JSON = '{"at":"2026-03-09","level":"critical","message":"device lost","cause":"CUDA error"}'


@pytest.fixture
def log(tmp_path):
    return tmp_path / "worker.log"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("first\nlast\n\n", "last"),
        (f"first\n{JSON}\n", "device lost: CUDA error"),
        ("Traceback (most recent call last):\n  File x\nKeyError: 1\n", "KeyError: 1"),
        ("a\x1b[31mred\n", r"a\x1b[31mred"),
        ("x" * 100_000, "x" * 500),
        ("[1]\n", "[1]"),
        ("", "it logged nothing"),
    ],
)
def test_the_last_line_is_shown(log, text, words):
    log.write_text(text)

    assert last_words(log) == f"{words} (log: {log})"


def test_an_error_message_of_several_lines_is_shown_as_one(log):
    log.write_text("rmbg-worker: old\n{}\nrmbg-worker: invalid settings:\nRMBG_X: no\n")

    assert last_words(log, "rmbg-worker: ") == (
        f"rmbg-worker: invalid settings: RMBG_X: no (log: {log})"
    )


def test_several_last_lines_are_shown_where_an_error_has_several(log):
    log.write_text("1\n2\n3\n4\n")

    assert last_words(log, lines=3) == f"2 3 4 (log: {log})"


def test_a_missing_log_is_no_error(log):
    assert last_words(log, "rmbg-worker: ") == f"it logged nothing (log: {log})"
