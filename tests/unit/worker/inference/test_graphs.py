"""Recorded passes: padding, buffers and passes that cannot be recorded."""

import pytest
import torch
from torch import nn

from worker.inference.graphs import SIZES, WARM_UPS, Graphs


class Network(nn.Module):
    """Adds up the channels, and notes the size of each batch."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, x):
        self.sizes.append(len(x))
        return x.sum(1, keepdim=True)


class Recorder:
    """Records as a graph does: one input buffer and one result buffer per size."""

    def __init__(self, *, fails_at=()):
        self.recorded = []
        self._fails_at = fails_at

    def __call__(self, run, like):
        if len(like) in self._fails_at:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.recorded.append(len(like))
        result = run(like)

        def replay(x):
            like[: len(x)].copy_(x)
            result.copy_(run(like))
            return result[: len(x)].clone()

        return replay


def batch(size, value=1.0):
    return torch.full((size, 3, 4, 4), value) + torch.arange(size).view(size, 1, 1, 1)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 16, 17, 32])
def test_a_batch_is_padded_to_the_next_recorded_size(size):
    recorder = Recorder()
    graphs = Graphs(Network(), recorder)

    for value in (1.0, 7.0):
        assert torch.equal(graphs(batch(size, value)), batch(size, value).sum(1, keepdim=True))
    assert recorder.recorded == [min(each for each in SIZES if each >= size)]


def test_results_survive_later_passes():
    graphs = Graphs(Network(), Recorder())
    first = graphs(batch(3, 1.0))
    graphs(batch(4, 9.0))

    assert torch.equal(first, batch(3, 1.0).sum(1, keepdim=True))


def test_a_larger_batch_than_the_largest_recorded_one_runs_as_it_is():
    recorder, network = Recorder(), Network()

    assert len(Graphs(network, recorder)(batch(33))) == 33
    assert recorder.recorded == []
    assert network.sizes == [33]


def test_a_size_that_cannot_be_recorded_runs_as_it_is(caplog):
    network = Network()
    graphs = Graphs(network, Recorder(fails_at=(4,)))

    for _ in range(2):
        assert torch.equal(graphs(batch(3)), batch(3).sum(1, keepdim=True))
    assert network.sizes == [4] * WARM_UPS + [3, 3]
    (warning,) = caplog.records
    assert (warning.message, warning.batch_size) == ("graph not recorded", 4)
    assert "out of memory" in warning.cause


def test_an_error_of_the_network_is_its_own():
    class Failing(nn.Module):
        def forward(self, x):
            raise torch.OutOfMemoryError(f"no memory for {len(x)}")

    with pytest.raises(torch.OutOfMemoryError, match="no memory for 8"):
        Graphs(Failing(), Recorder())(batch(5))
