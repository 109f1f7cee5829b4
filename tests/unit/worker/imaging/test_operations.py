"""`ImageOperations`: decode, measure, compose and encode as a job configures."""

import numpy as np
import pytest
from support.pictures import encoded, photo, quadrants

from shared.errors import ImageTooLarge, WorkerUnfit
from shared.job.options import PictureOptions
from shared.job.thresholds import Thresholds
from shared.recipes import Recipe
from worker.imaging.decode import DecodedImage
from worker.imaging.operations import ImageOperations, final_mask
from worker.imaging.types import SourceImage

LIMITS = {"max_pixels": 1_000_000, "max_bytes": 1_000_000}
OPTIONS = PictureOptions()
ALPHA = np.full((32, 48), 128, np.uint8)


def made(*, max_pixels=1_000_000):
    return ImageOperations(max_pixels=max_pixels, max_bytes=1_000_000, children=1)


@pytest.fixture(scope="module")
def operations():
    imaging = made()
    yield imaging
    imaging.close()


def test_pixels_are_counted_from_the_header(operations):
    assert operations.count_pixels(encoded(photo(160, 120), "PNG")[:100]) == 160 * 120


def test_the_largest_canvas_of_the_outputs_counts_as_well(operations):
    data = encoded(photo(160, 120), "PNG")
    small, large = Recipe(size="300x200"), Recipe(size="1000x1000")

    assert operations.count_pixels(data, small, large) == 160 * 120 + 1_000_000


def test_counting_rejects_an_image_over_the_limit():
    with pytest.raises(ImageTooLarge, match="the limit is 1,000 pixels"):
        made(max_pixels=1_000).count_pixels(encoded(photo(), "PNG"))


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize("image_format", ["PNG", "GIF"])
def test_an_image_decodes_to_the_same_pixels_in_a_thread_and_in_a_child(
    operations, image_format, isolate
):
    data = encoded(quadrants(), image_format)

    assert np.array_equal(operations.decode(data, OPTIONS, isolate=isolate).image, quadrants())


def test_closed_operations_start_no_child():
    operations = made()
    operations.close()

    with pytest.raises(WorkerUnfit, match="closed"):
        operations.decode(encoded(quadrants(), "PNG"), OPTIONS, isolate=True)


def test_figures_carry_the_verdict_and_its_reasons(operations):
    figures = operations.measure(np.zeros((40, 40), np.uint8), 0.0, 0.1, Thresholds())

    assert figures["coverage"] == 0
    assert figures["verdict"] == "reject"
    assert figures["reasons"] == "coverage 0 below 0.001; high 0.1 below 0.5"


def test_figures_of_a_good_mask_carry_no_reasons(operations):
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 255

    figures = operations.measure(mask, 0.0, 1.0, Thresholds())

    assert figures["verdict"] == "ok"
    assert "reasons" not in figures


def test_the_source_of_an_image_with_alpha_is_its_straight_colours():
    flat, straight = quadrants(), 255 - quadrants()
    decoded = DecodedImage(flat, ALPHA, (), straight)

    kept, ignored = (decoded.source(keep_alpha=keep) for keep in (True, False))

    assert kept.pixels is straight
    assert kept.alpha is ALPHA
    assert ignored.alpha is None
    assert ignored.pixels is flat


def test_the_source_of_an_image_without_alpha_is_opaque():
    source = DecodedImage(quadrants(), None, ()).source(keep_alpha=True)

    assert source.alpha is None


def test_the_final_mask_keeps_the_transparency_of_the_source():
    mask = np.full((32, 48), 255, np.uint8)

    assert (final_mask(mask, SourceImage(quadrants(), ALPHA)) == 128).all()
    assert final_mask(mask, SourceImage(quadrants())) is mask
