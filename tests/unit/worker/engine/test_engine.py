"""The engine: real stations, a stand-in network, a store in memory."""

import gc
import io
import json
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support.jobs import spec
from support.line import MAX_BYTES, Line
from support.pictures import encoded, header_only, photo, plain
from support.stand_ins import Valve, quick_stations, stand_in_model
from support.until import until

from shared.errors import DeviceLost, StoreUnavailable, UndecodableImage
from shared.job.spec import Existing, ImageOutput, Naming, PictureOptions
from worker.engine.circuit_breaker import Breaker
from worker.engine.item import Ended, GivenBack


@pytest.fixture
def lines():
    """Make lines, and end them with the test."""
    made = []

    def make(**details):
        made.append(Line(**details))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def line(lines):
    return lines()


@pytest.fixture
def quicks(lines):
    """Make lines over any bytes, for what is not about pictures."""

    def make(**details):
        made = lines(stations=quick_stations(), **details)
        put = made.store.put
        made.picture = lambda key: (
            put("inbox", key, key.encode(), content_type="image/jpeg") and key
        )
        return made

    return make


@pytest.fixture
def quick(quicks):
    return quicks()


def states(outcomes):
    return [outcome.record.state for outcome in outcomes]


def hold_device(line):
    """Let the next forward pass wait; return the valve, once a pass has come to it."""
    line.segmenter.before = valve = Valve()
    line.offer(line.picture("first.jpg"))
    valve.wait_for_one()
    return valve


def opened(line, key):
    return Image.open(io.BytesIO(line.store.get("cutouts", key).data))


# --- one picture


def test_a_picture_becomes_a_cutout_a_mask_and_a_record(line):
    record = line.record(line.picture("shop/a.jpg", width=60, height=40))

    assert (record.state, record.image_key, record.index) == ("done", "shop/a.jpg", 0)
    assert (record.width, record.height, record.attempts) == (60, 40, 1)
    assert record.cutout_key == "ComfyUI/cutout/shop/a.jpg.png"
    assert record.mask_key == "ComfyUI/mask/shop/a.jpg.png"
    assert (record.device, record.weights_sha256) == ("stand-in", "5" * 64)
    assert (record.model, record.licence) == ("isnet-general-use", "none")
    assert record.qc["verdict"] in ("ok", "review", "reject")
    cutout, mask = opened(line, record.cutout_key), opened(line, record.mask_key)
    assert (cutout.mode, cutout.size, mask.mode, mask.size) == ("RGBA", (60, 40), "L", (60, 40))
    assert np.array_equal(np.asarray(cutout)[..., 3], np.asarray(mask))


def test_the_verdict_is_told_beside_the_record(line):
    [outcome] = line.run(line.picture("a.jpg"))

    assert outcome.verdict == outcome.record.qc["verdict"]


def test_pictures_carry_the_jobs_texts_and_who_made_them(line):
    prompt, extra = {"3": {"class_type": "LoadImage"}}, {"workflow": {"nodes": [1]}}
    job = spec(rem_mode="isnet-general-use", prompt=prompt, extra_pnginfo=extra)

    record = line.record(line.picture("a.jpg"), job=job)

    for key in (record.cutout_key, record.mask_key):
        texts = opened(line, key).text
        assert json.loads(texts["prompt"]) == prompt
        assert json.loads(texts["workflow"]) == extra["workflow"]
        assert json.loads(texts["rmbg"]) == {
            "model": "isnet-general-use",
            "weights_sha256": "5" * 64,
            "version": "9.9",
            "params": job.params_hash,
        }


def test_hidden_pictures_are_judged_and_nothing_is_written(line):
    record = line.record(line.picture("a.jpg"), job=spec(image_output=ImageOutput.HIDE))

    assert (record.state, record.cutout_key, record.mask_key) == ("done", None, None)
    assert record.qc["verdict"]
    assert line.store.keys("cutouts") == []


def test_a_preview_is_written_where_it_will_be_deleted(line):
    job = spec(image_output=ImageOutput.PREVIEW, date="2026-11-23")

    line.record(line.picture("a.jpg"), job=job)

    where = "_preview/2026-11-23/j/easyPreview"
    assert line.store.keys("cutouts") == [f"{where}/cutout/a.jpg.png", f"{where}/mask/a.jpg.png"]


def test_counted_names_use_the_pictures_size_and_number(line):
    job = spec(naming=Naming.COMFYUI, counter_base=5, save_prefix="out/%width%w")

    line.record(line.picture("a.jpg", width=60, height=40), job=job)

    assert line.store.keys("cutouts") == ["out/60w_00005_.png", "out/60w_mask_00005_.png"]


def test_a_doubtful_cutout_is_copied_for_review(line):
    """A plain bright picture: the stand-in finds no subject in it."""
    bright = encoded(plain((255, 255, 255), 40, 40), "PNG")
    line.store.put("inbox", "empty.png", bright, content_type="image/png")
    job = spec(review_prefix="look")

    line.run("empty.png", job=job)

    copy = line.store.get("cutouts", "look/empty.png.png").data
    assert copy == line.store.get("cutouts", "ComfyUI/cutout/empty.png.png").data


def test_a_picture_without_doubt_is_not_copied(quick):
    quick.record(quick.picture("a.jpg"), job=spec(review_prefix="look"))

    assert not [key for key in quick.store.keys("cutouts") if key.startswith("look")]


def transparent():
    picture = np.dstack([photo(40, 40), np.full((40, 40), 255, np.uint8)])
    picture[:, :20, 3] = 0
    return encoded(picture, "PNG", "RGBA")


def test_a_sources_own_transparency_stays_in_the_mask_or_is_ignored(line):
    line.store.put("inbox", "half.png", transparent(), content_type="image/png")
    ignored = spec(options=PictureOptions(alpha="ignore"), save_prefix="ignored")

    kept = opened(line, line.record("half.png").mask_key)
    dropped = opened(line, line.record("half.png", job=ignored).mask_key)

    assert not np.asarray(kept)[:, :20].any()
    assert np.asarray(kept)[:, 20:].any()
    assert np.asarray(dropped)[:, 20:].any()


# --- company


def test_a_mask_is_the_same_alone_and_in_company(lines):
    """Whatever shares its batch; pictures of many sizes."""
    alone, together = lines(), lines()
    sizes = [(40 + 7 * n, 90 - 5 * n) for n in range(12)]
    for line in (alone, together):
        for n, (width, height) in enumerate(sizes):
            line.picture(f"{n}.jpg", width=width, height=height, seed=n)
    keys = [f"{n}.jpg" for n in range(12)]

    for key in keys:
        alone.record(key)
    valve = hold_device(together)
    for key in keys:
        together.offer(key)
    until(lambda: len(together.engine.device._batcher) == len(keys))
    valve.open()
    together.wait()

    assert set(alone.segmenter.batches) == {1}
    assert max(together.segmenter.batches) == 12
    for key in keys:
        name = f"ComfyUI/mask/{key}.png"
        first = np.asarray(opened(alone, name))
        assert np.array_equal(first, np.asarray(opened(together, name)))
        assert len(np.unique(first)) > 5


def test_outcomes_come_in_the_order_of_arrival(lines):
    """With one thread a stage; more threads may pass one another."""
    line = lines(stations=quick_stations(), io_threads=1, cpu_threads=1)
    keys = [f"{n}.jpg" for n in range(20)]
    for key in keys:
        line.store.put("inbox", key, key.encode(), content_type="image/jpeg")

    line.run(*keys)

    assert list(line.outcomes) == keys


def test_urgent_items_go_before_all_that_waits(lines):
    line = lines(
        model=stand_in_model(batch_size=1), stations=quick_stations(), io_threads=1, cpu_threads=1
    )
    for key in (*"abcdef", "first.jpg"):
        line.store.put("inbox", key, key.encode(), content_type="image/jpeg")
    line.picture = lambda key: key
    valve = hold_device(line)

    for key in "abc":
        line.offer(key)
    line.offer("d", urgent=True)
    until(lambda: len(line.engine.device._batcher) == 4)
    valve.open()
    line.wait()

    assert [key for key in line.outcomes if key != "first.jpg"] == ["d", "a", "b", "c"]


def test_a_full_engine_takes_urgent_items_only(lines):
    line = lines(stations=quick_stations(), max_items=1)
    for key in ("first.jpg", "b", "c"):
        line.store.put("inbox", key, b"x", content_type="image/jpeg")
    line.picture = lambda key: key
    valve = hold_device(line)

    assert not line.offer("b")
    assert line.offer("b", urgent=True)
    valve.open()
    line.wait()
    until(lambda: line.engine.inside == 0)

    assert line.offer("c")


# --- failures are the item's own


def long_file(line):
    line.store.put("inbox", "long.jpg", bytes(MAX_BYTES + 1), content_type="image/jpeg")
    return "long.jpg"


def written(data):
    def put(line):
        line.store.put("inbox", "bad.jpg", data, content_type="image/jpeg")
        return "bad.jpg"

    return put


FAULTY = {
    "missing": (lambda _line: "absent.jpg", "ObjectMissing"),
    "text": (written(b"this is a letter, not a picture"), "UndecodableImage"),
    "no bytes": (written(b""), "UndecodableImage"),
    "torn": (written(encoded(photo(64, 64), "JPEG")[:700]), "UndecodableImage"),
    "too many pixels": (written(header_only("PNG", 2000, 2000)), "ImageTooLarge"),
    "too many bytes": (long_file, "ImageTooLarge"),
    "key that escapes": (lambda _line: "../secret.jpg", "InvalidKey"),
    "key of a folder": (lambda _line: "folder/", "InvalidKey"),
    "key too long for its output": (
        lambda line: line.picture("/".join(["k" * 201] * 5)),
        "InvalidKey",
    ),
}


@pytest.mark.parametrize(("make", "error"), FAULTY.values(), ids=FAULTY)
def test_a_failure_is_the_items_own_and_its_neighbours_are_done(line, make, error):
    before, after = line.picture("before.jpg"), line.picture("after.jpg")
    bad = make(line)

    outcomes = line.run(before, bad, after)

    assert states(outcomes) == ["done", "failed", "done"]
    record = outcomes[1].record
    assert record.error["class"] == error
    assert record.error["reason"]
    assert (record.image_key, record.attempts, record.cutout_key) == (bad, 1, None)


def test_a_failed_items_output_is_not_written(line):
    line.run("absent.jpg")

    assert line.store.keys("cutouts") == []


def test_existing_fail_fails_the_item(line):
    job = spec(existing=Existing.FAIL)
    line.store.put("cutouts", "ComfyUI/mask/a.jpg.png", b"x", content_type="image/png")

    record = line.record(line.picture("a.jpg"), job=job)

    assert (record.state, record.error["class"]) == ("failed", "OutputExists")


class OddError(Exception):
    """Something that nobody has foreseen."""


@pytest.mark.parametrize("step", ["prepare", "forward", "finish"])
def test_an_unforeseen_fault_of_the_model_fails_that_item_only(line, step):
    """In the forward pass too, although a batch is run as one: then each is run alone."""
    real = getattr(line.segmenter, step)

    def fail(first, *rest, **named):
        batch = first if step == "forward" else [first]
        if any(is_odd(each, *rest) for each in batch):
            raise OddError("out of order")
        return real(first, *rest, **named)

    def is_odd(given, *size):
        return (step == "finish" and size[0] == 21) or (step != "finish" and not given.any())

    setattr(line.segmenter, step, fail)
    odd = encoded(plain((0, 0, 0), 21, 21), "PNG")
    line.store.put("inbox", "odd.png", odd, content_type="image/png")
    keys = line.pictures(3)

    outcomes = line.run(keys[0], "odd.png", *keys[1:])

    assert states(outcomes) == ["done", "failed", "done", "done"]
    assert outcomes[1].record.error == {"class": "OddError", "reason": "out of order"}


@pytest.mark.parametrize("step", ["peek", "decode", "measure", "compose", "encode"])
def test_an_unforeseen_fault_of_a_station_fails_that_item_only(lines, step):
    stations = quick_stations()
    real, calls = getattr(stations, step), []

    def fail(*given):
        calls.append(given)
        if len(calls) == 2:
            raise OddError("out of order")
        return real(*given)

    line = lines(stations=replace(stations, **{step: fail}), io_threads=1, cpu_threads=1)
    for key in "abc":
        line.store.put("inbox", key, b"x", content_type="image/jpeg")

    outcomes = line.run(*"abc")

    assert sorted(states(outcomes)) == ["done", "done", "failed"]
    [failed] = [each.record for each in outcomes if each.record.state == "failed"]
    assert failed.error == {"class": "OddError", "reason": "out of order"}


def test_a_network_that_answers_too_little_fails_its_batch_and_not_the_engine(quick):
    real = quick.segmenter.forward
    quick.segmenter.forward = lambda batch: real(batch)[1:]
    quick.picture("a")
    quick.picture("b")
    assert states(quick.run("a", "b")) == ["failed", "failed"]

    quick.segmenter.forward = real

    assert states(quick.run("a")) == ["done"]


# --- faults that pass


@pytest.mark.parametrize("call", ["get", "put"])
def test_a_store_that_is_away_for_a_moment_costs_attempts_and_no_item(quick, call):
    key = quick.picture("a")
    quick.fail_store(call, times=3)

    record = quick.record(key)

    assert (record.state, record.attempts) == ("done", 4 if call == "get" else 1)


def test_an_outage_costs_no_item_its_attempts(quick):
    """From the fifth failure in a row on none is counted, however long it lasts."""
    keys = [quick.picture(f"{n}") for n in range(6)]
    quick.fail_store("get", "check", times=120)

    outcomes = quick.run(*keys)

    assert states(outcomes) == ["done"] * 6
    assert sum(outcome.record.attempts - 1 for outcome in outcomes) == 4


@pytest.mark.parametrize(("call", "output"), [("get", ImageOutput.HIDE), ("put", ImageOutput.SAVE)])
def test_an_answer_ends_a_row_of_failures(quick, call, output):
    """Only failures in a row say that the store is down. A hidden item asks only to be read."""
    key = quick.picture("a")
    quick.fail_store(call, times=1)

    quick.record(key, job=spec(image_output=output))

    assert quick.engine.breaker._failures == 0


def test_one_object_that_never_comes_ends_while_the_store_is_well(quick):
    """It alone keeps the breaker open; asked for anything else, the store answers."""
    key = quick.picture("a")
    quick.fail_store("get", times=10_000)

    record = quick.record(key)

    assert (record.state, record.error["class"]) == ("failed", "RetriesExhausted")


def test_an_outage_is_progress_of_a_kind(quicks):
    """Leases are kept meanwhile: giving tickets to another worker would not help."""
    quick = quicks(breaker=Breaker(failures=1))
    key = quick.picture("a")
    quick.fail_store("get", "check", times=10**9)
    quick.offer(key)
    until(lambda: quick.engine.breaker.is_open)

    assert quick.engine.is_progressing(0.001)


def test_a_fault_of_one_object_ends_after_its_attempts(quicks):
    """The others' answers say that the store is well."""
    quick = quicks(breaker=Breaker(failures=1000))
    good, bad = quick.picture("good"), quick.picture("bad one")

    def before(call, bucket, key):
        if call == "get" and key == bad:
            raise StoreUnavailable("500 for this one")

    quick.store.before = before

    outcomes = quick.run(good, bad)

    assert states(outcomes) == ["done", "failed"]
    record = outcomes[1].record
    assert (record.error["class"], record.attempts) == ("RetriesExhausted", 8)
    assert "500 for this one" in record.error["reason"]


def test_a_missing_bucket_gives_the_item_back_and_says_what_is_waited_for(quick):
    key = quick.picture("a")
    quick.store.missing.add("cutouts")

    [outcome] = quick.run(key)

    assert isinstance(outcome, GivenBack)
    assert outcome.waiting_for.startswith("bucket: ")
    assert "cutouts" in outcome.waiting_for


@pytest.mark.parametrize("step", ["decode", "encode"])
def test_short_memory_is_tried_again(lines, step):
    stations = quick_stations()
    real, short = getattr(stations, step), [True]

    def run(*given):
        if short and short.pop():
            raise MemoryError
        return real(*given)

    line = lines(stations=replace(stations, **{step: run}))
    line.store.put("inbox", "a", b"x", content_type="image/jpeg")

    record = line.record("a")

    assert (record.state, record.attempts) == ("done", 2)
    assert line.engine.budget.held_px == 0


def test_lasting_shortness_of_memory_fails_the_item(lines):
    def decode(*_):
        raise MemoryError

    line = lines(stations=replace(quick_stations(), decode=decode))
    line.store.put("inbox", "a", b"x", content_type="image/jpeg")

    record = line.record("a")

    assert (record.error["class"], record.attempts) == ("RetriesExhausted", 8)


# --- what an earlier process did


def test_a_redo_takes_the_record_from_the_bucket(line):
    first = line.run(line.picture("a.jpg"))[0]
    line.segmenter.batches.clear()

    [again] = line.run("a.jpg", redo=True, index=0)

    assert line.segmenter.batches == []
    assert again == first


def test_a_redo_of_what_is_not_there_is_done(line):
    assert line.record(line.picture("a.jpg"), redo=True).state == "done"


def test_attempts_count_on_from_earlier_ones(line):
    assert line.record(line.picture("a.jpg"), attempts_before=2).attempts == 3
    assert line.record("absent.jpg", attempts_before=2).attempts == 3


# --- a device that is lost


def lose(batch):
    raise DeviceLost("the device fell off the bus")


def test_a_lost_device_blames_nobody_and_is_told_once(quick):
    keys = [quick.picture(f"{n}") for n in range(4)]
    quick.segmenter.before = lose

    outcomes = quick.run(*keys)

    assert outcomes == [GivenBack()] * 4
    [told] = quick.unfit
    assert "fell off the bus" in str(told)


# --- leaving


def test_draining_finishes_what_was_in_the_network_and_gives_back_the_rest(lines):
    line = lines(model=stand_in_model(batch_size=1), stations=quick_stations())
    for key in ("first.jpg", "second", "third"):
        line.store.put("inbox", key, b"x", content_type="image/jpeg")
    line.picture = lambda key: key
    valve = hold_device(line)
    line.offer("second")
    line.offer("third")
    until(lambda: len(line.engine.device._batcher) == 2)

    line.engine.drain()
    line.wait(2)
    assert (line.outcomes["second"], line.outcomes["third"]) == (GivenBack(), GivenBack())
    valve.open()
    line.wait()

    assert line.outcomes["first.jpg"].record.state == "done"
    assert line.store.keys("cutouts") != []


def test_draining_gives_back_what_waits_for_the_store(quicks):
    """The process must not wait for an outage to end."""
    quick = quicks(breaker=Breaker(failures=1, probe_s=3600))
    key = quick.picture("a")
    quick.fail_store("get", "check", times=10**9)
    quick.offer(key)
    until(lambda: quick.engine._lanes._later._calls)

    quick.engine.drain()
    quick.wait()

    assert quick.outcomes[key] == GivenBack()


def test_draining_gives_back_what_waits_for_pixels(lines):
    line = lines(stations=quick_stations(), budget_px=64)
    for key in ("first.jpg", "b"):
        line.store.put("inbox", key, b"x", content_type="image/jpeg")
    line.picture = lambda key: key
    valve = hold_device(line)
    line.offer("b")
    until(lambda: line.engine.budget._waiting)

    line.engine.drain()
    valve.open()
    line.wait()

    assert line.outcomes["b"] == GivenBack()
    assert line.outcomes["first.jpg"].record.state == "done"


def test_draining_gives_back_what_cannot_be_uploaded(quick):
    """It has been through the network, but the process must not wait for the store."""
    valve = hold_device(quick)
    quick.fail_store("put", times=10**9)

    quick.engine.drain()
    valve.open()
    quick.wait()

    assert quick.outcomes["first.jpg"] == GivenBack()


def test_what_comes_after_draining_began_is_given_back(quick):
    quick.engine.drain()

    assert quick.run(quick.picture("a")) == [GivenBack()]


# --- memory


def test_a_tiny_budget_slows_down_and_stops_nothing(lines):
    """Every picture is larger than the whole budget, so they go one by one."""
    line = lines(budget_px=10)
    held = []
    real = line.segmenter.prepare
    line.segmenter.prepare = lambda image: held.append(line.engine.budget.held_px) or real(image)

    outcomes = line.run(*line.pictures(6))

    assert states(outcomes) == ["done"] * 6
    assert set(held) == {160 * 120}
    assert line.engine.budget.held_px == 0


def test_a_drawn_picture_gives_its_pixels_back_before_it_is_uploaded(quick):
    key, held = quick.picture("a"), []

    def before(call, bucket, key):
        if call == "put":
            held.append(quick.engine.budget.held_px)

    quick.store.before = before

    quick.record(key)

    assert held == [0, 0]


def test_a_retry_of_a_later_stage_keeps_its_pixels(lines):
    """The picture is still in memory; other pictures must not take its place."""
    stations, held = quick_stations(), []

    def compose(*_):
        held.append(line.engine.budget.held_px)
        raise MemoryError

    line = lines(stations=replace(stations, compose=compose))
    line.store.put("inbox", "a", b"x", content_type="image/jpeg")

    line.record("a")

    assert held == [64] * 8
    assert line.engine.budget.held_px == 0


@pytest.mark.parametrize("failing", ["measure", "encode", None])
def test_nothing_keeps_an_ended_items_picture(lines, failing):
    seen = []
    stations = quick_stations()

    def decode(data, options, isolate):
        decoded = stations.decode(data, options, isolate)
        seen.append(weakref.ref(decoded.image))
        return decoded

    def fail(*_):
        raise UndecodableImage("made up")

    changes = {"decode": decode} | ({failing: fail} if failing else {})
    line = lines(stations=replace(stations, **changes))
    line.store.put("inbox", "a", b"x", content_type="image/jpeg")

    gc.disable()
    try:
        [outcome] = line.run("a")
        until(lambda: seen[0]() is None)
    finally:
        gc.enable()

    assert outcome.record.state == ("failed" if failing else "done")


# --- progress


def test_an_idle_engine_progresses(line):
    line.engine._inflight.moved_at_s -= 1000

    assert line.engine.is_progressing(300)


def test_an_engine_whose_device_hangs_does_not(quick):
    valve = hold_device(quick)
    quick.engine._inflight.moved_at_s -= 1000

    assert not quick.engine.is_progressing(300)
    valve.open()
    quick.wait()


def test_ended_items_are_counted_and_given_back_ones_are_not(quick):
    quick.run(quick.picture("a"), "absent")
    quick.engine.drain()
    quick.run(quick.picture("b"))

    assert quick.engine.ended == 2


def test_many_threads_may_offer_at_once(quick):
    keys = [quick.picture(f"{n}") for n in range(60)]

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

    assert all(isinstance(outcome, Ended) for outcome in quick.outcomes.values())
    until(lambda: quick.engine.inside == 0)
