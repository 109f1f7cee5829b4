"""Files that are rejected: cheaply, with the right error class and a reason."""

import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from support.pictures import (
    box,
    encoded,
    header_only,
    photo,
    plain,
    png,
    png_chunk,
    quadrants,
    tiff,
)

from shared.errors import ImageTooLarge, UndecodableImage, UnsupportedImage
from worker.imaging.decode import Limits, decode, peek
from worker.imaging.decode.jpeg import MAX_SCANS

LIMITS = Limits()
FORMATS = ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "GIF", "BMP"]
AVIF_START = box(b"ftyp", b"avif\0\0\0\0")


def nested(depth):
    data = b""
    for _ in range(depth):
        data = box(b"iprp", data)
    return data


NOT_IMAGES = {
    "empty": (b"", UndecodableImage, r"empty \(0 bytes\)"),
    "html": (b"<!DOCTYPE html>\n<html><body>404", UndecodableImage, "is text/HTML, not an image"),
    "xml": (b"<?xml version='1.0'?><Error><Code>AccessDenied", UndecodableImage, "is text/XML"),
    "json": (b'{"error": "not found"}', UndecodableImage, "is text/JSON"),
    "text": ("Grüße".encode(), UndecodableImage, "is text/plain"),
    "text-cut-within-a-character": (("a" + "ü" * 600).encode(), UndecodableImage, "is text/plain"),
    "utf-16": ("hello there".encode("utf-16"), UndecodableImage, "is text/plain"),
    "text-that-begins-with-bm": (b"BMW and other cars, a list", UndecodableImage, "is text/plain"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UnsupportedImage, "SVG"),
    "zip": (b"PK\x03\x04 and so on", UndecodableImage, "is a ZIP archive, not an image"),
    "pdf": (b"%PDF-1.7", UnsupportedImage, "PDF"),
    "psd": (b"8BPS\0\1", UnsupportedImage, "Photoshop"),
    "jpeg-2000": (b"\0\0\0\x0cjP  \r\n\x87\n", UnsupportedImage, "JPEG 2000"),
    "jpeg-xl": (b"\xff\x0a\0\0", UnsupportedImage, "JPEG XL"),
    "video": (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", UnsupportedImage, "brand 'isom'"),
    "camera-raw": (b"II*\0\x10\0\0\0CR\2\0", UnsupportedImage, "camera raw"),
    "noise": (bytes(range(128, 160)), UndecodableImage, "begins with 80 81 82"),
    "zeros": (bytes(100), UndecodableImage, "begins with 00 00"),
    "jpeg-of-3-bytes": (b"\xff\xd8\xff", UndecodableImage, "JPEG: "),
    "png-signature-only": (b"\x89PNG\r\n\x1a\n", UndecodableImage, "PNG: "),
    "webp-of-nothing": (b"RIFF\0\0\0\0WEBP", UndecodableImage, "no image size"),
    "avif-of-nothing": (b"\0\0\0\x10ftypavif\0\0\0\0", UndecodableImage, "no image size"),
    "avif-of-boxes-in-boxes": (AVIF_START + nested(5_000), UndecodableImage, "no image size"),
    "avif-of-many-boxes": (
        AVIF_START + box(b"free", b"") * 10_001,
        UndecodableImage,
        "more than 10,000 boxes",
    ),
    "tiff-float": (
        tiff(np.ones((4, 4), np.float32), photometric=1),
        UnsupportedImage,
        "floating-point samples are not supported",
    ),
    "tiff-32-bits": (
        tiff(np.ones((4, 4), np.uint32), photometric=1),
        UnsupportedImage,
        "32-bit samples are not supported; save the image with 8 or 16 bits",
    ),
    "tiff-two-channels-of-16-bits": (
        tiff(np.ones((4, 4, 2), np.uint16), photometric=1),
        UnsupportedImage,
        "samples of this kind are not supported; save the image as grey, RGB or CMYK",
    ),
    "dng": (
        tiff(plain((1, 2, 3)), photometric=2, tags={50706: 1}),
        UnsupportedImage,
        "camera raw",
    ),
    "thumbnail-first": (
        tiff(plain((1, 2, 3)), photometric=2, tags={254: 1}),
        UnsupportedImage,
        "thumbnail",
    ),
}


@pytest.mark.parametrize(("data", "error", "reason"), NOT_IMAGES.values(), ids=NOT_IMAGES)
def test_a_file_that_is_no_supported_image_is_named(data, error, reason):
    with pytest.raises(error, match=reason) as caught:
        decode(data, LIMITS)

    assert type(caught.value) is error


def test_heic_without_pillow_heif_names_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(UnsupportedImage, match=r"rmbg-queue\[heif\]"):
        decode(header_only("HEIF", 10, 10), LIMITS)


@pytest.mark.parametrize("ask", [decode, peek])
@pytest.mark.parametrize("image_format", FORMATS)
def test_a_decompression_bomb_is_rejected_by_its_header(image_format, ask):
    """A file of a few hundred bytes declares 900 million pixels; rejecting it takes under 1 MiB."""
    if image_format == "HEIF":
        pytest.importorskip("pillow_heif")
    side = 16_000 if image_format == "WEBP" else 30_000
    data = header_only(image_format, side, side)
    tracemalloc.start()
    try:
        with pytest.raises(ImageTooLarge, match=rf"{side:,} x {side:,} .*100,000,000 pixels"):
            ask(data, LIMITS)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert taken < 2**20


@pytest.mark.parametrize("image_format", FORMATS)
def test_the_pixel_limit_is_inclusive(image_format):
    if image_format == "HEIF":
        pytest.importorskip("pillow_heif")
    data = encoded(plain((9, 9, 9), 64, 64), image_format)

    assert peek(data, Limits(max_pixels=4_096))[:2] == (64, 64)
    with pytest.raises(ImageTooLarge, match="64 x 64 pixels = 4,096; the limit is 4,095 pixels"):
        peek(data, Limits(max_pixels=4_095))


def test_an_image_between_pillows_limit_and_ours_causes_no_warning():
    """Pillow warns from 89 MP on; our limit is 100 MP."""
    data = header_only("TIFF", 9_900, 10_000)

    assert peek(data, LIMITS) == (9_900, 10_000, "TIFF")
    with pytest.raises(UndecodableImage, match="truncated"):
        decode(data, LIMITS)


def test_a_file_over_the_size_limit_is_rejected_before_it_is_parsed():
    with pytest.raises(ImageTooLarge, match="11 bytes; the limit is 10 bytes"):
        decode(b"not a photo", Limits(max_bytes=10))


def test_an_image_over_the_side_limit_is_rejected():
    with pytest.raises(ImageTooLarge, match="the limit is 65,535 pixels per side"):
        decode(header_only("PNG", 65_536, 9), LIMITS)


def test_an_image_over_the_aspect_limit_is_rejected():
    with pytest.raises(ImageTooLarge, match="the limit is an aspect of 20,000 to 1"):
        decode(header_only("PNG", 20_001, 1), LIMITS)


@pytest.mark.parametrize("size", [(0, 10), (10, 0)])
def test_an_image_with_a_side_of_0_pixels_is_rejected(size):
    with pytest.raises(UndecodableImage):
        decode(header_only("PNG", *size), LIMITS)


def test_a_jpeg_with_too_many_scans_is_rejected():
    """Each scan is a pass over the whole image; a few kilobytes would take minutes."""
    data = encoded(photo(64, 64), "JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    last = data[at:-2]

    with pytest.raises(ImageTooLarge, match=f"scans; the limit is {MAX_SCANS}"):
        decode(data[:at] + last * (MAX_SCANS + 1) + b"\xff\xd9", LIMITS)
    assert decode(data[:at] + last * 20 + b"\xff\xd9", LIMITS, truncated="accept").image.shape == (
        64,
        64,
        3,
    )


TRUNCATED = {
    "jpeg": encoded(photo(), "JPEG"),
    "jpeg-progressive": encoded(photo(), "JPEG", progressive=True),
    "jpeg-cmyk": encoded(np.dstack([photo(), photo()[..., 0]]), "JPEG", "CMYK"),
    "png": encoded(photo(), "PNG"),
    "png-16-bits-grey": png(photo()[..., 0].astype(np.uint16) * 257),
    "gif": encoded(photo(), "GIF"),
    "bmp": encoded(photo(), "BMP"),
    "tiff": encoded(photo(), "TIFF"),
}


@pytest.mark.parametrize("data", TRUNCATED.values(), ids=TRUNCATED)
def test_a_truncated_file_fails_with_its_reason(data):
    with pytest.raises(UndecodableImage, match="truncated"):
        decode(data[: len(data) // 2], LIMITS)


@pytest.mark.parametrize("data", TRUNCATED.values(), ids=TRUNCATED)
def test_a_truncated_file_is_decoded_as_far_as_it_goes_on_request(data):
    whole = decode(data, LIMITS).image

    cut = decode(data[: len(data) * 2 // 3], LIMITS, truncated="accept")

    assert cut.image.shape == whole.shape
    assert any("file is truncated" in note for note in cut.notes)
    # Progressive files hold a coarse version of all rows; a BMP begins with its last row.
    first = np.s_[-20:] if data.startswith(b"BM") else np.s_[:20]
    assert np.abs(cut.image[first].astype(int) - whole[first]).mean() < 12
    assert not np.array_equal(cut.image, whole)


@pytest.mark.parametrize("name", ["jpeg", "jpeg-progressive", "jpeg-cmyk"])
def test_a_jpeg_truncated_anywhere_in_its_scans_is_decoded_on_request(name):
    """Also within the tables between two scans."""
    data = TRUNCATED[name]
    start = data.index(b"\xff\xda") + 300

    for end in range(start, len(data) - 2, 97):
        assert decode(data[:end], LIMITS, truncated="accept").image.shape == (120, 160, 3)


@pytest.mark.parametrize("name", ["png", "bmp", "tiff"])
def test_a_file_truncated_before_its_pixels_always_fails(name):
    data = TRUNCATED[name]
    start = {"png": data.find(b"IDAT") + 4, "bmp": 54, "tiff": 200}[name]

    with pytest.raises(UndecodableImage):
        decode(data[:start], LIMITS, truncated="accept")


@pytest.mark.parametrize("image_format", ["WEBP", "AVIF"])
def test_formats_that_cannot_be_decoded_in_part_fail_when_truncated(image_format):
    data = encoded(photo(), image_format)

    with pytest.raises(UndecodableImage, match=image_format):
        decode(data[: len(data) // 2], LIMITS, truncated="accept")


@pytest.mark.parametrize("lost", [1, 2])
def test_a_jpeg_that_lacks_only_its_end_marker_is_complete(lost):
    """Some cameras and proxies drop it; all pixels are there."""
    data = encoded(photo(), "JPEG")

    decoded = decode(data[:-lost], LIMITS)

    assert np.array_equal(decoded.image, decode(data, LIMITS).image)
    assert decoded.notes == ("the end marker is missing; all pixels are there",)


def test_a_complete_file_decodes_the_same_with_either_setting():
    data = encoded(quadrants(), "PNG")

    strict, lenient = (decode(data, LIMITS, truncated=how) for how in ("fail", "accept"))

    assert np.array_equal(strict.image, lenient.image)
    assert strict.notes == lenient.notes == ()


def test_accepting_truncated_files_in_one_thread_does_not_affect_another():
    """Pillow's own switch is global; ours must not be."""
    data = TRUNCATED["png"][: len(TRUNCATED["png"]) // 2]
    stop, accepted = threading.Event(), []

    def accept():
        while not stop.is_set():
            decode(data, LIMITS, truncated="accept")

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        for _ in range(50):
            try:
                decode(data, LIMITS)
            except UndecodableImage:
                continue
            accepted.append("decoded")
    finally:
        stop.set()
        thread.join()

    assert accepted == []


def test_out_of_memory_is_an_item_error(monkeypatch):
    """A MemoryError that escaped would permanently cost the worker a thread."""

    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr("PIL.Image.core.new", no_memory)

    with pytest.raises(ImageTooLarge, match="PNG: out of memory"):
        decode(encoded(quadrants(), "PNG"), LIMITS)


WARNED = (
    png(plain((60, 180, 60)))[:33] + png_chunk(b"acTL", bytes(8)) + png(plain((60, 180, 60)))[33:]
)


def test_an_image_with_damaged_metadata_decodes_where_warnings_are_errors(tmp_path):
    """A damaged animation chunk makes Pillow warn."""
    (tmp_path / "a.png").write_bytes(WARNED)
    code = (
        "import sys; sys.path[:] = sys.argv[2:]; from pathlib import Path; "
        "from worker.imaging.decode import Limits, decode; "
        "print(decode(Path(sys.argv[1]).read_bytes(), Limits()).image[8, 8].tolist())"
    )

    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, tmp_path / "a.png", *sys.path],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.stdout, ended.stderr) == ("[60, 180, 60]\n", "")


def test_a_warning_raised_as_an_error_is_an_item_error():
    """The test runner's filter comes after ours, so that the warning is raised here."""
    with pytest.raises(UndecodableImage, match="Invalid APNG"):
        decode(WARNED, LIMITS)
