"""Checks of the device in a new process, and the waits between them."""

import pytest
import torch

from worker.inference.architectures.isnet.network import Network
from worker.runtime.device_check import PAUSES_S, REPORT_S, wait_for_device, works_in_new_process


class World:
    """Time that passes only while somebody waits; the device works after *broken_checks*."""

    def __init__(self, *, broken_checks, asked_at_s=float("inf")):
        self.broken_checks = broken_checks
        self.asked_at_s = asked_at_s
        self.now_s = 0.0
        self.checked_at_s = []
        self.reported_at_s = []

    def works(self):
        self.checked_at_s.append(self.now_s)
        return len(self.checked_at_s) > self.broken_checks

    def report(self):
        self.reported_at_s.append(self.now_s)

    def stopped(self, timeout_s):
        self.now_s += timeout_s
        return self.now_s >= self.asked_at_s

    def run(self):
        return wait_for_device(self.works, report=self.report, stopped=self.stopped)


def test_the_pauses_between_checks_grow_from_ten_seconds_to_five_minutes():
    world = World(broken_checks=7)

    assert world.run()

    pauses = [b - a for a, b in zip([0.0, *world.checked_at_s], world.checked_at_s, strict=False)]
    assert pauses == [*PAUSES_S, 300.0, 300.0] == [10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300, 300]


def test_the_fault_is_reported_all_the_time():
    """A registration expires after ten seconds."""
    world = World(broken_checks=1)

    world.run()

    apart = zip(world.reported_at_s, world.reported_at_s[1:], strict=False)
    assert world.reported_at_s[0] == 0.0
    assert max(later - earlier for earlier, later in apart) <= REPORT_S


def test_a_request_to_end_ends_the_wait():
    world = World(broken_checks=9, asked_at_s=25.0)

    assert not world.run()
    assert world.now_s <= 25.0 + REPORT_S


@pytest.fixture
def own_weights(tmp_path, monkeypatch):
    """Let new processes use random weights."""
    torch.manual_seed(0)
    torch.save(Network().state_dict(), tmp_path / "model.pth")
    monkeypatch.setenv("RMBG_HOME", str(tmp_path))
    monkeypatch.setenv("RMBG_WEIGHTS", str(tmp_path / "model.pth"))


def test_a_device_that_works_passes_in_a_new_process(own_weights, monkeypatch):
    monkeypatch.setenv("RMBG_DEVICE", "cpu")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # so that no batch size is measured

    assert works_in_new_process()


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_cannot_be_used_fails_in_a_new_process(
    own_weights, monkeypatch, caplog, device
):
    monkeypatch.setenv("RMBG_DEVICE", device)

    assert not works_in_new_process()
    assert device in caplog.records[-1].cause
