"""White backgrounds: nothing is found in sound files, and one pixel off by one level is."""

import cv2
import numpy as np
import pytest
from support.discs import disc

from shared.recipes.checks import Checks
from worker.imaging.compliance import Context, check
from worker.imaging.compliance.strays import find_strays
from worker.imaging.encode.encoding import Encoding
from worker.imaging.encode.formats import encode

WHITE = Checks.model_validate({"must": {"white_background": True}})
SAMPLINGS = {
    "4:4:4": (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444, 12, 8),
    "4:2:0": (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, 24, 16),
}


def finding(data, mask=None):
    (found,) = check(data, WHITE, Context(mask=mask))
    return found


def jpeg(pixels, quality, sampling):
    """Return a JPEG that OpenCV wrote."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLINGS[sampling][0]]
    return cv2.imencode(".jpg", pixels[..., ::-1], options)[1].tobytes()


def placed_beyond(rng, mask, distance_px):
    """Return a pixel that is at most one pixel further than the distance from the mask."""
    distances = cv2.distanceTransform((mask == 0).astype(np.uint8), cv2.DIST_L2, 0)
    candidates = np.argwhere((distances > distance_px) & (distances <= distance_px + 1))
    return tuple(rng.choice(candidates))


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_200_jpegs_raise_no_false_alarm_and_hide_no_defect(sampling, rng):
    """One pixel, one level, one pixel beyond the distance: 100 of each sampling."""
    _, distance_px, block_px = SAMPLINGS[sampling]
    for _ in range(100):
        made = disc(rng, int(rng.integers(150, 330)), share=rng.uniform(0.2, 0.7))
        data = jpeg(made.pixels, int(rng.integers(70, 99)), sampling)
        found = finding(data, made.mask)
        assert found.state == "passed", found

        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        row, column = placed_beyond(rng, made.mask, distance_px)
        pixels[row, column, rng.integers(3)] -= 1
        limits = {"block_px": block_px, "distance_px": distance_px, "level": 255, "share": 1.0}
        assert find_strays(pixels, made.mask, **limits).far_px == 1


@pytest.mark.parametrize(("name", "lossless"), [("webp", False), ("avif", False)])
def test_lossy_webp_and_avif_raise_no_false_alarm(name, lossless, rng):
    for _ in range(12):
        made = disc(rng, int(rng.integers(150, 250)), share=rng.uniform(0.2, 0.6))
        quality = int(rng.integers(70, 99))
        found = finding(encode(made.pixels, Encoding(format=name, quality=quality)), made.mask)
        assert found.state == "passed", found


def test_a_grey_corner_of_a_lossy_webp_is_found(rng):
    made = disc(rng, 300, share=0.4)
    made.pixels[:16, :16] = 244

    found = finding(encode(made.pixels, Encoding(format="webp")), made.mask)

    assert found.state == "failed"
    assert "beyond 32 px" in found.reason


@pytest.mark.parametrize(
    ("name", "lossless"), [("png", False), ("tiff", False), ("webp", True), ("avif", True)]
)
def test_lossless_formats_have_to_be_exact_up_to_the_mask(name, lossless, rng):
    made = disc(rng, 120, share=0.5)
    encoding = Encoding(format=name, lossless=lossless)
    if name != "avif":  # which does not say that it is lossless
        edge = placed_beyond(rng, made.mask, 0)
        off = made.pixels.copy()
        off[edge] = 254, 255, 255
        assert finding(encode(off, encoding), made.mask).state == "failed"

    assert finding(encode(made.pixels, encoding), made.mask).state == "passed"


def test_haze_in_the_mask_hides_nothing(rng):
    made = disc(rng, 200, share=0.4)
    made.mask[made.mask == 0] = 5
    made.pixels[3, 3] = 250

    assert finding(encode(made.pixels, Encoding(format="png")), made.mask).state == "failed"


def test_fine_hair_that_fades_is_part_of_the_subject(rng):
    made = disc(rng, 200, share=0.4)
    made.mask[5, 20:80] = 6
    made.pixels[5, 20:80] = 250

    assert finding(encode(made.pixels, Encoding(format="png")), made.mask).state == "passed"


def test_transparent_is_not_white(rng):
    made = disc(rng, 100)
    transparent = np.dstack([made.pixels, made.mask])

    found = finding(encode(transparent, Encoding(format="png")), made.mask)

    assert found.state == "failed"


@pytest.mark.parametrize("name", ["jpg", "webp", "avif"])
def test_a_fringe_of_the_old_background_is_found(name, rng):
    made = disc(rng, 300, share=0.5, kind=4)
    fringe = cv2.dilate(made.mask, np.ones((9, 9), np.uint8)) > made.mask
    made.pixels[fringe & (made.mask == 0)] = 190

    found = finding(encode(made.pixels, Encoding(format=name, quality=90)), made.mask)

    assert found.state == "failed"
    assert "beside the subject are dark" in found.reason


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (33, 17), (129, 255)], ids=str)
@pytest.mark.parametrize("name", ["jpg", "png", "webp"])
def test_any_size_can_be_measured(name, size):
    white = np.full((*size, 3), 255, np.uint8)
    off = white.copy()
    off[-1, -1] = 0

    nothing = np.zeros(size, np.uint8)

    assert finding(encode(white, Encoding(format=name, quality=98)), nothing).state == "passed"
    assert finding(encode(off, Encoding(format=name, quality=98)), nothing).state == "failed"


def test_without_a_mask_only_the_border_is_measured(rng):
    made = disc(rng, 200, share=0.5)
    grey = made.pixels.copy()
    grey[:, 0] = 253

    assert finding(encode(made.pixels, Encoding(format="jpg"))).state == "passed"
    assert "only the border" in finding(encode(made.pixels, Encoding(format="jpg"))).reason
    assert finding(encode(grey, Encoding(format="png"))).state == "failed"


def test_a_mask_of_another_size_is_not_used(rng):
    made = disc(rng, 100)

    found = finding(encode(made.pixels, Encoding(format="png")), np.zeros((50, 50), np.uint8))

    assert found.state == "not possible"
    assert "another size" in found.reason
