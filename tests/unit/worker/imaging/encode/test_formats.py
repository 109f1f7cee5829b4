"""Outputs of every format, read by other libraries than the one that wrote them."""

import io
import zipfile
from dataclasses import replace

import cv2
import numpy as np
import pytest
import simplejpeg
import tifffile
from PIL import Image, ImageCms
from support.pictures import photo

from shared.errors import InvalidOption
from shared.recipes import Recipe
from worker.imaging.decode import Limits, decode
from worker.imaging.encode.encoding import Encoding
from worker.imaging.encode.formats import FORMATS, encode
from worker.imaging.encode.webp import MAX_SIDE_PX
from worker.imaging.types import NO_METADATA, SourceMetadata

LIMITS = Limits()
MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
SOURCE = SourceMetadata(
    dpi=(300.0, 300.0),
    copyright="© 2026 Zoë & <Söhne>",
    author="切",
    digital_source_type=MODEL,
    title='A "chair"',
    description="Oak, 切",
    credit="Studio",
    usage_terms="Ask first",
)
IMAGES = [name for name in FORMATS if name != "zip"]
TRANSPARENT = [name for name in IMAGES if name != "jpg"]
EXACT = [("png", False), ("tiff", False), ("webp", True), ("avif", True)]
SHAPES = [(1, 1), (1, 33), (33, 1), (67, 41), (16, 16)]


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def smooth(shape, channels=3):
    """Return a gradient, which every codec keeps well."""
    ramps = np.meshgrid(*(np.linspace(40, 200, side) for side in shape[::-1]))
    planes = [ramps[0], ramps[1], (ramps[0] + ramps[1]) / 2, ramps[1]]
    return np.stack(planes[:channels], axis=-1).astype(np.uint8)


def read_by_opencv(data):
    """Return RGB or RGBA pixels."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    order = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(pixels, order)


def read_by_another(data, name):
    """Return the pixels as a library reads them that did not write them."""
    is_premultiplied_by_opencv = name == "tiff" and encoded_channels(data) == 4
    if name == "png" or is_premultiplied_by_opencv:
        return np.array(Image.open(io.BytesIO(data)))
    return read_by_opencv(data)


def encoded_channels(data):
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        return file.pages[0].samplesperpixel


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_another_library_reads_the_same_colours(name, shape):
    pixels = smooth(shape)

    found = read_by_another(encode(pixels, Encoding(format=name, quality=95)), name)

    assert found.shape == pixels.shape
    # Lossy WebP has YCbCr of limited range, and colour at half resolution.
    assert np.abs(found.astype(int) - pixels).max() <= {"png": 0, "tiff": 0, "webp": 16}.get(
        name, 6
    )


@pytest.mark.parametrize(("name", "lossless"), EXACT)
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_lossless_formats_keep_every_value(name, lossless, channels, shape, rng):
    pixels = rng.integers(0, 256, (*shape, channels), np.uint8)

    found = read_by_another(encode(pixels, Encoding(format=name, lossless=lossless)), name)

    if name == "avif" and found.shape[2] < channels:  # OpenCV drops an alpha that is opaque
        found = np.dstack([found, np.full(shape, 255, np.uint8)])
    assert np.array_equal(found, pixels)


@pytest.mark.parametrize("name", TRANSPARENT)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_alpha_is_kept(name, shape):
    pixels = smooth(shape, 4)

    found = read_by_another(encode(pixels, Encoding(format=name, quality=95)), name)

    assert np.abs(found[..., 3].astype(int) - pixels[..., 3]).max() <= (6 if name == "avif" else 0)


def test_jpg_refuses_transparency():
    with pytest.raises(ValueError, match="keeps no transparency"):
        encode(smooth((8, 8), 4), Encoding(format="jpg"))


def test_webp_refuses_a_side_that_it_cannot_hold():
    with pytest.raises(InvalidOption, match="16,383"):
        encode(np.zeros((1, MAX_SIDE_PX + 1, 3), np.uint8), Encoding(format="webp"))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_a_jpg_has_the_process_and_the_sampling_that_are_asked_for(progressive, subsampling):
    encoding = Encoding(format="jpg", progressive=progressive, subsampling=subsampling)

    data = encode(photo(64, 64), encoding)

    assert simplejpeg.decode_jpeg_header(data)[3] == subsampling.replace(":", "")
    assert bool(Image.open(io.BytesIO(data)).info.get("progressive")) is progressive


@pytest.mark.parametrize("name", ["jpg", "webp", "avif"])
def test_a_higher_quality_is_closer_and_larger(name):
    pixels = photo(128, 96)
    files = [encode(pixels, Encoding(format=name, quality=quality)) for quality in (40, 95)]

    low, high = (np.abs(read_by_opencv(each).astype(int) - pixels).mean() for each in files)

    assert low > high
    assert len(files[0]) < len(files[1])


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("lossless", [False, True])
def test_equal_pixels_give_equal_bytes(name, lossless):
    encoding = Encoding(format=name, lossless=lossless, dpi=(300, 300), metadata=SOURCE)
    pixels = photo(300, 200)

    assert encode(pixels, encoding) == encode(pixels.copy(), encoding)


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("lossless", [False, True])
def test_resolution_and_every_text_come_back(name, lossless):
    kept = replace(SOURCE, dpi=None)
    encoding = Encoding(format=name, lossless=lossless, dpi=(300, 150), metadata=kept)

    found = decode(encode(smooth((8, 8)), encoding), LIMITS).metadata

    assert found.dpi == pytest.approx((300, 150), rel=1e-4)
    assert replace(found, dpi=None) == kept


def test_another_library_reads_resolution_and_copyright_of_a_tiff():
    encoding = Encoding(format="tiff", dpi=(300, 150), metadata=SourceMetadata(copyright="Zoe"))

    with tifffile.TiffFile(io.BytesIO(encode(smooth((8, 8)), encoding))) as file:
        tags = {name: file.pages[0].tags[name].value for name in ("XResolution", "Copyright")}

    assert tags["XResolution"][0] / tags["XResolution"][1] == 300
    assert tags["Copyright"] == "Zoe"


@pytest.mark.parametrize("name", IMAGES)
def test_nothing_is_written_that_was_not_asked_for(name):
    assert decode(encode(smooth((8, 8)), Encoding(format=name)), LIMITS).metadata == NO_METADATA


@pytest.mark.parametrize("name", IMAGES)
def test_files_say_that_they_are_srgb(name):
    info = Image.open(io.BytesIO(encode(smooth((8, 8)), Encoding(format=name)))).info

    if name == "png":
        assert info["srgb"] == 0
    else:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(info["icc_profile"])).profile
        assert "sRGB" in profile.profile_description
        assert profile.creation_date.year == 2000  # not the time of the start


def test_a_zip_holds_colours_and_alpha_uncompressed_with_fixed_dates():
    pixels = smooth((40, 30), 4)
    encoding = Encoding(format="zip", quality=95, dpi=(300, 300), metadata=SOURCE)

    archive = zipfile.ZipFile(io.BytesIO(encode(pixels, encoding)))

    assert archive.namelist() == ["color.jpg", "alpha.png"]
    for entry in archive.infolist():
        assert entry.compress_type == zipfile.ZIP_STORED
        assert entry.date_time == (1980, 1, 1, 0, 0, 0)
        assert entry.create_system == 3
    colours = read_by_opencv(archive.read("color.jpg"))
    assert np.abs(colours.astype(int) - pixels[..., :3]).max() <= 6
    assert np.array_equal(np.array(Image.open(archive.open("alpha.png"))), pixels[..., 3])
    assert decode(archive.read("color.jpg"), LIMITS).metadata.copyright == SOURCE.copyright


def test_a_zip_of_opaque_pixels_has_an_opaque_alpha():
    archive = zipfile.ZipFile(io.BytesIO(encode(smooth((4, 6)), Encoding(format="zip"))))

    assert (np.array(Image.open(archive.open("alpha.png"))) == 255).all()


def test_an_avif_has_the_sampling_that_is_asked_for():
    full, half = (
        encode(photo(), Encoding(format="avif", subsampling=each)) for each in ("4:4:4", "4:2:0")
    )

    assert len(half) < len(full)


def test_xmp_is_an_international_text_of_a_png():
    data = encode(smooth((4, 4)), Encoding(format="png", metadata=SourceMetadata(credit="me")))

    assert b"iTXtXML:com.adobe.xmp\0" in data


def test_texts_go_into_pngs_only():
    texts = {"prompt": '{"é": 1}'}

    assert (
        Image.open(io.BytesIO(encode(smooth((4, 4)), Encoding(format="png"), texts=texts))).text[
            "prompt"
        ]
        == '{"é": 1}'
    )
    assert b"prompt" not in encode(smooth((4, 4)), Encoding(format="jpg"), texts=texts)


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        ("none", SourceMetadata(digital_source_type=MODEL)),
        (
            "copyright",
            SourceMetadata(
                copyright=SOURCE.copyright, author=SOURCE.author, digital_source_type=MODEL
            ),
        ),
        ("all", replace(SOURCE, dpi=None)),
    ],
)
def test_a_recipe_decides_what_is_kept_of_the_source(policy, kept):
    encoding = Encoding.of(Recipe(metadata=policy), SOURCE)

    assert encoding.metadata == kept
    assert encoding.dpi == (None if policy == "none" else SOURCE.dpi)


def test_the_resolution_of_a_recipe_wins():
    assert Encoding.of(Recipe(dpi=96), SOURCE).dpi == (96, 96)


def test_an_encoding_has_the_options_of_the_recipe():
    recipe = Recipe(
        format="jpeg", quality=71, progressive=True, subsampling="4:2:0", background="white"
    )

    assert Encoding.of(recipe, NO_METADATA) == Encoding(
        format="jpg", quality=71, progressive=True, subsampling="4:2:0"
    )
