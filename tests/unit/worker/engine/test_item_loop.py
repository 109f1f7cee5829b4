"""The loop over the items: what a step leaves in memory when its permits are released."""

import random
import weakref
from queue import SimpleQueue

import pytest
from support.jobs import spec
from support.memory_store import MemoryStore
from support.stand_ins import QuickImaging, stand_in_model

from shared.errors import UndecodableImage
from worker.engine.circuit_breaker import CircuitBreakers
from worker.engine.device_state import DeviceState
from worker.engine.failure_policy import RetryLimits
from worker.engine.holdings import Holdings
from worker.engine.inflight import InFlight
from worker.engine.item import ItemRequest, Resource
from worker.engine.item_loop import ItemLoop
from worker.engine.payloads import Downloaded, Rendered
from worker.engine.scheduler import StageScheduler
from worker.engine.stage import Executor, Step
from worker.engine.stages import build_stages
from worker.engine.store_access import StoreAccess
from worker.lifecycle import FailureCounter, Shutdown
from worker.storage import NOTHING, EncodedOutput, OutputWriter

BIG_PX = 10**6


class WatchedHoldings(Holdings):
    """Permits that note whether the watched object is in memory when its bytes are released."""

    def __init__(self, scheduler):
        super().__init__(scheduler, budget_px=BIG_PX, budget_bytes=100)
        self.watched = lambda: None
        self.alive = []

    def settle(self, item, payload):
        was_alive, before = self.watched() is not None, item.held[Resource.BYTES]
        super().settle(item, payload)
        self._note(before - item.held[Resource.BYTES], was_alive)

    def release(self, item):
        was_alive, before = self.watched() is not None, item.held[Resource.BYTES]
        super().release(item)
        self._note(before, was_alive)

    def _note(self, released, was_alive):
        if released > 0:
            self.alive.append(was_alive)


class Loop:
    """An item loop without threads: the test runs each step itself."""

    def __init__(self, imaging):
        shutdown, self.inflight = Shutdown(), InFlight(1)
        threads = {each: 1 for each in Executor if each is not Executor.DEVICE}
        scheduler = StageScheduler(self.inflight, max_batch_wait_s=0, threads=threads)
        writer = OutputWriter(MemoryStore(), max_bytes=1000)
        self.stages = build_stages(writer, imaging, version="9.9")
        self.holdings = WatchedHoldings(scheduler)
        self.results = SimpleQueue()
        self._loop = ItemLoop(
            stages=self.stages,
            scheduler=scheduler,
            inflight=self.inflight,
            holdings=self.holdings,
            access=StoreAccess(CircuitBreakers(), FailureCounter("probe", shutdown)),
            device=DeviceState(lambda: True),
            retries=RetryLimits(),
            shutdown=shutdown,
            observers=(),
            rng=random.Random(1),
        )

    def run(self, payload):
        """Run the stage that accepts a payload, and hold its step as a thread does.

        Args:
            payload: In a list, which is emptied, so that only the step refers to it.
        """
        model = stand_in_model()
        request = ItemRequest(
            job_id="j",
            sequence=7,
            spec=spec(rem_mode=model.name),
            index=0,
            image_key="a.jpg",
            model=model,
        )
        item = self.inflight.enter(request, self.results, timeout_s=0)
        stage = next(each for each in self.stages if each.accepts is type(payload[0]))
        self.holdings.settle(item, payload[0])
        step = Step(item, stage, payload.pop())
        if stage.resource is Resource.PIXELS:
            item.held[Resource.PIXELS] = 64
        self._loop.run_step(step)
        return step


class Tracked(bytearray):
    """Bytes that a weak reference can follow."""


def refuse(data, *_, **__):
    raise UndecodableImage(f"{len(data)} bytes")


def refuse_in_steps(data, *_, **__):
    """Raise an error of ours for one of a library, whose traceback has frames of its own."""
    try:
        refuse(data)
    except UndecodableImage as err:
        raise UndecodableImage("it cannot be decoded") from err


def break_in_steps(data, *_, **__):
    """Raise a second error while the first is handled."""
    try:
        refuse(data)
    except UndecodableImage:
        raise ValueError("unexpected")  # noqa: B904 - it has a context and no cause


DECODERS = {
    "decoded": lambda _data, options, *, isolate: QuickImaging().decode(
        b"x", options, isolate=isolate
    ),
    "refused": refuse,
    "refused because of another error": refuse_in_steps,
    "failed while another error was handled": break_in_steps,
}


@pytest.mark.parametrize("decode", DECODERS.values(), ids=DECODERS)
def test_a_source_is_out_of_memory_before_its_bytes_are_released(decode):
    loop = Loop(QuickImaging(decode=decode))
    source = [Downloaded(NOTHING, Tracked(80))]
    loop.holdings.watched = weakref.ref(source[0].body)

    step = loop.run(source)

    assert loop.holdings.alive == [False], step.stage.name


def test_outputs_are_out_of_memory_before_their_bytes_are_released():
    loop = Loop(QuickImaging())
    rendered = [
        Rendered(
            present=NOTHING,
            outputs=tuple(
                EncodedOutput(name, {0: b"o" * 40}, "png", "image/png", "0" * 16)
                for name in ("mask", "cutout")
            ),
            previews=(),
            width_px=8,
            height_px=8,
            quality={"verdict": "ok"},
            notes=(),
            mask_hash="0" * 16,
            mask_origin="network",
            failed={},
        )
    ]
    loop.holdings.watched = weakref.ref(rendered[0])

    step = loop.run(rendered)

    assert loop.holdings.alive == [False], step.stage.name
    assert loop.results.get_nowait().outcome.record.state == "done"
