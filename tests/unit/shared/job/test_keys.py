"""Keys of outputs and documents."""

from __future__ import annotations

import doctest
import random
import re
from datetime import date, datetime

import pytest

from shared.errors import InvalidKey, InvalidPrefix
from shared.job import keys, output_keys
from shared.job.keys import check_image_key, check_prefix, expand_prefix
from shared.job.notes import ended_key
from shared.job.output_keys import (
    Slot,
    comfyui_stem,
    highest_number,
    is_own_output,
    output_folders,
    output_key,
)
from shared.job.outputs import RecipeOutput
from shared.job.preview_keys import preview_folder, preview_key
from shared.job.spec import ImageOutput, JobSpec, Naming
from shared.job.ticket import JOB_ID
from shared.recipes import Recipe

SPEC = JobSpec(
    input_bucket="inbox",
    output_bucket="cutouts",
    save_prefix="shop",
    weights_sha256="0" * 64,
    date="2026-11-23",
)
NOW = datetime(2026, 3, 9, 5, 7, 8)  # noqa: DTZ001 - the producer's local time


def changed(spec, **fields):
    return spec.model_copy(update=fields)


def key(spec=SPEC, *, output="cutout", ext="png", width_px=0, held=False, **changes):
    item = {"job_id": "j1", "index": 0, "image_key": "a.jpg", "width": 640, "height": 480}
    return output_key(spec, Slot(output, ext, width_px, held), **item | changes)


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(keys) == (0, 2)
    assert doctest.testmod(output_keys) == (0, 7)


# --- naming by source


def test_the_sources_key_stands_whole_below_prefix_and_output():
    assert key(image_key="a/b.jpg") == "shop/cutout/a/b.jpg.png"
    assert key(image_key="a/b.jpg", output="mask") == "shop/mask/a/b.jpg.png"
    assert key(image_key="a/b.jpg", output="white-bg", ext="webp") == "shop/white-bg/a/b.jpg.webp"


def test_pictures_that_differ_in_their_extension_only_do_not_meet():
    assert key(image_key="a.jpg") != key(image_key="a.png")


def test_the_default_prefix_is_the_nodes():
    spec = JobSpec(input_bucket="i", output_bucket="o", weights_sha256="0")

    assert key(spec) == "ComfyUI/cutout/a.jpg.png"


def some_keys(count):
    """Image keys from a small alphabet, so that near misses are frequent."""
    rng = random.Random(7)
    pieces = ["a", "b", ".", "/", ".png", "cutout", "mask", "shop", "_00001_", "é", " ", "%width%"]
    for _ in range(count):
        image_key = "".join(rng.choices(pieces, k=rng.randint(1, 6)))
        try:
            check_image_key(image_key)
        except InvalidKey:
            continue
        yield image_key


@pytest.mark.parametrize("image_output", [ImageOutput.SAVE, ImageOutput.PREVIEW])
@pytest.mark.parametrize("prefix", ["shop", "shop/%width%x%height%", "cutout", "a/cutout/a"])
def test_no_two_items_outputs_meet(image_output, prefix):
    """Injective over key, output and extension, for images of any size."""
    rng = random.Random(8)
    spec = changed(SPEC, save_prefix=prefix, image_output=image_output)
    of_key = {}
    for image_key in some_keys(4000):
        for output in ("cutout", "mask"):
            for ext in ("png", "jpg"):
                size = {"width": rng.choice((1, 11, 111)), "height": rng.choice((1, 11))}
                made = key(spec, image_key=image_key, output=output, ext=ext, **size)
                assert of_key.setdefault(made, (image_key, output, ext)) == (
                    image_key,
                    output,
                    ext,
                )
    assert len(of_key) > 2000


def test_a_redelivered_item_writes_the_same_key():
    for image_key in some_keys(200):
        assert key(image_key=image_key) == key(image_key=image_key)


# --- placeholders


def test_dates_are_expanded_and_sizes_are_left():
    prefix = "%year%-%month%-%day%/%hour%%minute%%second%/%width%_%batch_num%%other%"

    assert expand_prefix(prefix, NOW) == "2026-03-09/050708/%width%_%batch_num%%other%"


@pytest.mark.parametrize("naming", Naming)
def test_sizes_and_number_are_filled_in_by_the_worker(naming):
    spec = changed(SPEC, save_prefix="%width%x%height%/n%batch_num%", naming=naming)

    assert key(spec, index=3).startswith("640x480/n3")


# --- naming as ComfyUI does


def test_comfyui_numbers_count_from_the_reserved_base():
    spec = changed(SPEC, naming=Naming.COMFYUI, save_prefix="sub/ComfyUI", counter_base=41)

    assert key(spec, index=1) == "sub/ComfyUI_00042_.png"
    assert key(spec, index=1, output="mask") == "sub/ComfyUI_mask_00042_.png"
    assert key(spec, index=99_999) == "sub/ComfyUI_100040_.png"


def test_the_highest_number_counts_every_output_and_nobody_elses():
    names = [
        "s/a_00003_.png",
        "s/a_mask_00005_.png",
        "s/a_white-bg_00006_.jpg",
        "s/ab_00010_.png",
        "s/a_00011_x.png",
        "s/a_12_.png",
        "s/a_00013_.png/z",
        "x/s/a_00014_.png",
        "s/a.b_00015_.png",
    ]

    assert highest_number(names, "s/a") == 6
    assert highest_number([], "s/a") == 0
    assert highest_number(["sXa_00001_.png"], "s.a") == 0


def test_the_highest_number_of_a_prefix_with_sizes_counts_all_sizes():
    names = ["w10/a_00002_.png", "w2000/a_mask_00003_.png", "wide/a_00009_.png"]

    assert highest_number(names, "w%width%/a") == 3


def test_the_stem_is_what_comes_before_the_workers_placeholders():
    assert comfyui_stem("a/b") == "a/b"
    assert comfyui_stem("a/%height%/b") == "a/"
    assert comfyui_stem("%batch_num%") == ""


def test_what_a_job_writes_is_found_again_as_its_highest_number():
    """Reserving after a job gives numbers that it has not used."""
    spec = changed(SPEC, naming=Naming.COMFYUI, save_prefix="s/%width%", counter_base=7)
    names = [key(spec, index=n, output=out) for n in range(5) for out in ("cutout", "mask")]

    assert highest_number(names, spec.save_prefix) == 11
    assert all(name.startswith(comfyui_stem(spec.save_prefix)) for name in names)


# --- previews


@pytest.mark.parametrize("naming", Naming)
def test_previews_have_a_place_of_their_own_whatever_prefix_and_naming(naming):
    spec = changed(SPEC, image_output=ImageOutput.PREVIEW, naming=naming)

    assert key(spec, image_key="a/b.jpg") == (
        "_preview/2026-11-23/j1/easyPreview/cutout/a/b.jpg.png"
    )


def test_previews_of_items_lie_beside_the_documents_of_the_job():
    assert preview_key(SPEC, "j1", 12) == "_jobs/j1/previews/12.webp"
    assert preview_key(SPEC, "j1", 12).startswith(preview_folder("j1"))


def test_previews_of_items_of_a_preview_job_are_no_outputs_of_it():
    spec = changed(SPEC, image_output=ImageOutput.PREVIEW)

    found = preview_key(spec, "j1", 12)

    assert found == "_preview/2026-11-23/j1/previews/12.webp"
    assert not found.startswith(tuple(output_folders(spec, "j1")))


def test_notes_of_ended_jobs_are_sorted_by_day_and_are_no_folder_of_a_job():
    notes = [ended_key("b", date(2026, 8, 31)), ended_key("a", date(2026, 9, 1))]

    assert notes == ["_jobs/.ended/2026-08-31/b", "_jobs/.ended/2026-09-01/a"]
    assert not JOB_ID.fullmatch(".ended")


# --- refusals


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "/",
        "/abs",
        "a/",
        "a//b",
        "..",
        "../a",
        "a/../b",
        "a/..",
        ".",
        "./a",
        "a/./b",
        "a\nb",
        "a\x00",
        "a\x7f",
        "a\x85b",
        "\udc80",
        "_jobs",
        "_jobs/x",
        "_jobs_00001",
        "_preview",
        "_preview/2026",
        "é" * 513,
    ],
)
def test_a_prefix_that_could_write_elsewhere_is_refused(prefix):
    with pytest.raises(InvalidPrefix, match="save prefix"):
        check_prefix(prefix)


@pytest.mark.parametrize(
    "prefix",
    [
        "a",
        "a/b c",
        "ComfyUI",
        "jobs",
        "x/_jobs",
        "..a",
        "a..b/c...",
        "%year%/%width%",
        "日本",
        "é" * 512,
    ],
)
def test_other_prefixes_are_taken(prefix):
    check_prefix(prefix)


@pytest.mark.parametrize(
    "image_key",
    ["", "a/", "..", "../a.jpg", "a/../b.jpg", "./a.jpg", "a/.", "a\n.jpg", "a\x00", "\udc80.jpg"],
)
@pytest.mark.parametrize("naming", Naming)
def test_a_bad_image_key_fails_its_item(naming, image_key):
    with pytest.raises(InvalidKey, match=re.escape(repr(image_key))):
        key(changed(SPEC, naming=naming), image_key=image_key)


@pytest.mark.parametrize("image_key", ["..a.jpg", "a...jpg", "/a.jpg", "a//b.jpg", "_jobs/x.jpg"])
def test_an_odd_image_key_is_let_through(image_key):
    assert key(image_key=image_key) == f"shop/cutout/{image_key}.png"


def test_an_output_key_has_a_kilobyte_of_utf8():
    fits = "é" * ((1024 - len("shop/cutout/.png")) // 2)

    assert len(key(image_key=fits).encode()) == 1024
    with pytest.raises(InvalidKey, match=r"1025 bytes long; the limit is 1024"):
        key(image_key=fits + "a")


def test_sizes_count_for_the_keys_length():
    spec = changed(SPEC, save_prefix="%width%")

    with pytest.raises(InvalidKey, match="the limit is 1024"):
        key(spec, image_key="a" * 1010, width=10_000)


@pytest.mark.parametrize("bad", [{"output": "a/b"}, {"output": ""}, {"ext": "p.ng"}, {"ext": ""}])
def test_an_output_that_could_meet_another_is_refused(bad):
    with pytest.raises(InvalidKey, match="is not valid"):
        key(**bad)


# --- a job's documents, and its own outputs


def test_a_jobs_documents_lie_below_its_id():
    assert keys.results_key("j1") == "_jobs/j1/results.jsonl"
    assert keys.report_key("j1") == "_jobs/j1/report.html"
    assert keys.shard_key("j1", "0-64", 2) == "_jobs/j1/shards/0-64.2.jsonl"
    assert keys.manifest_key("j1", 12).startswith("_jobs/j1/manifest/")
    chunks = [keys.manifest_key("j1", chunk) for chunk in (9, 10, 100_000)]
    assert chunks == sorted(chunks)


SAME = changed(SPEC, output_bucket="inbox", review_prefix="review")


@pytest.mark.parametrize("naming", Naming)
@pytest.mark.parametrize("output", ["cutout", "mask"])
@pytest.mark.parametrize("prefix", ["shop", "s.p/%width%/x"])
def test_a_jobs_own_outputs_are_known(naming, output, prefix):
    spec = changed(SAME, naming=naming, save_prefix=prefix)

    assert is_own_output(spec, key(spec, output=output))
    assert not is_own_output(changed(spec, output_bucket="cutouts"), key(spec, output=output))


@pytest.mark.parametrize("own", ["_jobs/j1/report.html", "_preview/d/j/x.png", "review/a.png"])
def test_documents_previews_and_review_copies_are_a_jobs_own(own):
    assert is_own_output(SAME, own)


@pytest.mark.parametrize("naming", Naming)
@pytest.mark.parametrize(
    "other",
    [
        "shop/a.jpg",
        "shop/cutouts/a.jpg",
        "x/shop/cutout/a.jpg",
        "shop_1_.png",
        "shop_00001_.png/a",
        "_jobsite/a.jpg",
        "reviewed/a.jpg",
    ],
)
def test_other_pictures_below_the_prefix_are_not(naming, other):
    assert not is_own_output(changed(SAME, naming=naming), other)


def test_outputs_of_earlier_days_are_known_by_the_prefix_before_expansion():
    spec = changed(SAME, save_prefix="%year%/out")

    assert is_own_output(spec, "2025/out/cutout/a.jpg.png")
    assert not is_own_output(changed(spec, save_prefix="2026/out"), "2025/out/cutout/a.jpg.png")


WHITE = RecipeOutput(name="white-bg", recipe=Recipe(on_review="hold"))


@pytest.mark.parametrize("naming", Naming)
@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("width_px", [0, 640])
def test_a_recipes_outputs_are_own_and_counted_if_the_job_names_them(naming, held, width_px):
    spec = changed(SAME, naming=naming, save_prefix="a/%width%b", counter_base=41)
    made = key(spec, output="white-bg", ext="jpg", held=held, width_px=width_px)
    with_output = changed(spec, outputs=(WHITE,))

    assert not is_own_output(spec, made)
    assert is_own_output(with_output, made)
    assert made.startswith(tuple(output_folders(with_output, "j1")))
    if naming is Naming.COMFYUI:
        assert highest_number([made], spec.save_prefix) == 41


def test_held_outputs_and_widths_have_folders_of_their_own():
    slot = {"output": "white-bg", "ext": "jpg", "held": True, "width_px": 320}

    assert key(**slot) == "shop/held/white-bg/320/a.jpg.jpg"
    numbered = changed(SPEC, naming=Naming.COMFYUI, save_prefix="x/shop")
    assert key(numbered, **slot) == "x/held/shop_white-bg-w320_00000_.jpg"
    preview = changed(SPEC, image_output=ImageOutput.PREVIEW)
    assert key(preview, **slot).endswith("/easyPreview/held/white-bg/320/a.jpg.jpg")


def test_folders_are_those_of_the_outputs_that_the_job_writes():
    spec = changed(SPEC, outputs=(WHITE,), has_cutout=False)

    assert output_folders(spec, "j1") == ["shop/held/white-bg/", "shop/mask/", "shop/white-bg/"]
    assert output_folders(SPEC, "j1") == ["shop/cutout/", "shop/mask/"]
