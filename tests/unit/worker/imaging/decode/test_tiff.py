"""Variants of TIFF that Pillow alone reads wrongly: right pixels, or a plain reason."""

import io
import itertools

import numpy as np
import pytest
import tifffile
from support.pictures import encoded, tiff

from shared.errors import UndecodableImage, UnsupportedImage
from worker.imaging.decode import Limits, decode

LIMITS = Limits()
HEIGHT, WIDTH = 40, 56
INKS = "inks other than cyan, magenta, yellow and black are not supported"
PHOTOMETRIC = {"grey": "minisblack", "rgb": "rgb", "cmyk": "separated"}


def ramps(channels, bits=8):
    """Return (H, W, channels): a different ramp in each channel."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    levels = np.stack([(x * (n + 1) * 4 + y * 3 * (n + 2)) % 256 for n in range(channels)], -1)
    return levels.astype(np.uint8) if bits == 8 else (levels * 257).astype(np.uint16)


def written(samples, photometric, *, planes, **options):
    """Return *samples*, (H, W, C), as a TIFF with whole pixels or with one plane per channel."""
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        np.moveaxis(samples, -1, 0) if planes else samples.squeeze(),
        photometric=photometric,
        planarconfig="separate" if planes else "contig",
        metadata=None,
        **options,
    )
    return file.getvalue()


def high_bytes(samples):
    return samples if samples.dtype == np.uint8 else (samples >> 8).astype(np.uint8)


def differs(found, expected):
    return int(np.abs(found.astype(int) - expected).max())


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("kind", ["rgb", "rgb-alpha", "cmyk"])
def test_pixels_do_not_depend_on_layout(kind, planes, bits):
    """Strips or tiles, either byte order, compressed or not, BigTIFF."""
    samples = ramps({"rgb": 3, "rgb-alpha": 4, "cmyk": 4}[kind], bits)
    extra = ["unassalpha"] if kind == "rgb-alpha" else None
    for order, tile, compression in itertools.product("<>", (None, (16, 16)), (None, "zlib")):
        data = written(
            samples,
            PHOTOMETRIC[kind.partition("-")[0]],
            planes=planes,
            byteorder=order,
            tile=tile,
            compression=compression,
            bigtiff=order == "<" and tile is not None,
            extrasamples=extra,
        )

        decoded = decode(data, LIMITS)

        layout = order, tile, compression
        levels = high_bytes(samples)
        if kind == "cmyk":
            reference = decode(encoded(levels, "TIFF", "CMYK"), LIMITS).image
            assert np.array_equal(decoded.image, reference), layout
        elif kind == "rgb":
            assert np.array_equal(decoded.image, levels), layout
        else:
            assert np.array_equal(decoded.straight, levels[..., :3]), layout
            assert np.array_equal(decoded.alpha, levels[..., 3]), layout


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_premultiplied_planes_become_straight(compression, bits):
    scale = 257 if bits == 16 else 1
    samples = np.full((HEIGHT, WIDTH, 4), (100, 50, 25, 128), np.uint8 if bits == 8 else np.uint16)

    data = written(
        samples * samples.dtype.type(scale),
        "rgb",
        planes=True,
        compression=compression,
        extrasamples=["assocalpha"],
    )

    decoded = decode(data, LIMITS)
    assert differs(decoded.straight, (199, 99, 49)) <= 1
    assert (decoded.alpha == 128).all()


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(
    ("photometric", "channels", "extra", "kind"),
    [
        ("minisblack", 2, ["unassalpha"], "grey and alpha samples in separate planes"),
        ("minisblack", 2, ["assocalpha"], "grey and alpha samples in separate planes"),
        ("cielab", 3, None, "Lab samples in separate planes"),
        ("rgb", 5, ["unassalpha", "unspecified"], "alpha and further channels in separate planes"),
    ],
)
def test_planes_of_which_only_the_first_would_be_read_are_refused(
    photometric, channels, extra, kind, compression
):
    data = written(
        ramps(channels), photometric, planes=True, compression=compression, extrasamples=extra
    )

    with pytest.raises(UnsupportedImage, match=f"TIFF: {kind} are not supported; save the image"):
        decode(data, LIMITS)


@pytest.mark.parametrize("kind", [np.int8, np.int16])
def test_signed_samples_are_refused(kind):
    """Pillow reads 8-bit ones as if they had no sign; the level of black is unknown."""
    data = tiff(np.full((8, 8), -3, kind), photometric=1)

    with pytest.raises(UnsupportedImage, match="signed samples are not supported"):
        decode(data, LIMITS)


def test_a_palette_of_8_bit_levels_is_not_black():
    """Some programs write 0 to 255 where the format demands 0 to 65535."""
    levels = np.random.default_rng(1).integers(0, 256, (3, 256)).astype(np.uint16)
    indexes = ramps(1)
    deep, shallow = (
        written(indexes, "palette", planes=False, colormap=colours)
        for colours in (levels * 257, levels)
    )

    expected = levels.T[indexes[..., 0]]
    assert np.array_equal(decode(deep, LIMITS).image, expected)
    assert np.array_equal(decode(shallow, LIMITS).image, expected)


def test_ycbcr_with_reduced_chroma_is_refused_where_no_decoder_reads_it():
    """Without a tag that says otherwise, chroma has half the width and height."""
    whole = tiff(ramps(3), photometric=6)

    with pytest.raises(UnsupportedImage, match="YCbCr samples with reduced chroma"):
        decode(whole, LIMITS)


def test_inks_other_than_cmyk_are_refused():
    with pytest.raises(UnsupportedImage, match=INKS):
        decode(tiff(ramps(4), photometric=5, tags={332: 2}), LIMITS)


def test_a_big_endian_bigtiff_is_refused_by_name():
    data = written(ramps(3), "rgb", planes=False, bigtiff=True, byteorder=">")

    with pytest.raises(UnsupportedImage, match="big-endian BigTIFF files are not supported"):
        decode(data, LIMITS)


def test_truncated_planes_of_16_bits_are_refused():
    data = written(ramps(3, 16), "rgb", planes=True)
    cut = data[: -len(data) // 3]

    for truncated in ("fail", "accept"):
        with pytest.raises(UndecodableImage):
            decode(cut, LIMITS, truncated=truncated)
