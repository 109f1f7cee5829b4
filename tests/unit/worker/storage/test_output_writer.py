"""Outputs are written exactly once and never replace what must stay."""

import base64
import json

import pytest
from support.jobs import spec
from support.memory_store import MemoryStore

from shared.errors import (
    BucketUnavailable,
    ImageTooLarge,
    InvalidKey,
    ObjectMissing,
    ObjectRefused,
    OutputExists,
    RequestRefused,
    StoreUnavailable,
)
from shared.job.options import PictureOptions
from shared.job.outputs import RecipeOutput
from shared.job.record import ItemRecord, OutputFacts
from shared.job.spec import Existing, ImageOutput, Naming
from shared.recipes import Recipe
from worker.storage.item_ref import ItemRef
from worker.storage.output_keys import keys_of
from worker.storage.output_writer import MAX_ROUNDS, OutputWriter
from worker.storage.outputs import EncodedOutput, Present

CUTOUT, MASK = "ComfyUI/cutout/a.jpg.png", "ComfyUI/mask/a.jpg.png"
OUTPUTS = {"mask": b"mask", "cutout": b"cutout"}


@pytest.fixture
def store():
    memory = MemoryStore()
    memory.put("inbox", "a.jpg", b"source", content_type="image/jpeg")
    return memory


@pytest.fixture
def writer(store):
    return OutputWriter(store, max_bytes=100)


def item_ref(**changes):
    given = {
        "job_id": "j",
        "sequence": 7,
        "spec": spec(),
        "index": 3,
        "image_key": "a.jpg",
    }
    return ItemRef(**given | changes)


def record_of(item, **changes):
    keys = keys_of(item, width=4, height=3)
    given = {
        "index": item.index,
        "image_key": item.image_key,
        "state": "done",
        "cutout_key": keys.get("cutout"),
        "mask_key": keys.get("mask"),
        "width": 4,
        "height": 3,
        "qc": {"verdict": "good"},
    }
    return ItemRecord(**given | changes)


def encoded(item, name, body):
    params_hash = item.spec.hash_of(name, has_alpha=False)
    return EncodedOutput(name, {0: body}, "png", "image/png", params_hash)


def publish(writer, item, *, outputs=None, source="source-tag", present=None, **changes):
    return writer.publish(
        item,
        [encoded(item, name, body) for name, body in (outputs or OUTPUTS).items()],
        record_of(item, **changes),
        present=Present(source, present or {}),
        mask_hash=item.spec.mask_hash,
    )


def source_tag(store):
    return store.head("inbox", "a.jpg").etag


# --- sources


def open_source(writer, key):
    with writer.open_source(item_ref(image_key=key)):
        pytest.fail(f"{key} was opened")


def test_a_source_is_returned_with_its_etag(writer, store):
    with writer.open_source(item_ref()) as source:
        assert (source.size_bytes, source.read(), source.etag) == (6, b"source", source_tag(store))


def test_missing_and_too_large_sources_are_refused(writer, store):
    store.put("inbox", "long.jpg", bytes(101), content_type="image/jpeg")

    with pytest.raises(ObjectMissing, match="inbox/absent"):
        open_source(writer, "absent.jpg")
    with pytest.raises(ImageTooLarge, match="limit is 100"):
        open_source(writer, "long.jpg")


@pytest.mark.parametrize("key", ["../other/a.jpg", "a/../../b.jpg", "./a.jpg", "a\n.jpg", "a/"])
def test_a_bad_key_never_reaches_the_store(writer, store, key):
    """A store or proxy may resolve `..`, even to another bucket."""
    asked = []
    store.before = lambda *call: asked.append(call)

    with pytest.raises(InvalidKey):
        open_source(writer, key)
    assert asked == []


# --- writing


def test_the_mask_is_written_before_the_cutout(writer, store):
    order = []
    store.before = lambda call, _bucket, key: order.append((call, key))

    record = publish(writer, item_ref())

    assert order == [("put", MASK), ("put", CUTOUT)]
    assert store.get("cutouts", CUTOUT).data == b"cutout"
    assert store.get("cutouts", MASK).data == b"mask"
    assert (record.existing, record.sizes) == (None, {"mask": 4, "cutout": 6})


def test_metadata_holds_source_parameters_job_and_size(writer, store):
    item = item_ref()
    publish(writer, item)

    metadata = store.head("cutouts", CUTOUT).metadata

    assert metadata["rmbg-source"] == "source-tag"
    assert metadata["rmbg-params"] == item.spec.params_hash
    assert (metadata["rmbg-sequence"], metadata["rmbg-job"], metadata["rmbg-bytes"]) == (
        "7",
        "j",
        "6",
    )


def test_metadata_stays_within_the_limit_of_s3(writer, store):
    publish(writer, item_ref(), notes=("a note of some length",) * 200)

    metadata = store.head("cutouts", CUTOUT).metadata

    assert sum(len(name) + len(value) for name, value in metadata.items()) <= 2048


def test_writing_again_does_not_change_the_objects(writer, store):
    """On a GPU the last bit may differ between two runs, and with it the ETag."""
    publish(writer, item_ref())
    before = store.head("cutouts", CUTOUT).etag

    again = publish(writer, item_ref(), outputs={"mask": b"other", "cutout": b"pixels"})

    assert again.existing == "same"
    assert store.head("cutouts", CUTOUT).etag == before
    assert again.sizes == {"mask": 4, "cutout": 6}


def test_an_equal_output_of_another_job_is_not_replaced(writer):
    publish(writer, item_ref())

    assert publish(writer, item_ref(job_id="k", sequence=8)).existing == "same"


@pytest.mark.parametrize(
    "change",
    [{"source": "new-tag"}, {"spec": spec(options=PictureOptions(edges="seed"))}],
    ids=["new source", "new parameters"],
)
def test_an_output_of_an_older_job_is_replaced_if_source_or_parameters_changed(
    writer, store, change
):
    publish(writer, item_ref())
    source = change.pop("source", "source-tag")

    record = publish(
        writer,
        item_ref(sequence=8, **change),
        outputs={"mask": b"m2", "cutout": b"c2"},
        source=source,
    )

    assert record.existing is None
    assert store.get("cutouts", CUTOUT).data == b"c2"


def test_an_output_of_a_later_job_is_never_replaced(writer, store):
    publish(writer, item_ref(sequence=9), source="newer")

    record = publish(writer, item_ref(sequence=8), outputs={"mask": b"m2", "cutout": b"c2"})

    assert record.existing == "superseded"
    assert store.get("cutouts", CUTOUT).data == b"cutout"


def put_unknown(store):
    for key in (MASK, CUTOUT):
        store.put("cutouts", key, b"unknown", content_type="image/png")


def test_an_unknown_object_is_replaced_by_default(writer, store):
    put_unknown(store)

    record = publish(writer, item_ref())

    assert record.existing is None
    assert store.get("cutouts", CUTOUT).data == b"cutout"


def test_existing_keep_keeps_an_unknown_object(writer, store):
    put_unknown(store)

    record = publish(writer, item_ref(spec=spec(existing=Existing.KEEP)))

    assert record.existing == "kept"
    assert record.sizes == {"mask": 7, "cutout": 7}
    assert store.get("cutouts", CUTOUT).data == b"unknown"


def test_existing_fail_fails_and_names_the_key(writer, store):
    put_unknown(store)

    with pytest.raises(OutputExists, match=MASK):
        publish(writer, item_ref(spec=spec(existing=Existing.FAIL)))
    assert store.get("cutouts", CUTOUT).data == b"unknown"


def test_existing_fail_recognises_its_own_outputs(writer):
    """A redo finds what its first run wrote."""
    item = item_ref(spec=spec(existing=Existing.FAIL))
    publish(writer, item)

    assert publish(writer, item).existing == "same"


def test_a_missing_cutout_beside_its_mask_is_written(writer, store):
    publish(writer, item_ref())
    store.delete("cutouts", [CUTOUT])

    record = publish(writer, item_ref(), outputs={"mask": b"other", "cutout": b"cutout"})

    assert store.get("cutouts", MASK).data == b"mask"
    assert store.get("cutouts", CUTOUT).data == b"cutout"
    assert record.cutout_key == CUTOUT


def test_a_damaged_output_of_the_same_job_is_replaced(writer, store):
    publish(writer, item_ref())
    metadata = store.head("cutouts", CUTOUT).metadata
    store.put("cutouts", CUTOUT, b"torn", content_type="image/png", metadata=metadata)

    record = publish(writer, item_ref())

    assert store.get("cutouts", CUTOUT).data == b"cutout"
    assert record.sizes == {"mask": 4, "cutout": 6}


def test_an_object_that_disappears_before_it_is_inspected_is_written(writer, store):
    """The PUT returns 412, and then the HEAD finds nothing: the object was deleted in between."""
    put_unknown(store)

    def delete_before_head(call, bucket, key):
        if call == "head":
            store._objects.pop((bucket, key), None)

    store.before = delete_before_head

    assert publish(writer, item_ref()).existing is None
    assert store.get("cutouts", CUTOUT).data == b"cutout"


def test_an_object_that_changes_in_every_round_is_tried_later(writer, store):
    """There are `MAX_ROUNDS` conditional writes, and never an unconditional one."""
    put_unknown(store)
    rounds = []

    def change_before_put(call, bucket, key):
        if call == "put":
            rounds.append(key)
            store.before = lambda *_: None
            store.put(bucket, key, b"%d" % len(rounds), content_type="image/png")
            store.before = change_before_put

    store.before = change_before_put

    with pytest.raises(StoreUnavailable, match=MASK):
        publish(writer, item_ref())
    assert len(rounds) == MAX_ROUNDS


def test_a_missing_bucket_is_no_error_of_the_item(writer, store):
    store.missing.add("cutouts")

    with pytest.raises(BucketUnavailable):
        publish(writer, item_ref())


# --- recalling


def recall(writer, item=None):
    """Return the record of an item that is whole, or None."""
    found = writer.recall.find(item or item_ref())
    return None if isinstance(found, Present) else found


def test_a_finished_item_is_recalled_with_its_record(writer, store):
    written = publish(
        writer, item_ref(), source=source_tag(store), notes=("first of 3 frames",), attempts=2
    )

    assert recall(writer) == written


def test_a_recalled_record_has_the_index_of_its_item(writer, store):
    """A key that occurs twice in a job means two items with the same outputs."""
    publish(writer, item_ref(index=3), source=source_tag(store))

    assert recall(writer, item_ref(index=5)).index == 5


def delete(key):
    return lambda store: store.delete("cutouts", [key])


def change_source(store):
    store.put("inbox", "a.jpg", b"new source", content_type="image/jpeg")


def damage(store):
    metadata = store.head("cutouts", CUTOUT).metadata
    store.put("cutouts", CUTOUT, b"torn", content_type="image/png", metadata=metadata)


@pytest.mark.parametrize(
    "change",
    [
        delete(CUTOUT),
        delete(MASK),
        change_source,
        lambda store: store.delete("inbox", ["a.jpg"]),
        damage,
    ],
    ids=["no cutout", "no mask", "new source", "no source", "damaged"],
)
def test_an_incomplete_or_outdated_item_is_not_recalled(writer, store, change):
    publish(writer, item_ref(), source=source_tag(store))
    assert recall(writer) is not None

    change(store)

    assert recall(writer) is None


@pytest.mark.parametrize(
    "item",
    [
        item_ref(sequence=8),
        item_ref(spec=spec(options=PictureOptions(edges="seed"))),
        item_ref(spec=spec(image_output=ImageOutput.HIDE)),
        item_ref(spec=spec(naming=Naming.COMFYUI, counter_base=1)),
    ],
    ids=["another job", "other parameters", "hidden", "counted names"],
)
def test_outputs_of_another_job_are_not_recalled(writer, store, item):
    publish(writer, item_ref(), source=source_tag(store))

    assert recall(writer, item) is None


SIZED = item_ref(spec=spec(save_prefix="%width%x%height%"))


def test_an_item_whose_keys_contain_the_size_is_recalled_with_the_size(writer, store):
    written = publish(writer, SIZED, source=source_tag(store))

    def recall_sized(width=4, height=3, source=None):
        found = writer.recall.find_sized(
            SIZED, width=width, height=height, source_etag=source or source_tag(store)
        )
        return None if isinstance(found, Present) else found

    assert recall(writer, SIZED) is None
    assert recall_sized() == written
    assert recall_sized(width=3, height=4) is None
    assert recall_sized(source="another") is None


def test_an_item_whose_keys_do_not_contain_the_size_needs_no_second_look(writer, store):
    publish(writer, item_ref(), source=source_tag(store))
    calls = []
    store.before = lambda *call: calls.append(call)

    found = writer.recall.find_sized(item_ref(), width=4, height=3, source_etag="x")

    assert (found, calls) == (Present("x"), [])


def test_an_empty_bucket_recalls_nothing(writer):
    assert recall(writer) is None


# --- names and review copies


def test_counted_names_follow_the_index():
    item = item_ref(
        spec=spec(naming=Naming.COMFYUI, counter_base=40, save_prefix="a/%width%x%height%")
    )

    keys = keys_of(item, width=4, height=3)

    assert (keys["cutout"], keys["mask"]) == ("a/4x3_00043_.png", "a/4x3_mask_00043_.png")


def test_previews_are_written_under_their_own_prefix():
    item = item_ref(spec=spec(image_output=ImageOutput.PREVIEW, date="2026-11-23"))

    assert keys_of(item, width=4, height=3)["cutout"] == (
        "_preview/2026-11-23/j/easyPreview/cutout/a.jpg.png"
    )


REVIEW_COPY = "look/a.jpg.png"


def doubtful(writer, store, cutout=b"cutout", *, params="p" * 64, existing="replace", **changes):
    """Publish a doubtful item of a job that has a review prefix; return the item."""
    job = spec(review_prefix="look", params_hash=params, existing=existing)
    item = item_ref(spec=job, **changes)
    outputs = {"mask": b"mask", "cutout": cutout}
    publish(writer, item, outputs=outputs, source=source_tag(store), qc={"verdict": "review"})
    return item


def test_a_doubtful_cutout_is_copied_for_review(writer, store):
    doubtful(writer, store)

    assert store.get("cutouts", REVIEW_COPY).data == b"cutout"


@pytest.mark.parametrize(
    "later",
    [{"sequence": 10, "params": "q" * 64}, {"generation": 2, "repaired": 2}],
    ids=["job", "generation"],
)
def test_a_later_copy_for_review_replaces_the_former(writer, store, later):
    doubtful(writer, store)
    doubtful(writer, store, b"second", **later)

    assert store.get("cutouts", REVIEW_COPY).data == b"second"


@pytest.mark.parametrize(
    "later",
    [{"sequence": 10, "params": "q" * 64}, {"generation": 2, "repaired": 2}, {}],
    ids=["job", "generation", "worker"],
)
def test_a_worker_that_comes_back_replaces_no_later_copy_for_review(writer, store, later):
    """The copy shows the cutout that is in the bucket."""
    doubtful(writer, store, b"second", **later)
    doubtful(writer, store)

    assert store.get("cutouts", REVIEW_COPY).data == b"second"
    assert store.get("cutouts", CUTOUT).data == b"second"


def test_a_worker_that_was_frozen_before_the_copy_replaces_no_later_one(writer, store):
    """Its own cutout was in the bucket before another job replaced it."""
    frozen = []

    def before(call, _bucket, key):
        if call == "put" and key == REVIEW_COPY and not frozen:
            frozen.append(key)
            doubtful(writer, store, b"second", sequence=10, params="q" * 64)

    store.before = before
    doubtful(writer, store)

    assert frozen
    assert store.get("cutouts", REVIEW_COPY).data == b"second"


def test_a_cutout_that_was_kept_is_not_copied(writer, store):
    put_unknown(store)

    doubtful(writer, store, existing="keep")

    assert store.head("cutouts", REVIEW_COPY) is None


@pytest.mark.parametrize("existing", ["keep", "fail"])
def test_a_copy_for_review_of_an_earlier_job_is_always_replaced(writer, store, existing):
    """Earlier versions wrote it without metadata."""
    store.put("cutouts", REVIEW_COPY, b"earlier", content_type="image/png")

    item = doubtful(writer, store, existing=existing)

    assert store.get("cutouts", REVIEW_COPY).data == b"cutout"
    assert recall(writer, item) is not None


def test_a_cutout_without_doubt_is_not_copied(writer, store):
    publish(writer, item_ref(spec=spec(review_prefix="look")))

    assert store.head("cutouts", REVIEW_COPY) is None


def test_a_doubtful_item_without_its_copy_is_not_recalled(writer, store):
    """A worker may be killed after the cutout and before the copy, which a redo must then write."""
    item = doubtful(writer, store)
    assert recall(writer, item) is not None

    store.put("cutouts", REVIEW_COPY, b"of another job", content_type="image/png")
    assert recall(writer, item) is None

    store.delete("cutouts", [REVIEW_COPY])

    assert recall(writer, item) is None


def test_the_record_in_the_metadata_omits_the_keys(writer, store):
    publish(writer, item_ref())

    packed = store.head("cutouts", CUTOUT).metadata["rmbg-record"]

    body = json.loads(base64.b64decode(packed))
    assert (body["image_key"], body["cutout_key"], body["mask_key"]) == ("", None, None)
    assert body["width"] == 4


def test_a_record_names_the_most_important_conflict(writer, store):
    """A kept mask beside a new cutout counts as kept."""
    store.put("cutouts", MASK, b"unknown", content_type="image/png")

    record = publish(writer, item_ref(spec=spec(existing=Existing.KEEP)))

    assert record.existing == "kept"


def publish_refused(store, writer, *, code, refused):
    """Publish an item while the store refuses the writes of keys for which *refused* holds."""
    store.written = []

    def before(call, bucket, key):
        if call == "put":
            store.written.append(key)
            if refused(key):
                raise RequestRefused("no", bucket=bucket, operation=call, code=code)

    store.before = before
    publish(writer, item_ref())


def test_a_write_that_is_refused_for_one_key_fails_its_item(store, writer):
    with pytest.raises(ObjectRefused, match="no") as caught:
        publish_refused(store, writer, code="Odd", refused=lambda key: key == MASK)

    assert caught.value.code == "Odd"


def test_a_write_that_is_refused_for_every_key_lets_the_job_wait(store, writer):
    with pytest.raises(BucketUnavailable):
        publish_refused(store, writer, code="Odd", refused=lambda _: True)


def test_a_denied_write_never_fails_its_item(store, writer):
    """Rights to write are given for a bucket or a prefix, not for one image."""
    with pytest.raises(BucketUnavailable):
        publish_refused(store, writer, code="AccessDenied", refused=lambda key: key == MASK)

    assert store.written == [MASK]


# --- previews


def test_a_preview_is_written_beside_the_documents_of_the_job(store, writer):
    writer.write_preview(item_ref(), b"webp")

    assert store.get("cutouts", "_jobs/j/previews/3.webp").data == b"webp"


def test_the_preview_of_a_preview_job_is_written_beside_its_images(store, writer):
    job = spec(image_output=ImageOutput.PREVIEW, date="2026-11-23")

    writer.write_preview(item_ref(spec=job), b"webp")

    assert store.keys("cutouts") == ["_preview/2026-11-23/j/previews/3.webp"]


def test_a_preview_that_is_written_again_replaces_the_first(store, writer):
    writer.write_preview(item_ref(), b"first")
    writer.write_preview(item_ref(generation=2), b"second")

    assert store.get("cutouts", "_jobs/j/previews/3.webp").data == b"second"


@pytest.mark.parametrize(
    "error",
    [
        StoreUnavailable("busy"),
        BucketUnavailable("missing"),
        RequestRefused("refused"),
        InvalidKey("no such key"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_preview_that_cannot_be_written_is_logged(store, writer, caplog, error):
    def before(call, bucket, key):
        raise error

    store.before = before

    writer.write_preview(item_ref(), b"webp")

    [line] = caplog.records
    assert (line.message, line.levelname) == ("preview not written", "WARNING")
    assert (line.image_key, line.cause) == ("a.jpg", str(error))


# --- outputs that are made by recipes

SHOP = RecipeOutput(name="shop", recipe=Recipe(format="webp", widths=(320, 640), on_review="hold"))
TILE = RecipeOutput(name="tile", recipe=Recipe(longest_px=64))
WITH_RECIPES = item_ref(spec=spec(outputs=(SHOP, TILE)))


def made(item, output, verdict="ok"):
    files = {width: b"%d" % width for width in output.recipe.widths} or {0: b"tile"}
    facts = OutputFacts(verdict=verdict, format="webp")
    hash_ = item.spec.hash_of(output.name, has_alpha=False)
    media_type = f"image/{output.recipe.format}"
    return EncodedOutput(output.name, files, output.recipe.format, media_type, hash_, facts)


def publish_all(writer, item, *names, verdict="ok", source=None, present=None):
    ready = [
        encoded(item, "cutout", b"cutout"),
        made(item, TILE),
        made(item, SHOP, verdict),
        encoded(item, "mask", b"mask"),
    ]
    return writer.publish(
        item,
        [each for each in ready if not names or each.name in names],
        record_of(item),
        present=present or Present(source or "source-tag"),
        mask_hash=item.spec.mask_hash,
    )


def puts(store):
    """Return a list that grows by the key of every object that is written."""
    keys = []
    store.before = lambda call, _bucket, key: keys.append(key) if call == "put" else None
    return keys


def test_the_mask_comes_first_then_the_outputs_as_named_then_the_cutout(writer, store):
    keys = puts(store)

    record = publish_all(writer, WITH_RECIPES)

    assert keys == [
        MASK,
        "ComfyUI/shop/320/a.jpg.webp",
        "ComfyUI/shop/640/a.jpg.webp",
        "ComfyUI/tile/a.jpg.png",
        CUTOUT,
    ]
    assert record.outputs["shop"].widths == {320: 3, 640: 3}
    assert record.outputs["tile"].bytes == 4
    assert record.sizes == {"mask": 4, "cutout": 6}


def test_an_output_that_waits_for_a_person_is_written_below_held(writer, store):
    keys = puts(store)

    publish_all(writer, WITH_RECIPES, "shop", verdict="review")

    assert keys == ["ComfyUI/held/shop/320/a.jpg.webp", "ComfyUI/held/shop/640/a.jpg.webp"]


def test_an_item_with_recipes_is_recalled_whole_also_with_held_outputs(writer, store):
    for verdict in ("ok", "review"):
        store.delete("cutouts", store.keys("cutouts"))
        written = publish_all(writer, WITH_RECIPES, verdict=verdict, source=source_tag(store))

        assert recall(writer, WITH_RECIPES) == written


@pytest.mark.parametrize("count", range(5))
def test_a_redo_writes_only_what_is_missing(writer, store, count):
    """As after a death between two writes: the first *count* objects are there."""
    publish_all(writer, WITH_RECIPES, source=source_tag(store))
    order = [MASK, *(f"ComfyUI/shop/{w}/a.jpg.webp" for w in (320, 640)), "ComfyUI/tile/a.jpg.png"]
    order.append(CUTOUT)
    store.delete("cutouts", order[count:])
    keys = puts(store)

    present = writer.recall.find(WITH_RECIPES).of(source_tag(store))
    wanted = [name for name in ("mask", "shop", "tile", "cutout") if name not in present.outputs]
    record = publish_all(writer, WITH_RECIPES, *wanted, present=present)

    # An output in several widths is made again as a whole; what is there of it stays.
    assert [key for key in keys if "/shop/" not in key] == [
        key for key in order[count:] if "/shop/" not in key
    ]
    assert record.outputs.keys() == {"shop", "tile"}
    assert recall(writer, WITH_RECIPES).outputs.keys() == {"shop", "tile"}


def test_nothing_present_counts_once_the_source_has_changed(writer, store):
    publish_all(writer, WITH_RECIPES, "mask", source=source_tag(store))
    store.put("inbox", "a.jpg", b"another", content_type="image/jpeg")

    assert writer.recall.find(WITH_RECIPES).outputs == {}


def test_metadata_of_an_anchor_with_many_failed_checks_stays_within_the_limit_of_s3(writer, store):
    only = item_ref(spec=spec(outputs=(TILE,), has_cutout=False))
    failed = {f"check_number_{n}": (n * 1.5, "longest 10000") for n in range(16)}
    facts = OutputFacts(failed=failed, noted=failed, fixes=("quality",) * 4)
    output = EncodedOutput(
        "tile", {0: b"x"}, "png", "image/png", only.spec.hash_of("tile", has_alpha=False), facts
    )
    record = record_of(only, notes=("a note of some length",) * 200)

    writer.publish(only, [output], record, present=Present("tag"), mask_hash="m")

    metadata = store.head("cutouts", "ComfyUI/tile/a.jpg.png").metadata
    assert sum(len(name) + len(value) for name, value in metadata.items()) <= 2048
    assert len(metadata["rmbg-facts"]) <= 700
    assert len(metadata["rmbg-record"]) <= 1000
