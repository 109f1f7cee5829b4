"""Processes that run through the reaper: stopped together, or ended at once."""

import os
import sys

import psutil
import pytest
from support.until import until

from producer.local.supervise import Server, kill, start_reaped, stop_all
from shared.errors import StoreUnavailable

TOGETHER = """
import signal, sys, time
from pathlib import Path
own, other = Path(sys.argv[1]), Path(sys.argv[2])

def stop(*_):
    (own / "asked").touch()
    while not (other / "asked").exists():
        time.sleep(0.01)
    (own / "ended").touch()
    sys.exit()

signal.signal(signal.SIGTERM, stop)
(own / "ready").touch()
signal.pause()
"""
"""Ends after SIGTERM only when the other one has got it, too."""
STUBBORN = """
import os, signal, sys
from pathlib import Path
signal.signal(signal.SIGTERM, signal.SIG_IGN)
Path(sys.argv[1]).write_text(str(os.getpid()))
while True:
    signal.pause()
"""
GRACE_S = 600.0


@pytest.fixture
def server(tmp_path):
    """Return a server that runs *program* in a folder of its own; it is killed at the end."""
    started = []

    def make(name, program, *arguments):
        folder = tmp_path / name
        made = Server(
            name=name,
            command=[sys.executable, "-c", program, *map(str, arguments)],
            folder=folder,
            env={"PATH": os.defpath},
            lock_fd=-1,
            is_ready=(folder / "ready").exists,
            fault=StoreUnavailable,
            leftovers=[tmp_path / f"{name}.sock"],
        )
        started.append(made)
        return made

    yield make
    for each in started:
        each.kill()


def is_alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_servers_are_stopped_at_the_same_time(server, tmp_path):
    one = server("one", TOGETHER, tmp_path / "one", tmp_path / "two")
    two = server("two", TOGETHER, tmp_path / "two", tmp_path / "one")
    one.start()
    two.start()

    stop_all([one, two])

    assert not one.is_running
    assert not two.is_running
    assert (tmp_path / "one/ended").exists()
    assert (tmp_path / "two/ended").exists()


def test_stopping_servers_that_never_started_does_nothing(server):
    stop_all([server("one", STUBBORN)])


def test_a_discarded_server_ends_although_it_ignores_sigterm(server, tmp_path):
    """It leaves no socket, and can be started again."""
    one = server("one", STUBBORN, tmp_path / "one/ready")
    one.start()
    assert until((tmp_path / "one/ready").read_text)
    pid = int((tmp_path / "one/ready").read_text())
    (tmp_path / "one.sock").touch()

    one.discard()
    one.discard()

    assert not is_alive(pid)
    assert not (tmp_path / "one.sock").exists()
    one.start()


def test_a_killed_process_and_its_reaper_are_gone_whatever_its_grace(tmp_path):
    note = tmp_path / "pid"
    process = start_reaped(
        [sys.executable, "-c", STUBBORN, str(note)],
        log=tmp_path / "log",
        env={"PATH": os.defpath},
        grace_s=GRACE_S,
    )
    assert until(lambda: note.exists() and note.read_text())

    kill(process)
    kill(process)

    assert not is_alive(int(note.read_text()))
    assert not is_alive(process.pid)
