"""The worker processes of all GPUs: their environment, their restarts, and how they end."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.until import until

from shared.urls import parse_address
from worker.runtime.supervisor import Supervisor, child_env
from worker.settings import WorkerSettings

HOME = {"HOME": "/home/someone"}
SUPERVISOR = """
import json, sys
from worker.runtime.supervisor import Supervisor, leave_on_signals, start_child
folder, child, count, options = sys.argv[1:]
start = lambda n: start_child([sys.executable, "-c", child, folder, str(n)], {})
supervisor = Supervisor(start, int(count), **json.loads(options))
leave_on_signals(supervisor.request)
sys.exit(supervisor.run())
"""
CHILD = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
open(os.path.join(sys.argv[1], f"{sys.argv[2]}-{os.getpid()}"), "w").close()
while True:
    signal.pause()
"""
"""Writes a file named after its device and its process, and leaves on SIGTERM."""
STUBBORN = CHILD.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN")


class Supervised:
    """A supervisor in a process of its own, over children that run *child*."""

    def __init__(self, folder, child=CHILD, *, count=2, **options):
        self.folder = folder
        command = [str(folder), child, str(count), json.dumps({"drain_s": 5.0} | options)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, *command], stderr=subprocess.PIPE, text=True
        )

    def started(self, device=None):
        """Return the ids of all processes that were ever started, or of those of *device*."""
        names = (path.name.split("-") for path in self.folder.iterdir())
        return [int(pid) for n, pid in names if device in (None, int(n))]

    def wait_for(self, processes):
        """Wait until *processes* have been started in all; return their ids."""
        until(lambda: len(self.started()) >= processes, within_s=30)
        return self.started()


def is_running(pid):
    """Return whether the process runs; a dead one that nobody waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def supervise(tmp_path):
    """Start a supervisor that is killed at the end of the test, with all its children."""
    running = []

    def start(*args, **options):
        running.append(Supervised(tmp_path, *args, **options))
        return running[-1]

    yield start
    for each in running:
        each.process.kill()
        for pid in filter(is_running, each.started()):
            os.kill(pid, signal.SIGKILL)
        each.process.communicate()  # children that are left would keep its output open


def test_the_process_of_each_gpu_gets_its_own_port():
    env = HOME | {"RMBG_HTTP": "0.0.0.0:9464", "RMBG_MODELS": "m"}
    children = [child_env(n, 3, WorkerSettings.from_env(env), env) for n in range(3)]

    assert [child["RMBG_HTTP"] for child in children] == [f"0.0.0.0:{9464 + n}" for n in range(3)]
    assert [child["RMBG_DEVICE"] for child in children] == ["cuda:0", "cuda:1", "cuda:2"]
    assert {child["RMBG_MODELS"] for child in children} == {"m"}


def test_each_gpu_has_as_many_processes_as_the_settings_say():
    env = HOME | {"RMBG_HTTP": "127.0.0.1:9464", "RMBG_PER_DEVICE": "2"}
    children = [child_env(n, 4, WorkerSettings.from_env(env), env) for n in range(4)]

    assert [each["RMBG_DEVICE"] for each in children] == ["cuda:0", "cuda:0", "cuda:1", "cuda:1"]
    assert [each["RMBG_HTTP"] for each in children] == [f"127.0.0.1:{9464 + n}" for n in range(4)]
    assert {WorkerSettings.from_env(each).processes for each in children} == {4}


def test_an_ipv6_address_keeps_its_brackets():
    env = HOME | {"RMBG_HTTP": "[::1]:9464"}
    child = child_env(1, 2, WorkerSettings.from_env(env), env)

    assert parse_address(child["RMBG_HTTP"]) == ("::1", 9465)


def test_without_an_address_no_process_gets_one():
    assert "RMBG_HTTP" not in child_env(1, 2, WorkerSettings.from_env(HOME), HOME)


# --- how they end


@pytest.mark.parametrize("child", [CHILD, STUBBORN], ids=["leaves on SIGTERM", "ignores SIGTERM"])
def test_no_process_outlives_a_supervisor_that_was_killed(supervise, child):
    """The next supervisor would start a second worker on each GPU."""
    supervisor = supervise(child)
    children = supervisor.wait_for(2)

    supervisor.process.kill()

    until(lambda: not any(map(is_running, children)), within_s=10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_all_processes_and_then_the_supervisor(supervise, number):
    supervisor = supervise()
    children = supervisor.wait_for(2)

    supervisor.process.send_signal(number)

    assert supervisor.process.wait(30) == 0
    assert not any(map(is_running, children))


def test_a_process_that_does_not_leave_in_time_is_killed(supervise):
    supervisor = supervise(STUBBORN, drain_s=0.1)
    children = supervisor.wait_for(2)

    supervisor.process.terminate()

    assert supervisor.process.wait(30) == 0
    assert not any(map(is_running, children))


def test_a_process_that_ended_is_started_again_and_the_others_go_on(supervise):
    supervisor = supervise(restart_s=0.1)
    supervisor.wait_for(2)
    [first], [other] = supervisor.started(0), supervisor.started(1)

    os.kill(first, signal.SIGKILL)

    supervisor.wait_for(3)
    assert len(supervisor.started(0)) == 2
    assert supervisor.started(1) == [other]
    assert is_running(other)


def test_no_process_is_started_while_the_supervisor_leaves(supervise):
    """One process has ended and would be started again; the other takes a while to leave."""
    supervisor = supervise(STUBBORN, drain_s=2.0, restart_s=0.5)
    supervisor.wait_for(2)
    os.kill(supervisor.started(0)[0], signal.SIGKILL)
    until(lambda: "worker ended" in supervisor.process.stderr.readline(), within_s=10)

    supervisor.process.terminate()

    assert supervisor.process.wait(30) == 0
    assert len(supervisor.started()) == 2


def test_processes_whose_settings_are_unusable_are_not_started_again(supervise):
    supervisor = supervise("import sys; sys.exit(2)", restart_s=0.0)

    assert supervisor.process.wait(30) == 2


def test_a_process_that_cannot_be_started_is_tried_again():
    """For example while the machine has no memory for another process."""
    calls = []

    def start(device):
        calls.append(device)
        if len(calls) == 1:
            raise BlockingIOError("no more processes")
        return subprocess.Popen([sys.executable, "-c", "import sys; sys.exit(2)"])

    assert Supervisor(start, 1, drain_s=1.0, restart_s=0.0).run() == 2
    assert calls == [0, 0]
