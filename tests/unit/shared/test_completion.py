"""The shell completion of both commands prints candidates or nothing."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.command import environment

COMMANDS = {"rmbg": "_RMBG_COMPLETE", "rmbg-worker": "_RMBG_WORKER_COMPLETE"}


def completed(command, words, **variables):
    return subprocess.run(
        [Path(sys.executable).with_name(command)],
        check=False,
        capture_output=True,
        timeout=60,
        env=environment({COMMANDS[command]: "bash_complete", **words, **variables}),
    )


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "words",
    [
        {},
        {"COMP_WORDS": "rmbg st"},
        {"COMP_CWORD": "1"},
        {"COMP_WORDS": "rmbg st", "COMP_CWORD": "x"},
        {"COMP_WORDS": "rmbg st", "COMP_CWORD": ""},
        {"COMP_WORDS": "rmbg st", "COMP_CWORD": "9" * 5000},
        {"COMP_WORDS": "rmbg no-such-command x", "COMP_CWORD": "2"},
        {"COMP_WORDS": "rmbg status --no-such-option x", "COMP_CWORD": "3"},
        {"COMP_WORDS": 'rmbg "', "COMP_CWORD": "1"},
    ],
    ids=str,
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_variables_that_make_no_sense_disturb_nobody(command, words, shell):
    done = completed(command, words, **{COMMANDS[command]: f"{shell}_complete"})

    assert done.returncode in (0, 1)
    assert done.stderr == b""


@pytest.mark.parametrize("instruction", ["nonsense", "bash_nonsense", "nonsense_complete", "_"])
def test_an_unknown_shell_or_instruction_prints_nothing(instruction):
    done = completed("rmbg", {}, _RMBG_COMPLETE=instruction)

    assert done.returncode in (0, 1)
    assert done.stdout == done.stderr == b""


def test_commands_and_options_are_completed():
    commands = completed("rmbg", {"COMP_WORDS": "rmbg st", "COMP_CWORD": "1"})
    options = completed("rmbg", {"COMP_WORDS": "rmbg submit --prefi", "COMP_CWORD": "2"})
    worker = completed("rmbg-worker", {"COMP_WORDS": "rmbg-worker --dev", "COMP_CWORD": "1"})

    assert commands.stdout == b"plain,status\n"
    assert options.stdout == b"plain,--prefix\n"
    assert worker.stdout == b"plain,--devices\n"
