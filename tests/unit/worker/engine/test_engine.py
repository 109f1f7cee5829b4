"""The engine: real imaging, a stand-in network, a store in memory."""

import gc
import io
import json
import threading
import weakref

import numpy as np
import pytest
from PIL import Image
from support.engine_harness import MAX_BYTES, EngineHarness, patient_breakers
from support.jobs import spec
from support.pictures import encoded, exif, header_only, photo, plain
from support.stand_ins import QuickImaging, Valve, stand_in_model
from support.until import until

from shared.errors import DeviceLost, RequestRefused, StoreUnavailable, UndecodableImage
from shared.job.options import PictureOptions
from shared.job.spec import Existing, ImageOutput, Naming
from shared.objects.object_metadata import PARAMS
from worker.engine.circuit_breaker import Direction, Target
from worker.engine.device_state import DeviceState
from worker.engine.observer import Observer
from worker.engine.payloads import Deferred, Finished
from worker.engine.preview_selection import PreviewSelection
from worker.engine.stage import Executor
from worker.lifecycle import UNFIT_EXIT, Phase

READING, WRITING = Target("inbox", Direction.READ), Target("cutouts", Direction.WRITE)


@pytest.fixture
def harnesses():
    """Make harnesses, and end them with the test."""
    made = []

    def make(**details):
        made.append(EngineHarness(**details))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def harness(harnesses):
    return harnesses()


@pytest.fixture
def quicks(harnesses):
    """Make harnesses that take any bytes for an image, for tests that are not about pixels."""

    def make(**details):
        made = harnesses(**{"imaging": QuickImaging()} | details)
        made.image = lambda key: made.put(key, key.encode())
        return made

    return make


@pytest.fixture
def quick(quicks):
    return quicks()


def states(outcomes):
    return [outcome.record.state for outcome in outcomes]


def hold_device(harness):
    """Block the next forward pass; return the valve once a pass waits there."""
    harness.segmenter.before = valve = Valve()
    harness.offer(harness.image("first.jpg"))
    valve.wait_for_one()
    return valve


def opened(harness, key):
    return Image.open(io.BytesIO(harness.store.get("cutouts", key).data))


# --- one image


def test_an_image_becomes_a_cutout_a_mask_and_a_record(harness):
    record = harness.record(harness.image("shop/a.jpg", width=60, height=40))

    assert (record.state, record.image_key, record.index) == ("done", "shop/a.jpg", 0)
    assert (record.width, record.height, record.attempts) == (60, 40, 1)
    assert record.cutout_key == "ComfyUI/cutout/shop/a.jpg.png"
    assert record.mask_key == "ComfyUI/mask/shop/a.jpg.png"
    assert (record.device, record.weights_sha256) == ("stand-in", "5" * 64)
    assert (record.model, record.licence) == ("isnet-general-use", "none")
    assert record.qc["verdict"] in ("ok", "review", "reject")
    cutout, mask = opened(harness, record.cutout_key), opened(harness, record.mask_key)
    assert (cutout.mode, cutout.size, mask.mode, mask.size) == ("RGBA", (60, 40), "L", (60, 40))
    assert np.array_equal(np.asarray(cutout)[..., 3], np.asarray(mask))


def test_the_record_holds_the_verdict(harness):
    [outcome] = harness.run(harness.image("a.jpg"))

    assert outcome.record.verdict == outcome.record.qc["verdict"]


def test_outputs_carry_the_texts_of_the_job_and_the_model(harness):
    prompt, extra = {"3": {"class_type": "LoadImage"}}, {"workflow": {"nodes": [1]}}
    job = spec(rem_mode="isnet-general-use", prompt=prompt, extra_pnginfo=extra)

    record = harness.record(harness.image("a.jpg"), job=job)

    for key in (record.cutout_key, record.mask_key):
        texts = opened(harness, key).text
        assert json.loads(texts["prompt"]) == prompt
        assert json.loads(texts["workflow"]) == extra["workflow"]
        assert json.loads(texts["rmbg"]) == {
            "model": "isnet-general-use",
            "weights_sha256": "5" * 64,
            "version": "9.9",
            "params": job.params_hash,
        }


def test_a_hidden_output_is_judged_and_not_written(harness):
    record = harness.record(harness.image("a.jpg"), job=spec(image_output=ImageOutput.HIDE))

    assert (record.state, record.cutout_key, record.mask_key) == ("done", None, None)
    assert record.qc["verdict"]
    assert harness.store.keys("cutouts") == []


def test_a_preview_is_written_under_the_prefix_of_previews(harness):
    job = spec(image_output=ImageOutput.PREVIEW, date="2026-11-23")

    harness.record(harness.image("a.jpg"), job=job)

    where = "_preview/2026-11-23/j/easyPreview"
    assert harness.store.keys("cutouts") == [f"{where}/cutout/a.jpg.png", f"{where}/mask/a.jpg.png"]


def test_counted_names_use_the_size_and_number_of_the_image(harness):
    job = spec(naming=Naming.COMFYUI, counter_base=5, save_prefix="out/%width%w")

    harness.record(harness.image("a.jpg", width=60, height=40), job=job)

    assert harness.store.keys("cutouts") == ["out/60w_00005_.png", "out/60w_mask_00005_.png"]


def test_a_doubtful_cutout_is_copied_for_review(harness):
    """The stand-in finds no subject in a plain bright image."""
    bright = encoded(plain((255, 255, 255), 40, 40), "PNG")
    harness.put("empty.png", bright)
    job = spec(review_prefix="look")

    harness.run("empty.png", job=job)

    copy = harness.store.get("cutouts", "look/empty.png.png").data
    assert copy == harness.store.get("cutouts", "ComfyUI/cutout/empty.png.png").data


def test_a_cutout_without_doubt_is_not_copied(quick):
    quick.record(quick.image("a.jpg"), job=spec(review_prefix="look"))

    assert not [key for key in quick.store.keys("cutouts") if key.startswith("look")]


def transparent():
    image = np.dstack([photo(40, 40), np.full((40, 40), 255, np.uint8)])
    image[:, :20, 3] = 0
    return encoded(image, "PNG", "RGBA")


def test_the_transparency_of_a_source_is_kept_or_ignored_as_configured(harness):
    harness.put("half.png", transparent())
    ignored = spec(options=PictureOptions(alpha="ignore"), save_prefix="ignored")

    kept = opened(harness, harness.record("half.png").mask_key)
    dropped = opened(harness, harness.record("half.png", job=ignored).mask_key)

    assert not np.asarray(kept)[:, :20].any()
    assert np.asarray(kept)[:, 20:].any()
    assert np.asarray(dropped)[:, 20:].any()


def cut_out(*, soft=False):
    """Return a grey disc with alpha on a transparent ground, and its alpha."""
    y, x = np.mgrid[0:60, 0:60] - 30.0
    alpha = np.clip((18 - np.hypot(x, y)) * (6 if soft else 120) + 100, 0, 254).astype(np.uint8)
    pixels = np.full((60, 60, 4), 180, np.uint8)
    pixels[..., 3] = alpha
    return encoded(pixels, "PNG", "RGBA"), alpha


def test_the_alpha_of_a_cutout_is_its_mask_without_a_forward_pass(harness):
    """A new mask multiplied into it took solid parts away."""
    data, alpha = cut_out()
    harness.put("cut.png", data)

    record = harness.record("cut.png")

    assert np.array_equal(np.asarray(opened(harness, record.mask_key)), alpha)
    cutout = np.asarray(opened(harness, record.cutout_key))
    assert np.array_equal(cutout[..., 3], alpha)
    assert (cutout[alpha > 0, :3] == 180).all()
    assert harness.segmenter.batches == []
    assert (record.notes, record.qc["mask_from"]) == (("already cut out",), "alpha")
    assert record.verdict == "ok"


def test_the_alpha_of_a_cutout_is_multiplied_or_ignored_as_configured(harness):
    data, alpha = cut_out()
    harness.put("cut.png", data)
    jobs = [
        spec(options=PictureOptions(alpha=choice), save_prefix=choice)
        for choice in ("multiply", "keep", "ignore")
    ]

    multiplied, kept, ignored = (
        np.asarray(opened(harness, harness.record("cut.png", job=job).mask_key)) for job in jobs
    )

    assert harness.segmenter.batches == [1, 1, 1]
    assert not multiplied[alpha == 0].any()
    assert not np.array_equal(multiplied, alpha)
    assert np.array_equal(multiplied, kept)
    assert ignored[alpha == 0].any() or not np.array_equal(ignored, multiplied)


def test_other_transparency_is_multiplied_into_the_mask(harness):
    harness.put("half.png", transparent())
    harness.put("soft.png", cut_out(soft=True)[0])

    for key in ("half.png", "soft.png"):
        record = harness.record(key)
        assert "mask_from" not in record.qc
        assert "already cut out" not in record.notes
    assert harness.segmenter.batches == [1, 1]


def test_a_solid_cutout_has_no_nearly_opaque_pixels_and_the_mask_keeps_them(harness):
    image = np.full((64, 64, 3), 2, np.uint8)  # dark, of which the stand-in makes 253
    image[:, 32:] = 252
    harness.put("a.png", encoded(image, "PNG"))
    plain_job = spec(rem_mode=harness.model.name)
    solid_job = spec(options=PictureOptions(solid="on"), save_prefix="solid")

    plain, made = (harness.record("a.png", job=job) for job in (plain_job, solid_job))

    masks = [np.asarray(opened(harness, each.mask_key)) for each in (plain, made)]
    alphas = [np.asarray(opened(harness, each.cutout_key))[..., 3] for each in (plain, made)]
    assert np.array_equal(masks[0], masks[1])
    assert np.array_equal(masks[0], alphas[0])
    assert {0, 255}.isdisjoint(masks[0].ravel().tolist())
    assert set(np.unique(alphas[1])) == {0, 255}
    assert plain.qc == made.qc


def test_outputs_carry_the_hash_that_applies_to_their_source(harness):
    """So that opaque sources are not rewritten when the option becomes the default."""
    harness.put("cut.png", cut_out()[0])
    harness.put("half.png", transparent())
    job = spec(rem_mode=harness.model.name)
    expected = {
        harness.image("a.jpg"): job.params_hash,
        "cut.png": job.params_hash_alpha,
        "half.png": job.params_hash_alpha,
    }

    for key, params_hash in expected.items():
        record = harness.record(key, job=job)
        written = harness.store.head("cutouts", record.cutout_key).metadata[PARAMS]
        about = json.loads(opened(harness, record.cutout_key).text["rmbg"])
        assert (written, about["params"]) == (params_hash, params_hash)


def test_a_redo_of_a_cutout_takes_the_record_from_the_bucket(harness):
    harness.put("cut.png", cut_out()[0])
    first = harness.record("cut.png")
    harness.fail_store("get", times=100, error=AssertionError("the source is read again"))

    again = harness.record("cut.png", redo=True)

    assert (again.state, again.qc) == ("done", first.qc)


def test_a_draining_process_finishes_an_image_that_needs_no_network(harnesses):
    data, _ = cut_out()
    held = harnesses()
    held.put("cut.png", data)
    imaging = held.imaging.decode

    def decode(*given, **named):
        decoded = imaging(*given, **named)
        held.drain()
        return decoded

    held.imaging.decode = decode

    [outcome] = held.run("cut.png")

    assert isinstance(outcome, Finished)


def test_resolution_and_copyright_of_a_source_are_kept_or_dropped_as_configured(harness):
    tags = Image.Exif()
    tags[0x8298] = "Ann"
    harness.put("a.jpg", encoded(photo(), "JPEG", dpi=(300, 300), exif=tags))
    kept, dropped = (
        spec(options=PictureOptions(metadata=choice), save_prefix=choice)
        for choice in ("copyright", "none")
    )

    outputs = [harness.record("a.jpg", job=job) for job in (kept, dropped)]

    for record, expected in zip(outputs, [((300, 300), "Ann"), (None, None)], strict=True):
        for key in (record.cutout_key, record.mask_key):
            image = opened(harness, key)
            dpi = image.info.get("dpi") and tuple(round(value) for value in image.info["dpi"])
            assert (dpi, image.text.get("Copyright")) == expected


# --- batches and order


def test_a_mask_does_not_depend_on_its_batch(harnesses):
    """Images of many sizes run one by one and in one batch."""
    single, batched = harnesses(), harnesses()
    sizes = [(40 + 7 * n, 90 - 5 * n) for n in range(12)]
    for harness in (single, batched):
        for n, (width, height) in enumerate(sizes):
            harness.image(f"{n}.jpg", width=width, height=height, seed=n)
    keys = [f"{n}.jpg" for n in range(12)]

    for key in keys:
        single.record(key)
    valve = hold_device(batched)
    for key in keys:
        batched.offer(key)
    until(lambda: batched.waiting_for_batch() == len(keys))
    valve.open()
    batched.wait()

    assert set(single.segmenter.batches) == {1}
    assert max(batched.segmenter.batches) == 12
    for key in keys:
        name = f"ComfyUI/mask/{key}.png"
        first = np.asarray(opened(single, name))
        assert np.array_equal(first, np.asarray(opened(batched, name)))
        assert len(np.unique(first)) > 5


def test_results_come_in_the_order_of_arrival(harnesses):
    """This holds with one thread per executor; with more, items may overtake one another."""
    harness = harnesses(imaging=QuickImaging(), io_threads=1, cpu_threads=1)
    keys = [f"{n}.jpg" for n in range(20)]
    for key in keys:
        harness.put(key, key.encode())

    harness.run(*keys)

    assert list(harness.outcomes) == keys


def test_urgent_items_go_before_all_others_that_wait(harnesses):
    harness = harnesses(
        model=stand_in_model(batch_size=1), imaging=QuickImaging(), io_threads=1, cpu_threads=1
    )
    for key in (*"abcdef", "first.jpg"):
        harness.put(key, key.encode())
    harness.image = lambda key: key
    valve = hold_device(harness)

    for key in "abc":
        harness.offer(key)
    harness.offer("d", urgent=True)
    until(lambda: harness.waiting_for_batch() == 4)
    valve.open()
    harness.wait()

    assert [key for key in harness.outcomes if key != "first.jpg"] == ["d", "a", "b", "c"]


def test_a_full_engine_takes_urgent_items_only(harnesses):
    harness = harnesses(imaging=QuickImaging(), max_items=1)
    for key in ("first.jpg", "b", "c"):
        harness.put(key)
    harness.image = lambda key: key
    valve = hold_device(harness)

    assert not harness.offer("b")
    assert harness.offer("b", urgent=True)
    valve.open()
    harness.wait()
    until(lambda: harness.engine.inflight.items == 0)

    assert harness.offer("c")


# --- errors of one item


def long_file(harness):
    harness.put("long.jpg", bytes(MAX_BYTES + 1))
    return "long.jpg"


def written(data):
    def put(harness):
        harness.put("bad.jpg", data)
        return "bad.jpg"

    return put


FAULTY = {
    "missing": (lambda _harness: "absent.jpg", "ObjectMissing"),
    "text": (written(b"this is a letter, not an image"), "UndecodableImage"),
    "no bytes": (written(b""), "UndecodableImage"),
    "torn": (written(encoded(photo(64, 64), "JPEG")[:700]), "UndecodableImage"),
    "too many pixels": (written(header_only("PNG", 2000, 2000)), "ImageTooLarge"),
    "too many bytes": (long_file, "ImageTooLarge"),
    "key that escapes": (lambda _harness: "../secret.jpg", "InvalidKey"),
    "key of a folder": (lambda _harness: "folder/", "InvalidKey"),
    "key too long for its output": (
        lambda harness: harness.image("/".join(["k" * 201] * 5)),
        "InvalidKey",
    ),
}


@pytest.mark.parametrize(("make", "error"), FAULTY.values(), ids=FAULTY)
def test_a_failed_item_does_not_affect_other_items(harness, make, error):
    before, after = harness.image("before.jpg"), harness.image("after.jpg")
    bad = make(harness)

    outcomes = harness.run(before, bad, after)

    assert states(outcomes) == ["done", "failed", "done"]
    record = outcomes[1].record
    assert record.error["class"] == error
    assert record.error["reason"]
    assert (record.image_key, record.attempts, record.cutout_key) == (bad, 1, None)


def test_a_failed_item_writes_no_output(harness):
    harness.run("absent.jpg")

    assert harness.store.keys("cutouts") == []


def test_existing_fail_fails_the_item(harness):
    job = spec(existing=Existing.FAIL)
    harness.store.put("cutouts", "ComfyUI/mask/a.jpg.png", b"x", content_type="image/png")

    record = harness.record(harness.image("a.jpg"), job=job)

    assert (record.state, record.error["class"]) == ("failed", "OutputExists")


class OddError(Exception):
    """An error of an unknown class."""


@pytest.mark.parametrize("step", ["prepare", "forward", "finish"])
def test_an_unknown_error_of_the_model_fails_that_item_only(harness, step):
    """A batch that fails in the forward pass is run again item by item."""
    real = getattr(harness.segmenter, step)

    def fail(first, *rest, **named):
        batch = first if step == "forward" else [first]
        if any(is_odd(each, *rest) for each in batch):
            raise OddError("out of order")
        return real(first, *rest, **named)

    def is_odd(given, *size):
        return (step == "finish" and size[0] == 21) or (step != "finish" and not given.any())

    setattr(harness.segmenter, step, fail)
    odd = encoded(plain((0, 0, 0), 21, 21), "PNG")
    harness.put("odd.png", odd)
    keys = harness.images(3)

    outcomes = harness.run(keys[0], "odd.png", *keys[1:])

    assert states(outcomes) == ["done", "failed", "done", "done"]
    assert outcomes[1].record.error == {"class": "OddError", "reason": "out of order"}


@pytest.mark.parametrize("step", ["count_pixels", "decode", "measure", "compose", "encode"])
def test_an_unknown_error_of_an_image_operation_fails_that_item_only(harnesses, step):
    imaging = QuickImaging()
    real, calls = getattr(imaging, step), []

    def fail(*given, **named):
        calls.append(given)
        if len(calls) == 2:
            raise OddError("out of order")
        return real(*given, **named)

    harness = harnesses(imaging=QuickImaging(**{step: fail}), io_threads=1, cpu_threads=1)
    for key in "abc":
        harness.put(key)

    outcomes = harness.run(*"abc")

    assert sorted(states(outcomes)) == ["done", "done", "failed"]
    [failed] = [each.record for each in outcomes if each.record.state == "failed"]
    assert failed.error == {"class": "OddError", "reason": "out of order"}


def test_a_network_that_returns_too_few_outputs_fails_its_batch_only(quick):
    real = quick.segmenter.forward
    quick.segmenter.forward = lambda batch: real(batch)[1:]
    quick.image("a")
    quick.image("b")
    assert states(quick.run("a", "b")) == ["failed", "failed"]

    quick.segmenter.forward = real

    assert states(quick.run("a")) == ["done"]


# --- transient errors


@pytest.mark.parametrize("call", ["get", "put"])
def test_a_short_outage_of_the_store_costs_attempts_and_no_item(quick, call):
    key = quick.image("a")
    quick.fail_store(call, times=3)

    record = quick.record(key)

    assert (record.state, record.attempts) == ("done", 4)


def test_a_long_outage_does_not_use_up_attempts(quick):
    """From the fifth failure in a row on, no attempt is counted."""
    keys = [quick.image(f"{n}") for n in range(6)]
    quick.fail_store("get", "check", times=120)

    outcomes = quick.run(*keys)

    assert states(outcomes) == ["done"] * 6
    assert sum(outcome.record.attempts - 1 for outcome in outcomes) == 4


@pytest.mark.parametrize(("call", "output"), [("get", ImageOutput.HIDE), ("put", ImageOutput.SAVE)])
def test_an_answer_resets_the_circuit_breaker(quick, call, output):
    """Only failures in a row open it. An item with `Hide` only reads from the store."""
    key = quick.image("a")
    quick.fail_store(call, times=1)

    quick.record(key, job=spec(image_output=output))

    for target in (READING, WRITING):
        assert not quick.engine.access.breakers.of(target)._failures


def test_an_object_that_always_fails_ends_while_the_store_is_well(quick):
    """It alone keeps the breaker open; the store answers the probes."""
    key = quick.image("a")
    quick.fail_store("get", times=10_000)

    record = quick.record(key)

    assert (record.state, record.error["class"]) == ("failed", "RetriesExhausted")


def test_waiting_for_the_store_counts_as_progress(quicks):
    """Leases are kept: another worker could not process the tickets either."""
    quick = quicks(breakers=patient_breakers(max_failures=1))
    key = quick.image("a")
    quick.fail_store("get", "check", times=10**9)
    quick.offer(key)
    until(lambda: quick.engine.inflight.waiting == 1)

    assert quick.engine.is_progressing(0.0001)


def test_a_bucket_that_is_down_does_not_excuse_a_device_that_hangs(quicks):
    quick = quicks(breakers=patient_breakers(max_failures=1))
    valve = hold_device(quick)
    quick.fail_store("get", "check", times=10**9)
    quick.offer(quick.image("waits"))
    until(lambda: quick.engine.inflight.waiting == 1)
    quick.engine.inflight.moved_at_s -= 1000

    assert not quick.engine.is_progressing(300)
    valve.open()
    quick.wait(1)


@pytest.mark.parametrize(
    ("calls", "reads", "writes"), [(("get", "check"), 0.0, 3600.0), (("put",), 3600.0, 0.0)]
)
def test_items_of_a_bucket_that_stays_down_are_deferred_with_the_reason(
    quicks, calls, reads, writes
):
    patience_s = {Direction.READ: reads, Direction.WRITE: writes}
    quick = quicks(breakers=patient_breakers(patience_s=patience_s))
    keys = [quick.image(f"{n}") for n in range(6)]
    quick.fail_store(*calls, times=10**9)

    outcomes = quick.run(*keys)

    assert {type(outcome) for outcome in outcomes} == {Deferred}
    assert all(outcome.is_outage and not outcome.died for outcome in outcomes)
    assert all("object store: " in outcome.waiting_for for outcome in outcomes)
    assert all("injected" in outcome.waiting_for for outcome in outcomes)


def test_a_bucket_that_is_down_costs_the_items_of_others_nothing(quicks):
    """The good bucket is read on, and its items are not delayed by the breaker of the other one."""
    quick = quicks(breakers=patient_breakers(max_failures=1))
    down = spec(rem_mode="isnet-general-use", input_bucket="down")

    def before(call, bucket, key):
        if bucket == "down":
            raise StoreUnavailable("503", bucket="down", operation=call)

    quick.store.before = before
    for n in range(20):
        quick.offer(f"bad{n}", job=down)
    until(lambda: quick.engine.inflight.waiting == 20)
    keys = [quick.image(f"good{n}") for n in range(10)]
    for key in keys:
        quick.offer(key)
    quick.wait(10)

    assert states(quick.outcomes[key] for key in keys) == ["done"] * 10
    assert {quick.outcomes[key].record.attempts for key in keys} == {1}


@pytest.fixture(params=[RuntimeError, MemoryError, SystemExit], ids=lambda kind: kind.__name__)
def failing_probes(quicks, request):
    """Make harnesses whose next probes raise something that no probe should."""

    def make(times):
        harness = quicks()
        real, left = harness.store.check, [times]

        def check(bucket):
            if left[0]:
                left[0] -= 1
                raise request.param("a bug")
            real(bucket)

        harness.store.check = check
        return harness

    return make


def test_a_probe_that_raises_anything_has_failed_and_another_one_is_made(failing_probes):
    """The item is not the cause."""
    harness = failing_probes(times=2)
    keys = [harness.image(f"{n}") for n in range(6)]
    harness.fail_store("get", times=5)

    assert states(harness.run(*keys)) == ["done"] * 6
    assert not harness.shutdown.is_draining
    assert states(harness.run(harness.image("later"))) == ["done"]


def test_three_probes_in_a_row_that_raise_anything_end_the_process_as_unfit(failing_probes):
    harness = failing_probes(times=10**9)
    keys = [harness.image(f"{n}") for n in range(6)]
    harness.fail_store("get", times=10**9)
    for key in keys:
        harness.offer(key)

    assert harness.shutdown.wait(Phase.DRAINING, 10)
    harness.engine.drain()
    harness.wait()

    assert harness.shutdown.exit_code == UNFIT_EXIT
    assert [harness.outcomes[key] for key in keys] == [Deferred(died=True)] * 6


def test_the_error_of_one_object_ends_it_after_its_attempts(quicks):
    """The answers to other items show that the store is well."""
    quick = quicks(breakers=patient_breakers(max_failures=1000))
    good, bad = quick.image("good"), quick.image("bad one")

    def before(call, bucket, key):
        if call == "get" and key == bad:
            raise StoreUnavailable("500 for this one")

    quick.store.before = before

    outcomes = quick.run(good, bad)

    assert states(outcomes) == ["done", "failed"]
    record = outcomes[1].record
    assert (record.error["class"], record.attempts) == ("RetriesExhausted", 8)
    assert "500 for this one" in record.error["reason"]


def test_a_missing_bucket_defers_the_item_and_is_named(quick):
    key = quick.image("a")
    quick.store.missing.add("cutouts")

    [outcome] = quick.run(key)

    assert isinstance(outcome, Deferred)
    assert outcome.waiting_for.startswith("bucket: ")
    assert "cutouts" in outcome.waiting_for


@pytest.mark.parametrize("step", ["decode", "encode"])
def test_a_lack_of_memory_is_tried_again(harnesses, step):
    imaging = QuickImaging()
    real, short = getattr(imaging, step), [True]

    def run(*given, **named):
        if short and short.pop():
            raise MemoryError
        return real(*given, **named)

    harness = harnesses(imaging=QuickImaging(**{step: run}))
    harness.put("a")

    record = harness.record("a")

    assert (record.state, record.attempts) == ("done", 2)
    assert harness.engine.holdings.pixels.held == 0


def test_a_lasting_lack_of_memory_fails_the_item(harnesses):
    def decode(*_, **__):
        raise MemoryError

    harness = harnesses(imaging=QuickImaging(decode=decode))
    harness.put("a")

    record = harness.record("a")

    assert (record.error["class"], record.attempts) == ("RetriesExhausted", 8)


# --- previews


EVERY = PreviewSelection(1)
FIRST_PREVIEW = "_jobs/j/previews/0.webp"


def puts(harness):
    """Return the list of keys that will be put into the output bucket."""
    found = []
    harness.store.before = lambda call, bucket, key: (
        found.append(key) if (call, bucket) == ("put", "cutouts") else None
    )
    return found


def test_a_preview_is_written_before_the_mask_and_the_cutout(harness):
    """An item whose outputs are found again after a crash has its preview, too."""
    key = harness.image("a.jpg", width=600, height=400)
    written = puts(harness)

    record = harness.record(key, previews=EVERY)

    assert written == [FIRST_PREVIEW, record.mask_key, record.cutout_key]
    preview = opened(harness, FIRST_PREVIEW)
    assert (preview.format, preview.size) == ("WEBP", (2 * 256 + 4, 171))
    assert set(record.sizes) == {"mask", "cutout"}


def test_only_selected_items_have_a_preview(harness):
    selection = PreviewSelection(3, doubtful=0)

    harness.run(*harness.images(7), previews=selection)

    found = [key for key in harness.store.keys("cutouts") if "previews" in key]
    assert found == [f"_jobs/j/previews/{n}.webp" for n in (0, 3, 6)]


def test_a_doubtful_item_outside_the_sample_has_a_preview(quicks):
    quick = quicks(imaging=QuickImaging(measure=lambda *_: {"verdict": "review"}))

    quick.run(quick.image("a.jpg"), index=1, previews=PreviewSelection(1000))

    assert "_jobs/j/previews/1.webp" in quick.store.keys("cutouts")


def test_hidden_and_failed_items_have_no_preview(harness):
    job = spec(rem_mode="isnet-general-use", image_output=ImageOutput.HIDE)

    harness.run(harness.image("a.jpg"), job=job, previews=EVERY)
    harness.run(harness.put("b.jpg", b"no image"), previews=EVERY)

    assert harness.store.keys("cutouts") == []


@pytest.mark.parametrize("error", [StoreUnavailable("busy"), RequestRefused("refused")])
def test_a_preview_that_cannot_be_written_fails_no_item(harness, error):
    key = harness.image("a.jpg")

    def before(call, bucket, key):
        if "previews" in key:
            raise error

    harness.store.before = before
    record = harness.record(key, previews=EVERY)

    assert (record.state, record.attempts) == ("done", 1)
    assert FIRST_PREVIEW not in harness.store.keys("cutouts")


def test_an_outage_is_noticed_by_the_outputs_and_the_preview_is_written_after_it(harness):
    key = harness.image("a.jpg")
    harness.fail_store("put", times=2)  # of the preview and of the mask

    record = harness.record(key, previews=EVERY)

    assert (record.state, record.attempts) == ("done", 2)
    assert harness.store.head("cutouts", FIRST_PREVIEW) is not None


def test_a_preview_that_cannot_be_drawn_fails_no_item(quicks, caplog):
    def preview(*_):
        raise ValueError("injected")

    quick = quicks(imaging=QuickImaging(preview=preview))

    record = quick.record(quick.image("a.jpg"), previews=EVERY)

    assert (record.state, record.attempts) == ("done", 1)
    assert [line.image_key for line in caplog.records if line.message == "preview not drawn"]


def test_a_preview_without_memory_is_drawn_at_the_next_attempt(quicks):
    errors = [MemoryError()]

    def preview(*_):
        for error in errors:
            errors.clear()
            raise error
        return b"preview"

    quick = quicks(imaging=QuickImaging(preview=preview))

    record = quick.record(quick.image("a.jpg"), previews=EVERY)

    assert (record.state, record.attempts) == ("done", 2)
    assert quick.store.get("cutouts", FIRST_PREVIEW).data == b"preview"


# --- items that an earlier process may have finished


def test_a_redo_takes_the_record_from_the_bucket(harness):
    first = harness.run(harness.image("a.jpg"))[0]
    harness.segmenter.batches.clear()

    [again] = harness.run("a.jpg", redo=True, index=0)

    assert harness.segmenter.batches == []
    assert again == first


NAMES = {
    "by source": ({}, False),
    "by source with the size": ({"save_prefix": "w%width%/h%height%"}, True),
    "counted": ({"naming": Naming.COMFYUI, "counter_base": 5}, False),
    "counted with the item": (
        {"naming": Naming.COMFYUI, "counter_base": 5, "save_prefix": "x%batch_num%"},
        False,
    ),
    "counted with the size": (
        {"naming": Naming.COMFYUI, "counter_base": 5, "save_prefix": "x%width%"},
        True,
    ),
    "preview": ({"image_output": ImageOutput.PREVIEW, "date": "2026-11-23"}, False),
}


@pytest.mark.parametrize(("options", "is_sized"), NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_redo_of_a_finished_item_spares_the_network_under_every_naming(
    harness, options, is_sized, orientation
):
    """A key with the size needs the decoded source: an orientation in EXIF swaps the sides."""
    harness.put("a.jpg", encoded(photo(60, 40), "JPEG", exif=exif(orientation)))
    job = spec(rem_mode="isnet-general-use", **options)
    first = harness.record("a.jpg", job=job)
    before = {key: harness.store.head("cutouts", key) for key in harness.store.keys("cutouts")}
    harness.segmenter.batches.clear()
    calls = []
    harness.store.before = lambda call, _bucket, _key: calls.append(call)

    again = harness.record("a.jpg", job=job, redo=True, index=0)

    assert again == first
    assert harness.segmenter.batches == []
    assert ("get" in calls) == is_sized
    assert "put" not in calls
    assert before == {key: harness.store.head("cutouts", key) for key in before}
    assert harness.engine.holdings.pixels.held == 0


@pytest.mark.parametrize(("options", "is_sized"), NAMES.values(), ids=NAMES)
def test_a_redo_of_an_item_with_only_a_mask_makes_the_cutout_of_it(harness, options, is_sized):
    """The worker was killed between mask and cutout. Keys with the size are known too late."""
    harness.put("a.jpg", encoded(photo(60, 40), "JPEG"))
    job = spec(rem_mode="isnet-general-use", **options)
    first = harness.record("a.jpg", job=job)
    before = harness.store.get("cutouts", first.cutout_key).data
    harness.store.delete("cutouts", [first.cutout_key])
    harness.segmenter.batches.clear()

    again = harness.record("a.jpg", job=job, redo=True, index=0)

    assert harness.segmenter.batches == ([1] if is_sized else [])
    assert again == first.model_copy(update={"mask": None if is_sized else "reused"})
    assert harness.store.get("cutouts", first.cutout_key).data == before


def test_a_redo_while_the_output_bucket_cannot_be_read_is_deferred(quicks):
    quick = quicks(breakers=patient_breakers(patience_s=dict.fromkeys(Direction, 0.0)))
    key = quick.image("a")
    quick.fail_store("head", "check", times=10**9)

    [outcome] = quick.run(key, redo=True)

    assert isinstance(outcome, Deferred)
    assert outcome.is_outage


def test_a_redo_of_a_hidden_output_runs_the_item(harness):
    job = spec(rem_mode="isnet-general-use", image_output=ImageOutput.HIDE)

    assert harness.record(harness.image("a.jpg"), job=job, redo=True).state == "done"


def test_a_redo_without_outputs_runs_the_item(harness):
    assert harness.record(harness.image("a.jpg"), redo=True).state == "done"


def test_earlier_attempts_are_added(harness):
    assert harness.record(harness.image("a.jpg"), attempts_before=2).attempts == 3
    assert harness.record("absent.jpg", attempts_before=2).attempts == 3


# --- a lost device


def lose_device(batch):
    raise DeviceLost("the device fell off the bus")


def test_a_device_that_works_in_a_new_process_makes_its_batch_suspect(quicks):
    checks = []
    quick = quicks(
        model=stand_in_model(batch_size=2), device=DeviceState(lambda: checks.append(1) or True)
    )
    valve = hold_device(quick)
    for key in "abcd":
        quick.offer(quick.image(key))
    until(lambda: quick.waiting_for_batch() == 4)
    quick.segmenter.before = lose_device
    valve.open()
    until(lambda: quick.shutdown.is_draining)
    quick.engine.drain()
    quick.wait()

    outcomes = [quick.outcomes[key] for key in "abcd"]
    assert outcomes == [Deferred(died=True)] * 2 + [Deferred()] * 2
    assert quick.shutdown.is_unfit
    assert checks == [1]


def test_a_device_that_fails_in_a_new_process_blames_no_item(quicks):
    quick = quicks(device=DeviceState(lambda: False))
    keys = [quick.image(f"{n}") for n in range(4)]
    quick.segmenter.before = lose_device
    for key in keys:
        quick.offer(key)
    until(lambda: quick.shutdown.is_draining)
    quick.engine.drain()
    quick.wait()

    reason = "device: the device fell off the bus"
    assert list(quick.outcomes.values()) == [Deferred(reason)] * 4
    assert quick.shutdown.is_unfit


def test_a_device_lost_while_draining_blames_no_item_and_starts_no_process(quicks):
    quick = quicks(device=DeviceState(lambda: pytest.fail("a process was started")))
    valve = hold_device(quick)
    quick.drain()

    def lose(*_, **__):
        raise DeviceLost("the device fell off the bus")

    quick.segmenter.finish = lose
    valve.open()
    quick.wait()

    assert quick.outcomes == {"first.jpg": Deferred()}


# --- draining


def test_draining_finishes_items_in_the_network_and_defers_the_rest(harnesses):
    harness = harnesses(model=stand_in_model(batch_size=1), imaging=QuickImaging())
    for key in ("first.jpg", "second", "third"):
        harness.put(key)
    harness.image = lambda key: key
    valve = hold_device(harness)
    harness.offer("second")
    harness.offer("third")
    until(lambda: harness.waiting_for_batch() == 2)

    harness.drain()
    harness.wait(2)
    assert (harness.outcomes["second"], harness.outcomes["third"]) == (Deferred(), Deferred())
    valve.open()
    harness.wait()

    assert harness.outcomes["first.jpg"].record.state == "done"
    assert harness.store.keys("cutouts") != []


def test_draining_defers_items_that_wait_for_the_store(quicks):
    """A draining process does not wait for an outage to end."""
    quick = quicks(breakers=patient_breakers(max_failures=1, probe_s=3600))
    key = quick.image("a")
    quick.fail_store("get", "check", times=10**9)
    quick.offer(key)
    delayed = quick.engine.scheduler._steps[Executor.DOWNLOAD]._delayed
    until(lambda: delayed.wait_s(0) is not None)

    quick.drain()
    quick.wait()

    assert quick.outcomes[key] == Deferred()


def test_draining_defers_items_that_wait_for_pixels_at_once(harnesses):
    harness = harnesses(imaging=QuickImaging(), budget_px=64)
    for key in ("first.jpg", "b"):
        harness.put(key)
    harness.image = lambda key: key
    valve = hold_device(harness)
    harness.offer("b")
    until(lambda: harness.engine.holdings.pixels._waiting)

    harness.drain()
    harness.wait(1)
    assert harness.outcomes == {"b": Deferred()}
    valve.open()
    harness.wait()

    assert harness.outcomes["first.jpg"].record.state == "done"


def test_draining_defers_items_that_cannot_be_uploaded(quick):
    """They have been through the network, but a draining process does not wait for the store."""
    valve = hold_device(quick)
    quick.fail_store("put", times=10**9)

    quick.drain()
    valve.open()
    quick.wait()

    assert quick.outcomes["first.jpg"] == Deferred()


def test_items_offered_after_the_drain_began_are_deferred(quick):
    quick.drain()

    assert quick.run(quick.image("a")) == [Deferred()]


@pytest.mark.parametrize("stage", ["download", "decode"])
def test_an_item_whose_stage_ends_after_the_drain_began_is_deferred(harnesses, stage):
    """Nothing is handed to the network once the process drains."""
    valve, imaging = Valve(), QuickImaging()

    def decode(*given, **named):
        valve()
        return imaging.decode(*given, **named)

    harness = harnesses(imaging=QuickImaging(decode=decode) if stage == "decode" else imaging)
    if stage == "download":
        harness.store.before = lambda call, *_: valve() if call == "get" else None
    harness.offer(harness.put("a"))
    valve.wait_for_one()

    harness.drain()
    assert harness.outcomes == {}
    valve.open()
    harness.wait()

    assert harness.outcomes == {"a": Deferred()}
    assert harness.segmenter.batches == []
    assert harness.engine.holdings.pixels.held == 0


# --- bugs of the engine and of its observers


class FailingObserver(Observer):
    """An observer whose next calls of the method *name* raise."""

    def __init__(self, name, times):
        self.left = times

        def fail(*_, **__):
            if self.left:
                self.left -= 1
                raise OddError("simulated")

        setattr(self, name, fail)


@pytest.fixture
def single(quicks):
    """Make harnesses with one thread per executor, so that failures follow one another."""

    def make(observer):
        return quicks(observers=[observer], io_threads=1, cpu_threads=1)

    return make


@pytest.mark.parametrize("name", ["stage", "retried"])
def test_an_observer_that_raises_defers_that_item_and_the_engine_goes_on(single, name):
    """It counts as a death: an item that triggers a bug must not go through the fleet."""
    harness = single(FailingObserver(name, times=1))
    harness.fail_store("get", times=1)

    outcomes = harness.run(harness.image("a"))
    assert outcomes == [Deferred(died=True)]
    assert states(harness.run(harness.image("b"))) == ["done"]
    assert not harness.shutdown.is_draining


@pytest.mark.parametrize("name", ["ended", "batch"])
def test_an_observer_that_raises_keeps_no_result_back(single, name):
    harness = single(FailingObserver(name, times=1))

    assert states(harness.run(harness.image("a"))) == ["done"]
    assert states(harness.run(harness.image("b"))) == ["done"]
    assert not harness.shutdown.is_draining


def test_two_bugs_in_a_row_do_not_end_the_process(single):
    harness = single(FailingObserver("stage", times=2))

    outcomes = [harness.run(harness.image(key))[0] for key in "abc"]

    assert outcomes[:2] == [Deferred(died=True)] * 2
    assert states(outcomes[2:]) == ["done"]
    assert not harness.shutdown.is_draining


def test_a_drain_defers_all_items_whatever_an_observer_raises(quicks):
    harness = quicks(observers=[FailingObserver("ended", times=10**9)])
    valve = hold_device(harness)
    for key in "abc":
        harness.offer(harness.image(key))
    until(lambda: harness.waiting_for_batch() == 3)

    harness.drain()
    valve.open()
    harness.wait()

    assert [harness.outcomes[key] for key in "abc"] == [Deferred()] * 3


def test_three_bugs_in_a_row_end_the_process_as_unfit(single):
    harness = single(FailingObserver("stage", times=3))

    outcomes = [harness.run(harness.image(key))[0] for key in "abc"]

    assert outcomes == [Deferred(died=True)] * 3
    assert harness.shutdown.wait(Phase.DRAINING, 10)
    assert harness.shutdown.exit_code == UNFIT_EXIT


# --- memory


def test_images_larger_than_the_pixel_limit_run_one_by_one(harnesses):
    """A limit that is too low slows the engine down and stops nothing."""
    harness = harnesses(budget_px=10)
    held = []
    real = harness.segmenter.prepare
    permits = harness.engine.holdings.pixels
    harness.segmenter.prepare = lambda image: held.append(permits.held) or real(image)

    outcomes = harness.run(*harness.images(6))

    assert states(outcomes) == ["done"] * 6
    assert set(held) == {160 * 120}
    assert harness.engine.holdings.pixels.held == 0


def test_one_urgent_image_is_decoded_although_bulk_images_hold_all_pixels(harnesses):
    """Otherwise it would wait until a bulk image has been through the network."""
    harness = harnesses(imaging=QuickImaging(), budget_px=64)
    keys = [harness.put(key) for key in ("first.jpg", "bulk", "urgent", "second")]
    harness.image = lambda key: key
    valve = hold_device(harness)
    pixels = harness.engine.holdings.pixels
    harness.offer(keys[1])
    until(lambda: len(pixels._waiting) == 1)

    harness.offer(keys[2], urgent=True)
    until(lambda: harness.waiting_for_batch() == 1)
    harness.offer(keys[3], urgent=True)
    until(lambda: len(pixels._waiting) == 2)

    assert pixels.held == 128
    valve.open()
    harness.wait()
    assert states(harness.outcomes.values()) == ["done"] * 4


def test_a_rendered_image_releases_its_pixels_before_the_upload(quick):
    key, held = quick.image("a"), []

    def before(call, bucket, key):
        if call == "put":
            held.append(quick.engine.holdings.pixels.held)

    quick.store.before = before

    quick.record(key)

    assert held == [0, 0]


def test_a_retry_of_a_later_stage_keeps_its_pixels(harnesses):
    """The decoded image is still in memory."""
    held = []

    def compose(*_):
        held.append(harness.engine.holdings.pixels.held)
        raise MemoryError

    harness = harnesses(imaging=QuickImaging(compose=compose))
    harness.put("a")

    harness.record("a")

    assert held == [64] * 8
    assert harness.engine.holdings.pixels.held == 0


@pytest.mark.parametrize("failing", ["measure", "encode", None])
def test_the_image_of_an_ended_item_is_freed(harnesses, failing):
    seen = []
    imaging = QuickImaging()

    def decode(data, options, *, isolate):
        decoded = imaging.decode(data, options, isolate=isolate)
        seen.append(weakref.ref(decoded.image))
        return decoded

    def fail(*_):
        raise UndecodableImage("simulated")

    changes = {"decode": decode} | ({failing: fail} if failing else {})
    harness = harnesses(imaging=QuickImaging(**changes))
    harness.put("a")

    gc.disable()
    try:
        [outcome] = harness.run("a")
        until(lambda: seen[0]() is None)
    finally:
        gc.enable()

    assert outcome.record.state == ("failed" if failing else "done")


# --- progress


def test_an_idle_engine_makes_progress(harness):
    harness.engine.inflight.moved_at_s -= 1000

    assert harness.engine.is_progressing(300)


def test_an_engine_whose_device_hangs_makes_no_progress(quick):
    valve = hold_device(quick)
    quick.engine.inflight.moved_at_s -= 1000

    assert not quick.engine.is_progressing(300)
    valve.open()
    quick.wait()


def test_ended_items_are_counted_and_deferred_ones_are_not(quick):
    quick.run(quick.image("a"), "absent")
    quick.drain()
    quick.run(quick.image("b"))

    assert quick.engine.inflight.ended == 2


def test_many_threads_may_offer_at_once(quick):
    keys = [quick.image(f"{n}") for n in range(60)]

    def offer(some):
        for key in some:
            while not quick.offer(key):
                pass

    threads = [threading.Thread(target=offer, args=(keys[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    quick.wait(60)

    assert all(isinstance(outcome, Finished) for outcome in quick.outcomes.values())
    until(lambda: quick.engine.inflight.items == 0)
