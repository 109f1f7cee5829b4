"""What is written to the bucket: once, and never over what must stay."""

import base64
import json

import pytest
from support.jobs import spec
from support.memory_store import MemoryStore
from support.stand_ins import stand_in_model

from shared.errors import (
    BucketUnavailable,
    ImageTooLarge,
    InvalidKey,
    ObjectMissing,
    OutputExists,
    StoreUnavailable,
)
from shared.job.record import ItemRecord
from shared.job.spec import Existing, ImageOutput, Naming, PictureOptions
from worker.storage.item_ref import Work
from worker.storage.output_keys import keys_of
from worker.storage.output_writer import MAX_ROUNDS, Effects

CUTOUT, MASK = "ComfyUI/cutout/a.jpg.png", "ComfyUI/mask/a.jpg.png"
PICTURES = {"mask": b"mask", "cutout": b"cutout"}


@pytest.fixture
def store():
    memory = MemoryStore()
    memory.put("inbox", "a.jpg", b"source", content_type="image/jpeg")
    return memory


@pytest.fixture
def effects(store):
    return Effects(store, max_bytes=100)


def work(**changes):
    given = {
        "job_id": "j",
        "sequence": 7,
        "spec": spec(),
        "index": 3,
        "image_key": "a.jpg",
        "model": stand_in_model(),
    }
    return Work(**given | changes)


def record_of(item, **changes):
    keys = keys_of(item, width=4, height=3)
    given = {
        "index": item.index,
        "image_key": item.image_key,
        "state": "done",
        "cutout_key": keys.cutout,
        "mask_key": keys.mask,
        "width": 4,
        "height": 3,
        "qc": {"verdict": "good"},
    }
    return ItemRecord(**given | changes)


def publish(effects, item, *, pictures=None, source="source-tag", **changes):
    return effects.publish(
        item, pictures or PICTURES, record_of(item, **changes), source_etag=source
    )


def source_tag(store):
    return store.head("inbox", "a.jpg").etag


# --- sources


def test_a_source_comes_with_its_tag(effects, store):
    body = effects.download(work())

    assert (body.data, body.etag) == (b"source", source_tag(store))


def test_a_missing_and_a_too_long_source_are_refused(effects, store):
    store.put("inbox", "long.jpg", bytes(101), content_type="image/jpeg")

    with pytest.raises(ObjectMissing, match="inbox/absent"):
        effects.download(work(image_key="absent.jpg"))
    with pytest.raises(ImageTooLarge, match="limit is 100"):
        effects.download(work(image_key="long.jpg"))


@pytest.mark.parametrize("key", ["../other/a.jpg", "a/../../b.jpg", "./a.jpg", "a\n.jpg", "a/"])
def test_a_bad_key_never_reaches_the_store(effects, store, key):
    """What a store or proxy makes of `..` is its own affair; it could be another bucket."""
    asked = []
    store.before = lambda *call: asked.append(call)

    with pytest.raises(InvalidKey):
        effects.download(work(image_key=key))
    assert asked == []


# --- writing


def test_both_pictures_are_written_the_mask_first(effects, store):
    order = []
    store.before = lambda call, _bucket, key: order.append((call, key))

    record = publish(effects, work())

    assert order == [("put", MASK), ("put", CUTOUT)]
    assert store.get("cutouts", CUTOUT).data == b"cutout"
    assert store.get("cutouts", MASK).data == b"mask"
    assert (record.existing, record.sizes) == (None, {"mask": 4, "cutout": 6})


def test_metadata_says_from_what_by_whom_and_how_long(effects, store):
    item = work()
    publish(effects, item)

    said = store.head("cutouts", CUTOUT).metadata

    assert said["rmbg-source"] == "source-tag"
    assert said["rmbg-params"] == item.spec.params_hash
    assert (said["rmbg-sequence"], said["rmbg-job"], said["rmbg-bytes"]) == ("7", "j", "6")


def test_metadata_fits_what_s3_allows_whatever_is_noted(effects, store):
    publish(effects, work(), notes=("a note of some length",) * 200)

    said = store.head("cutouts", CUTOUT).metadata

    assert sum(len(name) + len(value) for name, value in said.items()) <= 2048


def test_writing_again_leaves_what_is_there_as_it_is(effects, store):
    """On a GPU the last bit may differ between two runs, and with it the ETag."""
    publish(effects, work())
    before = store.head("cutouts", CUTOUT).etag

    again = publish(effects, work(), pictures={"mask": b"other", "cutout": b"pixels"})

    assert again.existing == "same"
    assert store.head("cutouts", CUTOUT).etag == before
    assert again.sizes == {"mask": 4, "cutout": 6}


def test_an_equal_picture_of_another_job_is_the_same(effects):
    publish(effects, work())

    assert publish(effects, work(job_id="k", sequence=8)).existing == "same"


@pytest.mark.parametrize(
    "change",
    [{"source": "new-tag"}, {"spec": spec(options=PictureOptions(edges="seed"))}],
    ids=["new source", "new parameters"],
)
def test_an_older_jobs_picture_is_replaced_when_source_or_parameters_changed(
    effects, store, change
):
    publish(effects, work())
    source = change.pop("source", "source-tag")

    record = publish(
        effects,
        work(sequence=8, **change),
        pictures={"mask": b"m2", "cutout": b"c2"},
        source=source,
    )

    assert record.existing is None
    assert store.get("cutouts", CUTOUT).data == b"c2"


def test_a_later_jobs_picture_is_never_replaced(effects, store):
    publish(effects, work(sequence=9), source="newer")

    record = publish(effects, work(sequence=8), pictures={"mask": b"m2", "cutout": b"c2"})

    assert record.existing == "superseded"
    assert store.get("cutouts", CUTOUT).data == b"cutout"


def foreign(store):
    for key in (MASK, CUTOUT):
        store.put("cutouts", key, b"somebody's", content_type="image/png")


def test_a_foreign_picture_is_replaced_by_default(effects, store):
    foreign(store)

    record = publish(effects, work())

    assert record.existing is None
    assert store.get("cutouts", CUTOUT).data == b"cutout"


def test_existing_keep_keeps_it(effects, store):
    foreign(store)

    record = publish(effects, work(spec=spec(existing=Existing.KEEP)))

    assert record.existing == "kept"
    assert record.sizes == {"mask": 10, "cutout": 10}
    assert store.get("cutouts", CUTOUT).data == b"somebody's"


def test_existing_fail_fails_and_names_the_key(effects, store):
    foreign(store)

    with pytest.raises(OutputExists, match=MASK):
        publish(effects, work(spec=spec(existing=Existing.FAIL)))
    assert store.get("cutouts", CUTOUT).data == b"somebody's"


def test_existing_fail_still_knows_its_own_pictures(effects):
    """A redo finds what its first run wrote."""
    item = work(spec=spec(existing=Existing.FAIL))
    publish(effects, item)

    assert publish(effects, item).existing == "same"


def test_a_worker_killed_between_mask_and_cutout_is_made_good(effects, store):
    publish(effects, work())
    store.delete("cutouts", [CUTOUT])

    record = publish(effects, work(), pictures={"mask": b"other", "cutout": b"cutout"})

    assert store.get("cutouts", MASK).data == b"mask"
    assert store.get("cutouts", CUTOUT).data == b"cutout"
    assert record.cutout_key == CUTOUT


def test_a_damaged_picture_of_ones_own_is_replaced(effects, store):
    publish(effects, work())
    said = store.head("cutouts", CUTOUT).metadata
    store.put("cutouts", CUTOUT, b"torn", content_type="image/png", metadata=said)

    record = publish(effects, work())

    assert store.get("cutouts", CUTOUT).data == b"cutout"
    assert record.sizes == {"mask": 4, "cutout": 6}


def test_a_picture_that_vanishes_before_it_is_looked_at_is_written(effects, store):
    """412, and then a HEAD that finds nothing: somebody deleted it in between."""
    foreign(store)

    def delete_before_head(call, bucket, key):
        if call == "head":
            store._objects.pop((bucket, key), None)

    store.before = delete_before_head

    assert publish(effects, work()).existing is None
    assert store.get("cutouts", CUTOUT).data == b"cutout"


def test_a_picture_that_changes_in_every_round_is_tried_later(effects, store):
    """Not for ever, and never without a condition."""
    foreign(store)
    rounds = []

    def change_before_put(call, bucket, key):
        if call == "put":
            rounds.append(key)
            store.before = lambda *_: None
            store.put(bucket, key, b"%d" % len(rounds), content_type="image/png")
            store.before = change_before_put

    store.before = change_before_put

    with pytest.raises(StoreUnavailable, match=MASK):
        publish(effects, work())
    assert len(rounds) == MAX_ROUNDS


def test_a_missing_bucket_is_not_the_items_fault(effects, store):
    store.missing.add("cutouts")

    with pytest.raises(BucketUnavailable):
        publish(effects, work())


# --- what an earlier process did


def recall(effects, item=None):
    return effects.recall(item or work())


def test_what_is_done_is_recalled_with_its_record(effects, store):
    written = publish(
        effects, work(), source=source_tag(store), notes=("first of 3 frames",), attempts=2
    )

    assert recall(effects) == written


def test_a_recalled_record_is_the_items_own(effects, store):
    """A key that occurs twice is two items at one place."""
    publish(effects, work(index=3), source=source_tag(store))

    assert recall(effects, work(index=5)).index == 5


def forget(key):
    return lambda store: store.delete("cutouts", [key])


def change_source(store):
    store.put("inbox", "a.jpg", b"new source", content_type="image/jpeg")


def damage(store):
    said = store.head("cutouts", CUTOUT).metadata
    store.put("cutouts", CUTOUT, b"torn", content_type="image/png", metadata=said)


@pytest.mark.parametrize(
    "spoil",
    [
        forget(CUTOUT),
        forget(MASK),
        change_source,
        lambda store: store.delete("inbox", ["a.jpg"]),
        damage,
    ],
    ids=["no cutout", "no mask", "new source", "no source", "damaged"],
)
def test_what_is_not_whole_or_not_of_this_source_is_not_recalled(effects, store, spoil):
    publish(effects, work(), source=source_tag(store))
    assert recall(effects) is not None

    spoil(store)

    assert recall(effects) is None


@pytest.mark.parametrize(
    "item",
    [
        work(sequence=8),
        work(spec=spec(options=PictureOptions(edges="seed"))),
        work(spec=spec(image_output=ImageOutput.HIDE)),
        work(spec=spec(naming=Naming.COMFYUI, counter_base=1)),
    ],
    ids=["another job", "other parameters", "hidden", "counted names"],
)
def test_what_is_not_this_jobs_is_not_recalled(effects, store, item):
    publish(effects, work(), source=source_tag(store))

    assert recall(effects, item) is None


def test_nothing_is_recalled_where_there_is_nothing(effects):
    assert recall(effects) is None


# --- names and copies


def test_counted_names_follow_the_index():
    item = work(spec=spec(naming=Naming.COMFYUI, counter_base=40, save_prefix="a/%width%x%height%"))

    keys = keys_of(item, width=4, height=3)

    assert (keys.cutout, keys.mask) == ("a/4x3_00043_.png", "a/4x3_mask_00043_.png")


def test_previews_have_a_place_of_their_own():
    item = work(spec=spec(image_output=ImageOutput.PREVIEW, date="2026-11-23"))

    assert keys_of(item, width=4, height=3).cutout == (
        "_preview/2026-11-23/j/easyPreview/cutout/a.jpg.png"
    )


def test_a_copy_for_review_lies_under_its_prefix(effects, store):
    item = work(spec=spec(review_prefix="look"))

    for picture in (b"first", b"second"):
        effects.copy_for_review(item, picture)

    assert store.get("cutouts", "look/a.jpg.png").data == b"second"


def test_a_doubtful_item_without_its_copy_is_not_recalled(effects, store):
    """Killed after the cutout and before the copy: else there would never be one."""
    item = work(spec=spec(review_prefix="look"))
    publish(effects, item, source=source_tag(store), qc={"verdict": "review"})
    assert recall(effects, item) is None

    effects.copy_for_review(item, b"cutout")

    assert recall(effects, item) is not None


def test_the_record_in_the_metadata_leaves_out_what_its_reader_knows(effects, store):
    publish(effects, work())

    packed = store.head("cutouts", CUTOUT).metadata["rmbg-record"]

    body = json.loads(base64.b64decode(packed))
    assert (body["image_key"], body["cutout_key"], body["mask_key"]) == ("", None, None)
    assert body["width"] == 4


def test_a_record_names_what_it_really_found(effects, store):
    """The weightiest of both outputs: a kept mask beside a new cutout is no new picture."""
    store.put("cutouts", MASK, b"somebody's", content_type="image/png")

    record = publish(effects, work(spec=spec(existing=Existing.KEEP)))

    assert record.existing == "kept"
