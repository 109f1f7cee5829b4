"""What a container allows, read from its control group's files."""

import os

import psutil
import pytest

from worker.engine.limits import choose_limits
from worker.resources import allowed_cores, allowed_memory_bytes
from worker.settings import WorkerSettings

HERE = len(os.sched_getaffinity(0))
MACHINE_BYTES = psutil.virtual_memory().total


@pytest.fixture
def sixteen_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))


@pytest.mark.usefixtures("sixteen_cores")
@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000\n", 16),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("20000 100000\n", 1),
        ("50000 10000\n", 5),
        ("6400000 100000\n", 16),
        ("", 16),
        ("nonsense", 16),
    ],
)
def test_a_quota_counts_in_whole_cores_up_to_those_there_are(tmp_path, text, cores):
    (tmp_path / "cpu.max").write_text(text)

    assert allowed_cores(tmp_path) == cores


def test_without_a_container_the_cores_this_process_is_pinned_to_count(tmp_path):
    assert allowed_cores(tmp_path) == HERE


@pytest.mark.parametrize(
    ("text", "allowed"),
    [("max\n", MACHINE_BYTES), ("536870912\n", 2**29), (f"{2**60}\n", MACHINE_BYTES)],
)
def test_a_containers_memory_counts_up_to_the_machines(tmp_path, text, allowed):
    (tmp_path / "memory.max").write_text(text)

    assert allowed_memory_bytes(tmp_path) == allowed


def test_a_machine_without_control_groups_has_what_it_has(tmp_path):
    assert allowed_memory_bytes(tmp_path / "missing") == MACHINE_BYTES


def test_a_worker_decodes_on_as_many_threads(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5})

    assert choose_limits(WorkerSettings.from_env({}), "cpu").cpu_threads == min(3, allowed_cores())
