"""Streams: parallel passes on a CPU, each on its share of the threads."""

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
import torch
from support.photographs import NAMES, photograph

from worker.inference.architectures.isnet.network import Network
from worker.inference.segmenter import Segmenter
from worker.inference.streams import Streams

DEADLINE_S = 20
THREADS = 4


@pytest.fixture(autouse=True)
def restored_threads():
    """Restore torch's number of threads, which new threads of other tests would get."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class Running:
    """Counts concurrent passes."""

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
    results = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    thread.join(DEADLINE_S)
    return results[0]


def test_images_run_concurrently():
    """Each pass waits for the other one."""
    both = threading.Barrier(2)

    def run(batch):
        both.wait(DEADLINE_S)
        return list(batch)

    assert len(Streams(run, THREADS)(levels(1, 2))) == 2


@pytest.mark.parametrize(
    ("images", "passes_by_share"),
    [(1, {4: 1}), (2, {2: 2}), (3, {1: 3}), (8, {1: 4}), (9, {1: 4, 4: 1}), (10, {1: 4, 2: 2})],
)
def test_concurrent_passes_divide_the_threads_and_never_use_more(images, passes_by_share):
    """Passes with the same share wait for each other, so that all of them are concurrent."""
    meetings = {share: threading.Barrier(passes) for share, passes in passes_by_share.items()}
    running, seen = Running(), []

    def run(batch):
        with running:
            share = torch.get_num_threads()
            meetings[share].wait(DEADLINE_S)
            seen.append((share, running.now))
        return list(batch)

    Streams(run, THREADS)(levels(*range(images)))

    assert {share for share, _ in seen} == set(passes_by_share)
    assert max(share * now for share, now in seen) <= THREADS


def test_no_more_passes_than_configured_run_at_once():
    running, shares, both = Running(), [], threading.Barrier(2)

    def run(batch):
        with running:
            both.wait(DEADLINE_S)
            shares.append(torch.get_num_threads())
        return list(batch)

    streams = Streams(run, THREADS)
    streams.at_once = 2
    streams(levels(1, 2, 3, 4))

    assert running.most == 2
    assert shares == [2] * 4


def test_a_single_image_gets_all_threads_after_others_had_their_shares():
    """Torch gives a new thread the number that any other thread set last."""
    streams = Streams(lambda _: [torch.get_num_threads()], THREADS)
    streams(levels(1, 2))

    assert in_a_new_thread(lambda: streams(levels(3))) == [4]


def test_outputs_are_in_the_order_of_the_batch_if_passes_end_in_reverse():
    ended = [threading.Event() for _ in range(THREADS + 1)]
    ended[THREADS].set()

    def run(batch):
        number = int(batch[0][0, 0])
        assert ended[number + 1].wait(DEADLINE_S)
        ended[number].set()
        return [batch[0] * 10]

    outputs = Streams(run, THREADS)(levels(*range(THREADS)))

    assert [float(output[0, 0]) for output in outputs] == [0, 10, 20, 30]


def test_an_error_is_raised_after_all_passes_have_ended():
    """Otherwise a retry of the batch would run while passes of the first attempt still do."""
    failed, proceed, ended = threading.Event(), threading.Event(), []

    def run(batch):
        if batch[0][0, 0] == 1:
            failed.set()
            raise MemoryError("no memory for 1")
        assert proceed.wait(DEADLINE_S)
        ended.append(1)
        return list(batch)

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(Streams(run, THREADS), levels(1, 2, 3))
        assert failed.wait(DEADLINE_S)
        raised_early = wait([call], timeout=0.2).done
        proceed.set()

        with pytest.raises(MemoryError, match="no memory for 1"):
            call.result(DEADLINE_S)
    assert not raised_early
    assert len(ended) == 2


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Return a file of random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "model.pth"
    torch.save(Network().state_dict(), path)
    return path


def test_a_loaded_segmenter_uses_at_most_the_threads_of_torch_and_of_its_limit(weights):
    taken = [Segmenter.load(weights, device="cpu", threads=n).threads for n in (None, 1, 10_000)]

    assert taken == [torch.get_num_threads(), 1, torch.get_num_threads()]


def test_a_model_loaded_after_a_batch_uses_all_threads(weights):
    """The new thread that loads it gets the share of one image from torch."""
    Streams(list, THREADS)(levels(1, 2, 3, 4))
    loaded = in_a_new_thread(lambda: Segmenter.load(weights, device="cpu"))

    assert loaded.threads == torch.get_num_threads()


def test_the_memory_of_failed_passes_is_released_at_once():
    """The retry with fewer images needs it."""
    held = []

    def run(batch):
        activations = torch.zeros(9)
        held.append(weakref.ref(activations))
        raise MemoryError(f"no memory for {len(activations)}")

    gc.disable()
    try:
        with pytest.raises(MemoryError):
            Streams(run, THREADS)(levels(1, 2))
        assert [one() for one in held] == [None, None]
    finally:
        gc.enable()


def test_parallel_passes_give_the_same_outputs_as_single_images(weights):
    """An image's mask must not depend on the other images of its batch."""
    segmenter = Segmenter.load(weights, device="cpu")
    segmenter.set_parallel_images(segmenter.threads)
    prepared = [segmenter.prepare(photograph(name)) for name in NAMES[:3]]
    alone = [segmenter.forward([one])[0] for one in prepared]
    together = segmenter.forward(prepared)

    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize(("images", "batch_size"), [(1, 1), (2, 4)])
def test_a_batch_has_two_images_per_parallel_pass(weights, images, batch_size):
    segmenter = Segmenter.load(weights, device="cpu", threads=2)

    segmenter.set_parallel_images(images)

    assert segmenter.batch_size == batch_size


def test_a_given_batch_size_wins_over_what_parallel_passes_suggest(weights):
    segmenter = Segmenter.load(weights, device="cpu", threads=2, batch_size=3)

    segmenter.set_parallel_images(2)

    assert segmenter.batch_size == 3


def test_a_batch_of_parallel_passes_that_does_not_fit_is_halved():
    """Fewer concurrent passes take less memory; here only a pass with all threads fits."""
    both, failures = threading.Barrier(2), []

    class Tight(torch.nn.Module):
        def forward(self, x):
            if torch.get_num_threads() == 1:
                both.wait(DEADLINE_S)
                failures.append(1)
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
    assert len(failures) == 2
