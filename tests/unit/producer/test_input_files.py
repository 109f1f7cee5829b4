"""Options that name a file also take a pipe, and say what they wait for."""

import os
import subprocess

import pytest
from support.command import RMBG, complaint, environment, rmbg

ENV = {"RMBG_REDIS_URL": "redis://127.0.0.1:1/0"}
"""No Redis: a command that has read its input ends with exit code 3."""


def started(*args, stdin=subprocess.DEVNULL):
    return subprocess.Popen(
        [RMBG, *args],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(ENV),
    )


def first_line(command):
    """Return the first line of a command's errors."""
    line = command.stderr.readline().decode().strip()
    assert line, "the command ended without a word"
    return line


def rest(command):
    """Return the exit code of a command and the rest of its errors."""
    _, errors = command.communicate(timeout=60)
    return command.returncode, errors.decode()


@pytest.fixture
def pipe(tmp_path):
    os.mkfifo(tmp_path / "keys")
    return tmp_path / "keys"


@pytest.mark.parametrize("option", ["--keys", "--prompt", "--thresholds", "--extra-pnginfo"])
def test_a_named_pipe_without_a_writer_is_named(pipe, option):
    with started("submit", option, pipe) as command:
        line = first_line(command)
        with pipe.open("wb") as writer:
            writer.write(b'{"a": 1}\n')
        rest(command)

    assert line == (
        f"waiting for a program that writes to {pipe}, a named pipe; press Ctrl-C to stop"
    )


def test_keys_that_a_pipe_sends_late_are_read(pipe):
    with started("submit", "--keys", pipe) as command, pipe.open("wb") as writer:
        line = first_line(command)
        writer.write(b"a.jpg\n")
        writer.close()
        code, errors = rest(command)

    assert line == f"waiting for image keys from --keys {pipe}; press Ctrl-C to stop"
    assert code == 3
    assert "Redis at 127.0.0.1:1" in errors


def test_a_silent_standard_input_is_named():
    with started("submit", stdin=subprocess.PIPE) as command:
        line = first_line(command)
        command.stdin.close()
        command.wait(timeout=60)

    assert line == "waiting for image keys from standard input; press Ctrl-C to stop"


@pytest.mark.parametrize("name", ["/dev/stdin", "/dev/fd/0", "-"])
def test_keys_from_a_pipe_are_read_once(name):
    done = rmbg("submit", "--keys", name, stdin=b"https://x/a.jpg\n", env=ENV)

    assert complaint(done, code=3).startswith("Redis at 127.0.0.1:1")


def test_a_pipe_that_is_closed_without_a_key_is_reported(pipe):
    with started("submit", "--keys", pipe) as command:
        pipe.open("wb").close()
        code, errors = rest(command)

    assert code in (2, 3)
    assert errors.startswith("rmbg: ")
