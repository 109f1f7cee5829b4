"""Streams: a CPU's pictures side by side, each on its share of the threads."""

import gc
import threading
import time
import weakref

import pytest
import torch
from support.photographs import NAMES, photograph

from worker.inference.architectures.isnet.network import Network
from worker.inference.segmenter import Segmenter
from worker.inference.streams import Streams

MEET_S = 20


THREADS = 4


@pytest.fixture(autouse=True)
def torch_as_it_was():
    """Threads that torch does not know get the number that was set last, in other tests too."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class Running:
    """Counts passes that run at the same time."""

    def __init__(self):
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __enter__(self):
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_):
        with self._lock:
            self.now -= 1


def levels(*values):
    return [torch.full((2, 2), float(value)) for value in values]


def in_a_new_thread(call):
    found = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join(MEET_S)
    return found[0]


def test_pictures_run_at_the_same_time():
    """Each waits for the other: one after the other, neither would end."""
    meeting = threading.Barrier(2)

    def run(pictures):
        meeting.wait(MEET_S)
        return list(pictures)

    assert len(Streams(run, THREADS)(levels(1, 2))) == 2


@pytest.mark.parametrize(
    ("pictures", "threads"), [(1, {4}), (2, {2}), (3, {1}), (8, {1}), (9, {1, 4}), (10, {1, 2})]
)
def test_threads_are_shared_out_and_never_more_than_there_are(pictures, threads):
    seen = []
    running = Running()

    def run(batch):
        with running:
            time.sleep(0.05)
            seen.append((torch.get_num_threads(), running.now))
        return list(batch)

    Streams(run, THREADS)(levels(*range(pictures)))

    assert {share for share, _ in seen} == threads
    assert max(share * at_once for share, at_once in seen) <= THREADS


def test_no_more_run_at_once_than_it_was_told():
    running, shares = Running(), []

    def run(batch):
        with running:
            time.sleep(0.05)
            shares.append(torch.get_num_threads())
        return list(batch)

    streams = Streams(run, THREADS)
    streams.at_once = 2
    streams(levels(1, 2, 3, 4))

    assert running.most == 2
    assert shares == [2] * 4


def test_a_picture_alone_has_all_threads_also_after_others_had_their_shares():
    """Torch gives a thread that it does not know the number that was set last, by any other."""
    streams = Streams(lambda _: [torch.get_num_threads()], THREADS)
    streams(levels(1, 2))

    assert in_a_new_thread(lambda: streams(levels(3))) == [4]


def test_outputs_come_in_the_order_of_the_batch_however_long_each_takes():
    def run(batch):
        (level,) = batch
        time.sleep(0.1 - 0.01 * float(level[0, 0]))
        return [level * 10]

    outputs = Streams(run, THREADS)(levels(0, 3, 9, 6, 8))

    assert [float(output[0, 0]) for output in outputs] == [0, 30, 90, 60, 80]


def test_a_failure_is_told_when_all_passes_have_ended():
    """Otherwise a batch tried again would run beside what is left of the first try."""
    ended = []

    def run(batch):
        if batch[0][0, 0] == 1:
            raise MemoryError("no room for 1")
        time.sleep(0.2)
        ended.append(1)
        return list(batch)

    with pytest.raises(MemoryError, match="no room for 1"):
        Streams(run, THREADS)(levels(1, 2, 3))
    assert len(ended) == 2


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Made-up weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "model.pth"
    torch.save(Network().state_dict(), path)
    return path


def test_a_loaded_segmenter_takes_no_more_threads_than_it_may_nor_than_torch_has(weights):
    taken = [Segmenter.load(weights, device="cpu", threads=n).threads for n in (None, 1, 10_000)]

    assert taken == [torch.get_num_threads(), 1, torch.get_num_threads()]


def test_a_model_loaded_beside_a_batch_has_all_threads_too(weights):
    """It is loaded by a thread that torch does not know, which is told one picture's share."""
    Streams(list, THREADS)(levels(1, 2, 3, 4))
    loaded = in_a_new_thread(lambda: Segmenter.load(weights, device="cpu"))

    assert loaded.threads == torch.get_num_threads()


def test_what_failed_passes_held_is_gone_at_once():
    """Fewer pictures are tried next, and there was no memory for these."""
    held = []

    def run(batch):
        activations = torch.zeros(9)
        held.append(weakref.ref(activations))
        raise MemoryError(f"no room for {len(activations)}")

    gc.disable()
    try:
        with pytest.raises(MemoryError):
            Streams(run, THREADS)(levels(1, 2))
        assert [one() for one in held] == [None, None]
    finally:
        gc.enable()


def test_a_loaded_segmenter_answers_the_same_side_by_side_as_alone(weights):
    """A picture's mask must not depend on the company it had."""
    segmenter = Segmenter.load(weights, device="cpu")
    segmenter.run_side_by_side(segmenter.threads)
    prepared = [segmenter.prepare(photograph(name)) for name in NAMES[:3]]
    alone = [segmenter.forward([one])[0] for one in prepared]
    together = segmenter.forward(prepared)

    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize(("at_once", "batch_size"), [(1, 1), (2, 4)])
def test_a_batch_has_two_pictures_for_each_of_several_passes(weights, at_once, batch_size):
    segmenter = Segmenter.load(weights, device="cpu", threads=2)

    segmenter.run_side_by_side(at_once)

    assert segmenter.batch_size == batch_size


def test_a_batch_on_a_cpu_that_does_not_fit_is_halved():
    """Side by side as in one pass: the fewer at once, the less memory they take."""
    running = Running()

    class Tight(torch.nn.Module):
        def forward(self, x):
            with running:
                time.sleep(0.3)
                if running.now > 1:
                    raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            return x.mean(1, keepdim=True).float()

    segmenter = Segmenter(
        Tight(),
        device=torch.device("cpu"),
        dtype=torch.float32,
        weights_sha256="0" * 64,
        batch_size=2,
        threads=2,
    )
    outputs = segmenter.forward([torch.zeros(3, 8, 8, dtype=torch.uint8)] * 4)

    assert len(outputs) == 4
    assert running.most == 2
