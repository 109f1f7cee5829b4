"""Equal images under several keys: the network runs once for them, and the bytes are equal."""

import io

import numpy as np
import pytest
from PIL import Image
from support.engine_harness import EngineHarness
from support.jobs import spec
from support.pictures import encoded, photo
from support.stand_ins import Valve
from support.until import until

from shared.errors import InferenceFailed
from shared.job.outputs import RecipeOutput
from shared.job.spec import ImageOutput
from shared.recipes import Recipe
from worker.engine.device_state import DeviceState
from worker.engine.shared_masks import SharedMasks
from worker.monitoring.metrics import Metrics

MODEL = "isnet-general-use"
SHOP = RecipeOutput(name="shop", recipe=Recipe(format="jpg", longest_px=48, background="#ffffff"))
PHOTO = encoded(photo(60, 40, seed=3), "JPEG")
OTHER = encoded(photo(60, 40, seed=4), "JPEG")
THIRD = encoded(photo(60, 40, seed=5), "JPEG")


@pytest.fixture
def harnesses():
    """Make harnesses that share masks, and end them with the test."""
    made = []

    def make(**changes):
        made.append(EngineHarness(**{"shared_bytes": 2**20} | changes))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def harness(harnesses):
    return harnesses()


def job(**changes):
    return spec(**{"rem_mode": MODEL} | changes)


def bodies(harness, prefix, key):
    """Return the bytes of what was made of a source, by kind."""
    found = [each for each in harness.store.keys("cutouts") if each.startswith(f"{prefix}/")]
    return {
        each.split("/")[1]: harness.store.get("cutouts", each).data
        for each in found
        if each.split("/")[-1].startswith(key)
    }


@pytest.mark.parametrize("outputs", [(), (SHOP,)])
def test_an_equal_image_makes_no_forward_pass_and_gets_the_same_bytes(harnesses, outputs):
    harness, alone = harnesses(), harnesses(shared_bytes=0)
    for each in (harness, alone):
        each.put("a.jpg", PHOTO)
        each.put("b.jpg", PHOTO)
        each.made = [each.record(key, job=job(outputs=outputs)) for key in ("a.jpg", "b.jpg")]

    assert (harness.segmenter.batches, alone.segmenter.batches) == ([1], [1, 1])
    assert [each.mask for each in harness.made] == [None, "shared"]
    assert [each.mask for each in alone.made] == [None, None]
    assert [each.qc for each in harness.made] == [each.qc for each in alone.made]
    assert harness.made[1].outputs == alone.made[1].outputs
    made = bodies(harness, "ComfyUI", "b.jpg")
    assert set(made) == {"mask", "cutout", *(each.name for each in outputs)}
    assert made == bodies(alone, "ComfyUI", "b.jpg")
    assert made["mask"] == bodies(harness, "ComfyUI", "a.jpg")["mask"]


def test_equal_images_of_one_batch_make_one_pass(harness):
    valve = Valve()
    harness.segmenter.before = lambda batch: valve() if batch else None
    for key, data in {"first.jpg": OTHER, "a.jpg": PHOTO, "b.jpg": PHOTO, "c.jpg": PHOTO}.items():
        harness.put(key, data)
    harness.offer("first.jpg")
    valve.wait_for_one()
    for key in ("a.jpg", "b.jpg", "c.jpg"):
        harness.offer(key)
    until(lambda: harness.waiting_for_batch() == 3)
    valve.open()
    harness.wait()

    assert harness.segmenter.batches == [1, 1]
    records = [harness.outcomes[key].record for key in ("a.jpg", "b.jpg", "c.jpg")]
    assert [each.mask for each in records] == [None, "shared", "shared"]
    assert len({bodies(harness, "ComfyUI", each)["mask"] for each in ("a.jpg", "b.jpg")}) == 1


class CountingDevice(DeviceState):
    """Counts the images that show that the device works."""

    runs = 0

    def ran(self):
        self.runs += 1
        super().ran()


def test_an_image_shares_the_output_of_one_that_is_not_rendered_yet(harnesses):
    """It was decoded before the other one went through the network."""
    harness = harnesses(device=CountingDevice(lambda: True))
    valve, network = Valve(), Valve()
    finish = harness.segmenter.finish

    def finish_later(output, *size, **options):
        valve()
        return finish(output, *size, **options)

    harness.segmenter.batch_size = 1
    harness.segmenter.before = lambda _batch: network()
    harness.segmenter.finish = finish_later
    harness.put("a.jpg", PHOTO)
    harness.put("b.jpg", PHOTO)
    harness.offer("a.jpg")
    network.wait_for_one()
    harness.offer("b.jpg")
    until(lambda: harness.waiting_for_batch() == 1)
    network.open()
    valve.wait_for_one()
    valve.wait_for_one()
    valve.open()
    harness.wait()

    assert harness.segmenter.batches == [1]
    assert [harness.outcomes[key].record.mask for key in ("a.jpg", "b.jpg")] == [None, "shared"]
    assert harness.engine.device.runs == 1, "the second image shows nothing about the device"


def test_an_image_that_waited_for_the_network_gets_the_mask_that_was_kept_meanwhile(harness):
    """It was decoded before the mask was there, and the output is gone when its turn comes."""
    first, third = Valve(), Valve()
    valves = iter([first, lambda: None, third])
    harness.segmenter.batch_size = 1
    harness.segmenter.before = lambda _batch: next(valves)()
    offered = {"1.jpg": OTHER, "a.jpg": PHOTO, "3.jpg": THIRD, "b.jpg": PHOTO}
    for waiting, (key, data) in enumerate(offered.items()):
        harness.put(key, data)
        harness.offer(key)
        if waiting:
            until(lambda expected=waiting: harness.waiting_for_batch() == expected)
        else:
            first.wait_for_one()
    first.open()
    third.wait_for_one()
    harness.wait(2)
    assert set(harness.outcomes) == {"1.jpg", "a.jpg"}
    third.open()
    harness.wait()

    assert harness.segmenter.batches == [1, 1, 1]
    assert harness.outcomes["b.jpg"].record.mask == "shared"
    made = [bodies(harness, "ComfyUI", key) for key in ("a.jpg", "b.jpg")]
    assert made[0] == made[1]


DIFFERENCES = {
    "other bytes": {"data": OTHER},
    "another job": {"job_id": "k"},
    "a later round": {"generation": 2},
}


@pytest.mark.parametrize("changes", DIFFERENCES.values(), ids=DIFFERENCES)
def test_a_mask_of_something_else_is_not_shared(harness, changes):
    harness.put("a.jpg", PHOTO)
    harness.record("a.jpg")
    changes = dict(changes)
    harness.put("b.jpg", changes.pop("data", PHOTO))

    record = harness.record("b.jpg", **changes)

    assert (record.mask, harness.segmenter.batches) == (None, [1, 1])


def test_a_mask_with_transparency_is_shared_as_it_is(harness):
    """The kept mask is the final one, with the alpha of the image already in it."""
    pixels = np.dstack([photo(60, 40), np.full((40, 60), 128, np.uint8)])
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    for key in ("a.png", "b.png"):
        harness.put(key, file.getvalue())

    records = [harness.record(key, job=job()) for key in ("a.png", "b.png")]

    assert [each.mask for each in records] == [None, "shared"]
    masks = {bodies(harness, "ComfyUI", key)["mask"] for key in ("a.png", "b.png")}
    assert len(masks) == 1
    assert np.asarray(Image.open(io.BytesIO(masks.pop()))).max() <= 128


@pytest.mark.parametrize(
    "changes",
    [
        {"has_mask": False},
        {"image_output": ImageOutput.HIDE},
    ],
    ids=["no mask", "hidden"],
)
def test_a_mask_that_is_not_written_is_not_kept(harness, changes):
    for key in ("a.jpg", "b.jpg"):
        harness.put(key, PHOTO)

    records = [harness.record(key, job=job(**changes)) for key in ("a.jpg", "b.jpg")]

    assert [each.mask for each in records] == [None, None]


def test_an_equal_image_of_one_that_failed_goes_through_the_network(harness):
    for key in ("a.jpg", "b.jpg", "c.jpg"):
        harness.put(key, PHOTO)

    def fail(_batch):
        raise InferenceFailed("simulated")

    harness.segmenter.before = fail
    failed = harness.record("a.jpg")
    harness.segmenter.before = lambda _batch: None

    assert failed.state == "failed"
    assert [harness.record(key).mask for key in ("b.jpg", "c.jpg")] == [None, "shared"]


def test_masks_that_were_used_last_are_kept_within_the_limit(harnesses):
    size_bytes = len(_mask_of(harnesses(), PHOTO))
    harness = harnesses(shared_bytes=3 * size_bytes)
    photos = [encoded(photo(60, 40, seed=n), "JPEG") for n in range(12)]
    shared = []
    for n, data in enumerate([PHOTO, *photos]):
        harness.put(f"{n}.jpg", data)
        harness.record(f"{n}.jpg")
        harness.put(f"{n} again.jpg", PHOTO)
        shared.append(harness.record(f"{n} again.jpg").mask)

    assert shared == ["shared"] * 13, "it was used each time"
    harness.put("early.jpg", photos[0])
    assert harness.record("early.jpg").mask is None


def test_a_mask_above_the_limit_does_not_make_others_go(harness):
    mask = _mask_of(harness, PHOTO)
    shared = SharedMasks(len(mask))

    shared.keep("small", mask, 0.1, 0.9)
    shared.keep("large", bytes(len(mask) + 1), 0.0, 1.0)

    assert shared.find_mask("large", 40, 60) is None
    found = shared.find_mask("small", 40, 60)
    assert (found.low, found.high, found.mask.shape) == (0.1, 0.9, (40, 60))


def _mask_of(harness, data):
    harness.put("x.jpg", data)
    harness.record("x.jpg")
    return bodies(harness, "ComfyUI", "x.jpg")["mask"]


def test_nothing_is_held_once_the_items_have_left(harness):
    for n in range(20):
        harness.put(f"{n}.jpg", PHOTO if n % 2 else OTHER)

    harness.run(*[f"{n}.jpg" for n in range(20)])

    assert sum(harness.segmenter.batches) == 2
    assert (harness.engine.holdings.pixels.held, harness.engine.holdings.bytes.held) == (0, 0)


def test_masks_are_counted_by_origin(harnesses):
    metrics = Metrics(())
    harness = harnesses(observers=(metrics,))
    for key in ("a.jpg", "b.jpg", "c.jpg"):
        harness.put(key, PHOTO)
        harness.record(key)

    value = metrics.registry.get_sample_value
    counts = {
        origin: value("rmbg_masks_total", {"origin": origin})
        for origin in ("network", "alpha", "reused", "shared")
    }
    assert counts == {"network": 1, "alpha": 0, "reused": 0, "shared": 2}
