"""Finished images, drawn from colours, mask and recipe."""

from functools import partial

import cv2
import numpy as np
import pytest

from shared.recipes import build_recipe
from worker.imaging.compose import compose, solid
from worker.imaging.render import RenderSource, covering, draw
from worker.imaging.render.background import BLUR_SHARE

RED = (200, 30, 40)


def drawn(source, background_image=None, **fields):
    cover = None if background_image is None else partial(covering, background_image)
    return draw(source, build_recipe(fields, origin="test"), background_image=cover)


def source_of(mask, colour=RED, ground=(90, 120, 150)):
    """Return a plain subject on a plain ground."""
    share = mask[..., None] / 255
    pixels = np.rint(share * colour + (1 - share) * ground).astype(np.uint8)
    colours = np.full_like(pixels, colour)
    colours[mask == 0] = ground
    return RenderSource(pixels, colours, mask)


def box_mask(width=60, height=40, box=(20, 10, 40, 30)):
    mask = np.zeros((height, width), np.uint8)
    mask[box[1] : box[3], box[0] : box[2]] = 255
    return mask


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.fixture
def noisy(rng):
    """Return random colours under a soft disc."""
    pixels = rng.integers(0, 256, (90, 120, 3), np.uint8)
    mask = np.zeros((90, 120), np.uint8)
    cv2.circle(mask, (60, 45), 30, 255, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 2)
    return RenderSource(pixels, pixels, mask)


def test_a_recipe_without_fields_draws_the_cutout(noisy):
    result = drawn(noisy)

    expected = compose(noisy.colours, solid(noisy.mask))
    assert np.array_equal(result.pixels[..., 3], expected[..., 3])
    is_opaque = expected[..., 3] == 255
    assert np.array_equal(result.pixels[is_opaque], expected[is_opaque])
    assert not result.pixels[expected[..., 3] == 0].any()
    premultiplied = [(each[..., :3] * (each[..., 3:] / 255)) for each in (result.pixels, expected)]
    assert np.abs(premultiplied[0] - premultiplied[1]).max() < 1


def test_pixels_at_the_source_scale_keep_their_values(noisy):
    pixels = drawn(noisy, background="white", format="jpg").pixels

    is_opaque = solid(noisy.mask) == 255
    assert np.array_equal(pixels[is_opaque], noisy.colours[is_opaque])
    assert (pixels[noisy.mask <= 10] == 255).all()


def test_the_source_is_not_changed_and_the_result_is_always_the_same(noisy):
    before = noisy.pixels.copy(), noisy.mask.copy()
    fields = {"size": 100, "fill": 0.8, "background": "#eee", "shadow": "soft", "sharpen": 0.5}

    first, second = drawn(noisy, **fields), drawn(noisy, **fields)

    assert np.array_equal(first.pixels, second.pixels)
    assert np.array_equal(before[0], noisy.pixels)
    assert np.array_equal(before[1], noisy.mask)


@pytest.mark.parametrize(
    "option",
    [
        {"roi": "0 0 60% 60%"},
        {"offset_px": -3},
        {"blur_px": 4},
        {"threshold": 90},
        {"invert": True},
        {"fill_holes": True},
        {"remove_specks": True},
        {"solid": False},
    ],
    ids=lambda option: next(iter(option)),
)
def test_an_output_does_not_depend_on_the_mask_options_of_the_one_before(noisy, option):
    mask = noisy.mask.copy()
    mask[43:48, 58:63], mask[10:13, 8:11], mask[60] = 0, 255, np.minimum(mask[60], 253)
    source = RenderSource(noisy.pixels, noisy.colours, mask)
    changed, plain = drawn(source, **option), drawn(source)

    assert np.array_equal(plain.mask, drawn(RenderSource(*_arrays(source))).mask)
    assert np.array_equal(changed.mask, drawn(source, **option).mask)
    assert not np.array_equal(changed.mask, plain.mask)


def _arrays(source):
    return source.pixels, source.colours, source.mask


@pytest.mark.parametrize("background", ["white", "#123456", "none", "#ff000080", "blur"])
@pytest.mark.parametrize("shadow", ["none", "soft"])
def test_the_inside_of_a_subject_keeps_its_colour_on_every_background(background, shadow):
    result = drawn(source_of(box_mask()), size=50, fill=0.5, background=background, shadow=shadow)

    inside = result.pixels[20:30, 20:30]
    assert (inside[..., :3] == RED).all()
    assert (result.mask[20:30, 20:30] == 255).all()
    assert inside.shape[2] == (4 if background in ("none", "#ff000080") else 3)


def test_half_covered_pixels_mix_as_light_does():
    mask = box_mask()
    mask[mask == 255] = 128

    pixels = drawn(source_of(mask, colour=(0, 0, 0)), background="white").pixels

    assert pixels[20, 30].tolist() == [187] * 3  # half the light of white, not half its value


def test_a_plain_background_is_exact_beyond_the_subject():
    pixels = drawn(source_of(box_mask()), size=77, fill=0.85, background="#0a0b0c").pixels

    assert pixels[0, 0].tolist() == [10, 11, 12]
    assert (pixels[:4] == (10, 11, 12)).all()


def test_haze_and_specks_vanish_on_a_plain_background_only():
    mask = box_mask(400, 300, (100, 100, 250, 250))
    mask[20:24, 20:24] = 255  # a speck
    mask[50, 30:60] = 10  # haze
    source = source_of(mask)

    on_white = drawn(source, background="white")
    cutout = drawn(source)

    assert (on_white.pixels[:60, :70] == 255).all()
    assert not on_white.mask[:60, :70].any()
    assert (cutout.pixels[20:24, 20:24, 3] == 255).all()
    assert (cutout.pixels[50, 30:60, 3] == 10).all()
    assert cutout.placement.subject.left == 100  # the speck is no part of the subject's box


def test_a_translucent_background_shows_through():
    result = drawn(source_of(box_mask()), background="#ff000080")

    assert result.pixels[0, 0].tolist() == [255, 0, 0, 128]
    assert result.pixels[20, 30].tolist() == [*RED, 255]


def test_half_covered_pixels_on_a_translucent_background_add_up():
    mask = box_mask()
    mask[mask == 255] = 128

    found = drawn(source_of(mask), background="#0000ff80").pixels[20, 30]

    assert found[3] == round(255 * (1 - (1 - 128 / 255) ** 2))
    assert found[0] > 100
    assert found[2] > 100


def test_an_image_covers_the_canvas_as_background():
    asset = np.zeros((10, 40, 3), np.uint8)
    asset[:, 15:25] = (0, 255, 0)

    result = drawn(source_of(box_mask()), asset, size=100, fill=0.2, background="wood.jpg")

    assert (result.pixels[0] == (0, 255, 0)).all()
    assert (result.pixels[50, 50] == RED).all()


def test_an_image_as_background_that_is_missing_is_refused():
    with pytest.raises(ValueError, match=r"wood\.jpg was not given"):
        drawn(source_of(box_mask()), background="wood.jpg")


def test_a_blurred_background_is_the_source_without_details(rng):
    pixels = np.where(np.indices((200, 200)).sum(0)[..., None] % 2, 255, 0).astype(np.uint8)
    pixels = np.repeat(pixels, 3, axis=2)
    source = RenderSource(pixels, pixels, box_mask(200, 200, (90, 90, 110, 110)))

    found = drawn(source, background="blur").pixels

    assert BLUR_SHARE * 200 > 3
    assert np.ptp(found[20:60, 20:180]) <= 3
    assert np.array_equal(found[95:105, 95:105], pixels[95:105, 95:105])


def test_a_shadow_is_soft_below_the_subject_and_nowhere_on_it():
    fields = {"size": 200, "fill": 0.4, "background": "white", "max_upscale": 9}
    source = source_of(box_mask())
    plain = drawn(source, **fields)
    shaded = drawn(source, **fields, shadow={"opacity": 0.5, "blur": 0.05, "offset": [0, 0.1]})

    box = shaded.placement.subject
    below, above = int(box.bottom) + 4, int(box.top) - 4
    column = shaded.pixels[int(box.bottom) :, 100, 0].astype(int)
    assert column[0] < column[-1] == 255
    assert (np.diff(column) >= 0).all()
    assert shaded.pixels[below, 100, 0] < shaded.pixels[above, 100, 0]
    is_subject = plain.mask == 255
    assert np.array_equal(plain.pixels[is_subject], shaded.pixels[is_subject])
    assert np.array_equal(plain.mask, shaded.mask)


def test_a_shadow_without_opacity_changes_nothing(noisy):
    """With a shadow the background is composed after resampling, without one before it."""
    fields = {"size": 61, "fill": 0.85, "background": "#c08040"}

    plain, shaded = (
        drawn(noisy, **fields, shadow=each).pixels.astype(int) for each in ("none", {"opacity": 0})
    )

    assert np.abs(plain - shaded).max() <= 1


def test_a_shadow_of_a_cutout_is_black_and_translucent():
    shadow = {"opacity": 0.5, "blur": 0.02, "offset": [0, 0.5]}
    result = drawn(source_of(box_mask()), size=200, fill=0.4, max_upscale=9, shadow=shadow)

    below = result.pixels[int(result.placement.subject.bottom) + 15, 100]
    assert below[:3].tolist() == [0, 0, 0]
    assert below[3] == pytest.approx(128, abs=2)


def test_sharpening_adds_contrast_inside_and_no_halo_outside(rng):
    texture = cv2.GaussianBlur(rng.integers(0, 256, (300, 300, 3), np.uint8), (0, 0), 3)
    disc = cv2.circle(np.zeros((300, 300), np.uint8), (150, 150), 110, 255, -1)
    source = RenderSource(texture, texture, disc)
    fields = {"size": 150, "fill": 0.8, "background": "#808080"}

    plain, sharp = (drawn(source, **fields, sharpen=each) for each in (0, 1))

    inside = slice(40, 110)
    assert sharp.pixels[inside, inside].std() > 1.02 * plain.pixels[inside, inside].std()
    is_outside = sharp.mask < 255
    assert np.array_equal(sharp.pixels[is_outside], plain.pixels[is_outside])


def test_sharpening_gives_the_inside_of_an_outline_no_halo():
    """Each value stays within the range of its neighbours."""
    pixels = np.full((300, 300, 3), 90, np.uint8)
    pixels[:, 150:] = 170
    source = RenderSource(pixels, pixels, box_mask(300, 300, (50, 50, 250, 250)))

    found = drawn(source, size=150, fill=0.8, background="#101010", sharpen=1).pixels

    assert found.max() == 170
    assert found.min() == 16


def test_sharpening_needs_downscaling(noisy):
    assert np.array_equal(
        drawn(noisy, background="white").pixels, drawn(noisy, background="white", sharpen=1).pixels
    )


def test_the_measured_fill_is_that_of_the_mask_on_the_canvas():
    result = drawn(source_of(box_mask()), size=[100, 50], fill=0.4, background="white")

    rows, columns = np.nonzero(result.mask)
    assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == (20, 20)
    assert result.fill["longest_side"] == pytest.approx(0.4)
    assert result.fill["box_area"] == pytest.approx(400 / 5000)
    assert result.fill["mask_area"] == pytest.approx(400 / 5000)


@pytest.mark.parametrize("background", ["white", "none", "blur"])
@pytest.mark.parametrize("shadow", ["none", "soft"])
def test_a_mask_without_subject_gives_the_background_and_no_fill(background, shadow):
    source = source_of(np.zeros((40, 60), np.uint8))

    result = drawn(source, size=50, fill=0.85, background=background, shadow=shadow)

    assert result.pixels.shape == (50, 50, 4 if background == "none" else 3)
    assert not result.mask.any()
    assert set(result.fill.values()) == {0.0}
    assert not result.placement.cut
    if background == "white":
        assert (result.pixels == 255).all()
    if background == "none":
        assert not result.pixels.any()


@pytest.mark.parametrize("roi", ["70% 0 100% 100%", "900px 0 1000px 10px"])
def test_a_region_of_interest_beside_the_subject_leaves_no_subject(roi):
    result = drawn(source_of(box_mask()), size=50, fill=0.85, background="white", roi=roi)

    assert (result.pixels == 255).all()


def test_a_region_of_interest_cuts_the_subject():
    result = drawn(source_of(box_mask()), roi="0 0 50% 100%", background="white", crop=True)

    assert result.placement.cut == {"right"}
    assert result.pixels.shape == (20, 10, 3)
    assert (result.pixels == RED).all()


def test_an_opaque_mask_is_cut_on_all_sides_and_covers_a_canvas_of_its_shape(rng):
    pixels = rng.integers(0, 256, (40, 60, 3), np.uint8)
    source = RenderSource(pixels, pixels, np.full((40, 60), 255, np.uint8))

    result = drawn(source, longest_px=31, fill=0.5, background="white")

    assert result.placement.cut == {"left", "top", "right", "bottom"}
    assert result.pixels.shape == (21, 31, 3)
    assert (result.mask == 255).all()  # no soft border, although 21 x 31 is not quite 2 : 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 3), (3000, 2)])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"size": 50, "fill": 0.85, "background": "white", "shadow": "soft"},
        {"crop": True, "crop_margin": "5%"},
        {"size": [7, 90], "fit": "cover", "background": "blur"},
        {"longest_px": 20, "sharpen": 1, "background": "#fff8"},
        {"offset_px": 3, "blur_px": 40, "fill_holes": True, "remove_specks": True},
    ],
)
@pytest.mark.parametrize("level", [0, 128, 255])
def test_the_smallest_and_longest_images_are_drawn(shape, fields, level):
    pixels = np.full((*shape, 3), 77, np.uint8)
    source = RenderSource(pixels, pixels, np.full(shape, level, np.uint8))

    result = drawn(source, **fields)

    canvas = result.placement.canvas
    assert result.pixels.shape[:2] == result.mask.shape == (canvas.height_px, canvas.width_px)


def test_random_recipes_draw_the_subject_where_the_placement_says():
    """To within a pixel."""
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails
    rng = np.random.default_rng(seed)
    for _ in range(300):
        width, height = rng.integers(20, 200, 2)
        left, top = rng.integers(0, width - 10), rng.integers(0, height - 10)
        right, bottom = rng.integers(left + 5, width + 1), rng.integers(top + 5, height + 1)
        mask = box_mask(width, height, (left, top, right, bottom))
        fields = {
            "size": rng.integers(30, 300, 2).tolist(),
            "fill": float(rng.uniform(0.2, 1)),
            "max_upscale": 3,
            "position": f"{rng.integers(0, 101)}% {rng.integers(0, 101)}%",
        }
        result = drawn(source_of(mask), **fields)
        box = result.placement.subject
        if min(box.width, box.height) < 2:
            continue  # thinner than a pixel of the mask can show
        rows, columns = np.nonzero(result.mask >= 128)
        found = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        expected = box.left, box.top, box.right, box.bottom
        assert np.abs(np.subtract(found, expected)).max() <= 1, (fields, found, expected)
