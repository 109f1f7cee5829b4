"""Outputs that recipes make, through the engine: order, redo, failure and verdict."""

import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support.engine_harness import MAX_BYTES, MAX_PIXELS, EngineHarness
from support.jobs import spec
from support.pictures import encoded, photo

from shared.errors import WorkerUnfit
from shared.job.options import PictureOptions
from shared.job.outputs import RecipeOutput
from shared.job.spec import ImageOutput, Naming
from shared.objects.object_metadata import PARAMS
from shared.recipes import Recipe
from shared.recipes.values import Size
from worker.engine import Deferred
from worker.imaging.operations import ImageOperations
from worker.imaging.render import covering
from worker.storage import AssetBytes, AssetFault

TILE = RecipeOutput(name="tile", recipe=Recipe(longest_px=64, format="webp"))
SHOP = RecipeOutput(
    name="shop",
    recipe=Recipe.model_validate(
        {
            "format": "jpg",
            "size": 200,
            "background": "white",
            "on_review": "hold",
            "checks": {"must": {"min_side_px": 300}},
        }
    ),
)


class CountingImaging(ImageOperations):
    """Image operations that count what they make, and fail for the formats in `broken`."""

    def __init__(self):
        super().__init__(max_pixels=MAX_PIXELS, max_bytes=MAX_BYTES, children=1)
        self.broken = set()
        self.made = []

    def make_output(self, recipe, source, metadata, background_image=None):
        if recipe.format in self.broken:
            raise ValueError("simulated")
        self.made.append(recipe.format)
        return super().make_output(recipe, source, metadata, background_image)


@pytest.fixture
def harness():
    made = EngineHarness(imaging=CountingImaging())
    yield made
    made.close()


def job(*outputs, **changes):
    return spec(rem_mode="isnet-general-use", outputs=outputs, **changes)


def cutouts(harness):
    return sorted(key for key in harness.store.keys("cutouts") if not key.startswith("_jobs"))


def test_an_item_has_the_mask_and_each_output_as_its_recipe_says(harness):
    key = harness.image("a.jpg", width=300, height=200)

    record = harness.record(key, job=job(TILE, has_cutout=False))

    assert cutouts(harness) == ["ComfyUI/mask/a.jpg.png", "ComfyUI/tile/a.jpg.webp"]
    image = Image.open(io.BytesIO(harness.store.get("cutouts", "ComfyUI/tile/a.jpg.webp").data))
    assert (image.format, max(image.size), image.mode) == ("WEBP", 64, "RGBA")
    assert (record.cutout_key, record.mask_key) == (None, "ComfyUI/mask/a.jpg.png")
    facts = record.outputs["tile"]
    assert (facts.width, facts.height, facts.format) == (*image.size, "webp")
    assert facts.bytes == len(harness.store.get("cutouts", "ComfyUI/tile/a.jpg.webp").data)


def test_a_cutout_is_made_by_the_way_of_its_model(harness):
    """On CUDA that is the device's."""
    asked = []

    def compose_red(image, mask, *, edges):
        asked.append(edges)
        return np.dstack([np.full_like(image, (255, 0, 0)), mask])

    harness.model = replace(harness.model, compose=compose_red)
    options = PictureOptions(edges="estimate")
    harness.record(harness.image("a.jpg"), job=job(options=options))

    (key,) = (key for key in cutouts(harness) if "mask" not in key)
    cutout = Image.open(io.BytesIO(harness.store.get("cutouts", key).data))
    assert asked == ["estimate"]
    assert cutout.getpixel((0, 0))[:3] == (255, 0, 0)


def test_a_failed_check_is_in_the_record_and_holds_the_output(harness):
    record = harness.record(harness.image("a.jpg"), job=job(SHOP, TILE))

    assert "ComfyUI/held/shop/a.jpg.jpg" in cutouts(harness)
    assert record.outputs["shop"].failed == {"min_side_px": ("200x200", "300x300")}
    assert record.outputs["shop"].verdict == record.verdict == "review"
    assert "shop: min_side_px is 200x200, limit 300x300" in record.qc["reasons"]


def test_an_output_that_cannot_be_rendered_fails_the_item_and_a_retry_makes_only_that(harness):
    """The others are written, listed and kept: a retry is the next generation of the job."""
    key = harness.image("a.jpg")
    wanted = job(SHOP, TILE, has_cutout=False)
    harness.imaging.broken = {"webp"}

    record = harness.record(key, job=wanted)

    assert record.state == "failed"
    assert record.error == {
        "class": "RenderFailed",
        "reason": "output tile cannot be rendered: ValueError: simulated",
    }
    assert (record.outputs["shop"].verdict, record.outputs["tile"].verdict) == ("review", "error")
    assert cutouts(harness) == ["ComfyUI/held/shop/a.jpg.jpg", "ComfyUI/mask/a.jpg.png"]

    harness.imaging.broken = set()
    harness.imaging.made.clear()
    written = []
    harness.store.before = lambda call, _bucket, key: written.append(key) if call == "put" else None
    record = harness.record(key, job=wanted, index=0, redo=True, generation=2)

    assert harness.imaging.made == ["webp"]
    assert written == ["ComfyUI/tile/a.jpg.webp"]
    assert (record.state, set(record.outputs)) == ("done", {"shop", "tile"})


def test_a_repair_makes_every_output_again(harness):
    key, wanted = harness.image("a.jpg"), job(SHOP, TILE)
    harness.record(key, job=wanted)
    harness.imaging.made.clear()

    harness.record(key, job=wanted, index=0, redo=True, generation=2, repaired=2)

    assert harness.imaging.made == ["jpg", "webp"]


@pytest.mark.parametrize("naming", Naming)
def test_a_redo_of_a_whole_item_makes_nothing_and_returns_its_record(harness, naming):
    key, wanted = harness.image("a.jpg"), job(SHOP, TILE, naming=naming)
    first = harness.record(key, job=wanted)
    harness.imaging.made.clear()

    again = harness.record(key, job=wanted, index=0, redo=True)

    assert harness.imaging.made == []
    assert again == first


def test_hidden_outputs_are_checked_and_not_written(harness):
    wanted = job(SHOP, TILE, image_output=ImageOutput.HIDE)

    record = harness.record(harness.image("a.jpg"), job=wanted)

    assert cutouts(harness) == []
    assert record.outputs["shop"].failed == {"min_side_px": ("200x200", "300x300")}
    assert record.outputs["tile"].bytes > 0


def test_a_job_with_outputs_writes_the_same_cutout_and_mask_as_one_without(harness):
    """An upgrade or another output rewrites nothing."""
    harness.record(harness.image("a.jpg"))
    before = {key: harness.store.head("cutouts", key) for key in cutouts(harness)}

    record = harness.record("a.jpg", job=job(TILE), sequence=8, job_id="k", index=0)

    for key, found in before.items():
        assert harness.store.head("cutouts", key) == found
    assert record.existing == "same"
    assert found.metadata[PARAMS] == job(TILE).params_hash


def test_a_changed_recipe_rewrites_only_its_own_output(harness):
    harness.record(harness.image("a.jpg"), job=job(TILE, SHOP))
    before = {key: harness.store.head("cutouts", key).etag for key in cutouts(harness)}
    smaller = RecipeOutput(name="tile", recipe=Recipe(longest_px=32, format="webp"))

    harness.record("a.jpg", job=job(smaller, SHOP), sequence=8, job_id="k", index=0)

    changed = {key for key in before if harness.store.head("cutouts", key).etag != before[key]}
    assert changed == {"ComfyUI/tile/a.jpg.webp"}


def test_widths_of_one_output_are_written_below_it(harness):
    both = RecipeOutput(name="both", recipe=Recipe(format="webp", widths=(16, 32)))

    record = harness.record(harness.image("a.jpg"), job=job(both, has_cutout=False))

    assert cutouts(harness) == [
        "ComfyUI/both/16/a.jpg.webp",
        "ComfyUI/both/32/a.jpg.webp",
        "ComfyUI/mask/a.jpg.png",
    ]
    assert record.outputs["both"].widths.keys() == {16, 32}


# --- an image as background


WOOD_BYTES = encoded(photo(90, 90, seed=5), "PNG")
WOOD_SHA256 = hashlib.sha256(WOOD_BYTES).hexdigest()
WOOD = RecipeOutput(
    name="wood",
    recipe=Recipe(format="png", size=60, fill=0.2, background=f"sha256:{WOOD_SHA256}"),
)


def on_wood(harness, asset, **changes):
    """Run an item with `WOOD`, an output without an image, and this asset."""
    wanted = job(WOOD, TILE, has_cutout=False)
    key = harness.image("a.jpg", width=300, height=200)
    return harness.record(key, job=wanted, assets={WOOD_SHA256: asset}, **changes)


def test_an_output_has_the_image_that_its_recipe_names_as_background(harness):
    record = on_wood(harness, AssetBytes(WOOD_SHA256, WOOD_BYTES))

    assert record.state == "done"
    written = harness.store.get("cutouts", "ComfyUI/wood/a.jpg.png").data
    found = np.array(Image.open(io.BytesIO(written)).convert("RGB"))
    wood = covering(np.array(Image.open(io.BytesIO(WOOD_BYTES))), Size(60, 60))
    assert (found[:3] == wood[:3]).all()


@pytest.mark.parametrize(
    ("asset", "told"),
    [
        (AssetFault("the background image is missing"), "the background image is missing"),
        (AssetBytes(WOOD_SHA256, b"no image"), f"the background image {WOOD_SHA256} cannot be"),
    ],
)
def test_without_its_background_an_output_fails_and_the_others_are_written(harness, asset, told):
    record = on_wood(harness, asset)

    assert (record.state, record.error["class"]) == ("failed", "RenderFailed")
    assert record.error["reason"].startswith(f"output wood cannot be rendered: {told}")
    assert record.outputs["wood"].verdict == "error"
    assert cutouts(harness) == ["ComfyUI/mask/a.jpg.png", "ComfyUI/tile/a.jpg.webp"]


def test_a_retry_makes_the_output_whose_background_is_back(harness):
    on_wood(harness, AssetFault("the background image is missing"))

    retried = harness.record(
        "a.jpg",
        job=job(WOOD, TILE, has_cutout=False),
        assets={WOOD_SHA256: AssetBytes(WOOD_SHA256, WOOD_BYTES)},
        index=0,
        redo=True,
        generation=2,
    )
    assert (retried.state, set(retried.outputs)) == ("done", {"wood", "tile"})


def test_a_worker_that_cannot_start_a_decoder_blames_no_output(harness):
    def unfit(*_):
        raise WorkerUnfit("simulated")

    harness.imaging.cover = unfit
    key = harness.image("a.jpg")
    assets = {WOOD_SHA256: AssetBytes(WOOD_SHA256, WOOD_BYTES)}

    [outcome] = harness.run(key, job=job(WOOD), assets=assets)

    assert isinstance(outcome, Deferred)


# --- the canvas and the pixels that may be in memory


def test_an_item_holds_pixels_for_its_image_and_its_largest_canvas(harness):
    """Outputs are rendered one after the other."""
    held = []
    make = harness.imaging.make_output

    def make_output(*args):
        held.append(harness.engine.holdings.pixels.held)
        return make(*args)

    harness.imaging.make_output = make_output
    big = RecipeOutput(name="big", recipe=Recipe(format="webp", size=700))

    harness.record(harness.image("a.jpg", width=300, height=200), job=job(TILE, big))
    harness.record(harness.image("b.jpg", width=300, height=200), job=job())

    assert held == [300 * 200 + 700 * 700] * 2
    assert harness.engine.holdings.pixels.held == 0


def test_items_with_canvases_above_the_limit_are_rendered_one_at_a_time():
    inside, together = [], []
    imaging = CountingImaging()
    make = imaging.make_output

    def make_output(*args):
        inside.append(1)
        together.append(len(inside))
        try:
            return make(*args)
        finally:
            inside.pop()

    imaging.make_output = make_output
    harness = EngineHarness(imaging=imaging, budget_px=100_000, cpu_threads=4)
    big = RecipeOutput(name="big", recipe=Recipe(format="webp", size=300))
    try:
        keys = [harness.image(f"{n}.jpg", width=40, height=30) for n in range(8)]
        outcomes = harness.run(*keys, job=job(big))
    finally:
        harness.close()

    assert [each.record.state for each in outcomes] == ["done"] * 8
    assert together == [1] * 8
