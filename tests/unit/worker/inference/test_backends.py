"""Back ends: the fastest one with the same masks is chosen, and stored for the next start."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from support.until import until

from shared.errors import InvalidOption
from worker.inference.backends import (
    FILE_NAME,
    fastest_backend,
    fuses_for,
    measured_backends,
    pick_backend,
    stored_backend,
)

BATCH = [torch.zeros(3, 8, 8, dtype=torch.uint8)] * 2
NAMES = ("eager", "fused", "graph")


class Device:
    """A device with a simulated clock: each back end has its seconds per batch and its error.

    An *error* is in levels of 255; None: the back end does not run.
    """

    def __init__(self, **backends):
        self.backends = backends
        self.loaded = []
        self.now_s = 0.0

    def load(self, name):
        self.loaded.append(name)
        seconds, error = self.backends[name]
        if error is None:
            raise RuntimeError("not built for this device")

        def run(batch):
            self.now_s += seconds
            return [torch.full((8, 8), 0.5 + error / 255) for _ in batch]

        return run

    def fastest(self, levels=2.5, names=NAMES):
        return fastest_backend(names, self.load, BATCH, levels=levels, clock=lambda: self.now_s)


@pytest.mark.parametrize(
    ("fused", "graph", "best"),
    [
        ((0.5, 1.0), (0.7, 0.0), "fused"),
        ((0.7, 0.0), (0.5, 2.4), "graph"),
        ((2.0, 0.0), (3.0, 0.0), "eager"),
        ((0.99, 0.0), (0.985, 0.0), "eager"),
        ((0.5, 3.0), (0.7, 0.0), "graph"),
        ((0.5, float("nan")), (2.0, 0.0), "eager"),
        ((0.5, None), (0.7, 0.0), "graph"),
    ],
    ids=[
        "two are faster",
        "the last is fastest",
        "slower",
        "not two percent faster",
        "faster by three levels off",
        "not finite",
        "does not run",
    ],
)
def test_the_fastest_back_end_with_the_same_masks_is_chosen(fused, graph, best):
    assert Device(eager=(1.0, 0.0), fused=fused, graph=graph).fastest() == best


def test_a_back_end_that_is_refused_is_named_in_the_log(caplog):
    Device(eager=(1.0, 0.0), fused=(0.5, 3.0), graph=(2.0, 0.0)).fastest()

    (refusal,) = [each for each in caplog.records if each.message == "back end refused"]
    assert refusal.backend == "fused"
    assert refusal.cause == "masks differ by 3.0 levels from those of eager"


@pytest.mark.parametrize(("error", "best"), [(1.0, "tensorrt"), (3.0, "eager")])
def test_a_fast_engine_is_refused_if_its_masks_differ(error, best):
    device = Device(eager=(1.0, 0.0), tensorrt=(0.1, error))

    assert device.fastest(names=("eager", "tensorrt")) == best


def test_a_back_end_that_cannot_be_used_is_left_out():
    def load(name):
        if name == "tensorrt":
            raise InvalidOption("not compiled")
        return lambda batch: [torch.zeros(8, 8) for _ in batch]

    assert fastest_backend(("eager", "tensorrt"), load, BATCH, levels=2.5) == "eager"


def test_a_back_end_that_is_not_installed_is_not_measured(caplog):
    caplog.set_level("INFO")

    assert measured_backends("cuda", lacks_tensorrt=None)[-1] == "tensorrt"
    assert caplog.records == []
    assert measured_backends("cuda", lacks_tensorrt="install it") == NAMES
    assert [record.cause for record in caplog.records] == ["install it"]


def test_an_error_of_the_plain_back_end_is_no_choice():
    with pytest.raises(RuntimeError, match="not built"):
        Device(eager=(1.0, None), fused=(1.0, 0.0), graph=(1.0, 0.0)).fastest()


def test_a_faster_back_end_is_chosen_once_the_stored_choice_is_dropped(tmp_path):
    slow = Device(eager=(1.0, 0.0), fused=(2.0, 0.0), graph=(2.0, 0.0))
    fast = Device(eager=(1.0, 0.0), fused=(0.5, 0.0), graph=(2.0, 0.0))

    assert stored_backend(tmp_path, "H100", slow.fastest) == "eager"
    assert stored_backend(tmp_path, "H100", fast.fastest) == "eager"
    assert fast.loaded == []
    assert stored_backend(tmp_path, "L4", fast.fastest) == "fused"
    (tmp_path / FILE_NAME).unlink()
    assert stored_backend(tmp_path, "H100", fast.fastest) == "fused"


@pytest.mark.parametrize("content", ["", "[]", '{"H100": "unknown"}'])
def test_a_damaged_choice_is_measured_again(tmp_path, content):
    (tmp_path / FILE_NAME).write_text(content)

    assert stored_backend(tmp_path, "H100", lambda: "graph") == "graph"
    assert stored_backend(tmp_path, "H100", None) == "graph"


def test_without_a_measurement_operators_are_fused(tmp_path):
    assert stored_backend(tmp_path, "H100", None) == "fused"
    assert not (tmp_path / FILE_NAME).exists()
    assert pick_backend("auto", "cpu") == pick_backend("auto", "cuda") == "fused"


def test_a_back_end_that_the_device_lacks_is_refused():
    with pytest.raises(InvalidOption, match="RMBG_BACKEND=graph does not run on cpu; use one of"):
        pick_backend("graph", "cpu")


@pytest.mark.parametrize(
    ("backend", "device", "fused"),
    [
        ("eager", "cpu", None),
        ("fused", "cpu", "cpu"),
        ("graph", "cuda", "cuda"),
        ("tensorrt", "cuda", None),
    ],
)
def test_back_ends_fuse_operators_unless_they_take_plain_ones(backend, device, fused):
    assert fuses_for(backend, device) == fused


def test_processes_that_start_together_measure_once(tmp_path):
    """They would slow each other, and the results would be wrong."""
    entered, go_on = threading.Event(), threading.Event()
    calls = []

    def measure():
        calls.append(threading.get_ident())
        entered.set()
        assert go_on.wait(30)
        return "graph"

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(stored_backend, tmp_path, "H100", measure)
        assert entered.wait(30)
        second = pool.submit(stored_backend, tmp_path, "H100", measure)
        until(second.running)
        go_on.set()

    assert (first.result(), second.result()) == ("graph", "graph")
    assert len(calls) == 1


def test_a_folder_that_cannot_be_written_measures_without_a_lock(tmp_path):
    assert stored_backend(tmp_path / "missing", "H100", lambda: "graph") == "graph"
