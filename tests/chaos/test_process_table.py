"""What the fault suite reads in the process table."""

import os
import subprocess
import sys

import pytest
from chaos import process_table
from support.until import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def child():
    command = [sys.executable, "-c", "input()", "some_program.py"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        until(lambda: process_table.children(os.getpid(), "some_program.py"))
        yield process
        process.kill()


def test_children_are_found_by_their_program(child):
    found = process_table.children(os.getpid(), "some_program.py")

    assert [entry.pid for entry in found] == [child.pid]
    assert process_table.children(os.getpid(), "other_program.py") == []


def test_a_killed_process_is_not_running_even_if_nobody_has_waited_for_it(child):
    [entry] = process_table.children(os.getpid(), "some_program.py")
    assert entry.is_running

    child.kill()

    until(lambda: not entry.is_running)
    assert process_table.state(child.pid) == "Z"


def test_a_later_process_with_the_same_id_is_another_one(child):
    [entry] = process_table.children(os.getpid(), "some_program.py")

    assert not entry._replace(started="0").is_running
