"""Exclusive use of a data folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from producer.local.lock import locked
from shared.errors import InvalidOption

ROOT = Path(__file__).parents[4]
HOLD = """
import sys
from pathlib import Path
from producer.local.lock import locked

with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder until its standard input ends."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_a_second_run_is_refused_and_told_which_process_holds_the_folder(holder, tmp_path):
    with (
        pytest.raises(InvalidOption, match=rf"in use by another run \(process {holder.pid}\)"),
        locked(tmp_path),
    ):
        pytest.fail("two runs hold the folder")


def test_a_killed_holder_leaves_no_stale_lock(holder, tmp_path):
    holder.kill()
    holder.wait()

    with locked(tmp_path):
        pass


def test_the_name_of_an_earlier_holder_is_replaced(tmp_path):
    (tmp_path / ".lock").write_text("12345678901")

    with (
        locked(tmp_path),
        pytest.raises(InvalidOption, match=rf"\(process {os.getpid()}\)"),
        locked(tmp_path),
    ):
        pytest.fail("two runs hold the folder")


def test_a_released_folder_can_be_locked_again(tmp_path):
    for _ in range(2):
        with locked(tmp_path):
            pass
