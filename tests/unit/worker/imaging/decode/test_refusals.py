"""What is not decoded is refused cheaply, by one of our errors, with its reason."""

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


NOT_PICTURES = {
    "empty": (b"", UndecodableImage, "^0 bytes$"),
    "html": (b"<!DOCTYPE html>\n<html><body>404", UndecodableImage, "is text/HTML, not a picture"),
    "xml": (b"<?xml version='1.0'?><Error><Code>AccessDenied", UndecodableImage, "is text/XML"),
    "json": (b'{"error": "not found"}', UndecodableImage, "is text/JSON"),
    "text": ("Grüße".encode(), UndecodableImage, "is text/plain"),
    "text-cut-within-a-letter": (("a" + "ü" * 600).encode(), UndecodableImage, "is text/plain"),
    "utf-16": ("hello there".encode("utf-16"), UndecodableImage, "is text/plain"),
    "text-that-begins-with-bm": (b"BMW and other cars, a list", UndecodableImage, "is text/plain"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UnsupportedImage, "SVG"),
    "zip": (b"PK\x03\x04 and so on", UndecodableImage, "is a ZIP archive, not a picture"),
    "pdf": (b"%PDF-1.7", UnsupportedImage, "PDF"),
    "psd": (b"8BPS\0\1", UnsupportedImage, "Photoshop"),
    "jpeg-2000": (b"\0\0\0\x0cjP  \r\n\x87\n", UnsupportedImage, "JPEG 2000"),
    "jpeg-xl": (b"\xff\x0a\0\0", UnsupportedImage, "JPEG XL"),
    "film": (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", UnsupportedImage, "brand 'isom'"),
    "camera-raw": (b"II*\0\x10\0\0\0CR\2\0", UnsupportedImage, "camera raw"),
    "noise": (bytes(range(128, 160)), UndecodableImage, "begins with 80 81 82"),
    "zeros": (bytes(100), UndecodableImage, "begins with 00 00"),
    "jpeg-of-3-bytes": (b"\xff\xd8\xff", UndecodableImage, "JPEG: "),
    "png-signature-only": (b"\x89PNG\r\n\x1a\n", UndecodableImage, "PNG: "),
    "webp-of-nothing": (b"RIFF\0\0\0\0WEBP", UndecodableImage, "no picture size"),
    "avif-of-nothing": (b"\0\0\0\x10ftypavif\0\0\0\0", UndecodableImage, "no picture size"),
    "avif-of-boxes-in-boxes": (AVIF_START + nested(5_000), UndecodableImage, "no picture size"),
    "avif-of-many-boxes": (
        AVIF_START + box(b"free", b"") * 10_001,
        UndecodableImage,
        "more than 10,000 boxes",
    ),
    "tiff-float": (
        tiff(np.ones((4, 4), np.float32), photometric=1),
        UnsupportedImage,
        "mode 'F'",
    ),
    "tiff-32-bits": (tiff(np.ones((4, 4), np.uint32), photometric=1), UnsupportedImage, "mode 'I'"),
    "tiff-two-channels-of-16-bits": (
        tiff(np.ones((4, 4, 2), np.uint16), photometric=1),
        UnsupportedImage,
        "unknown pixel mode",
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


@pytest.mark.parametrize(("data", "error", "reason"), NOT_PICTURES.values(), ids=NOT_PICTURES)
def test_what_is_no_picture_is_named(data, error, reason):
    with pytest.raises(error, match=reason) as caught:
        decode(data, LIMITS)

    assert type(caught.value) is error


def test_heic_without_its_extra_names_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(UnsupportedImage, match=r"rmbg-queue\[heif\]"):
        decode(header_only("HEIF", 10, 10), LIMITS)


@pytest.mark.parametrize("ask", [decode, peek])
@pytest.mark.parametrize("image_format", FORMATS)
def test_a_bomb_is_refused_by_its_header_for_next_to_nothing(image_format, ask):
    """900 million pixels claimed by a file of a few hundred bytes."""
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
    with pytest.raises(ImageTooLarge, match="64 x 64 pixels are 4,096; the limit is 4,095 pixels"):
        peek(data, Limits(max_pixels=4_095))


def test_a_picture_between_pillows_limit_and_ours_makes_no_warning():
    """Pillow warns from 89 MP on; the limit here is 100."""
    data = header_only("TIFF", 9_900, 10_000)

    assert peek(data, LIMITS) == (9_900, 10_000, "TIFF")
    with pytest.raises(UndecodableImage, match="truncated"):
        decode(data, LIMITS)


def test_a_long_file_is_refused_before_it_is_looked_at():
    with pytest.raises(ImageTooLarge, match="11 bytes; the limit is 10 bytes"):
        decode(b"not a photo", Limits(max_bytes=10))


def test_a_long_side_is_refused():
    with pytest.raises(ImageTooLarge, match="the limit is 65,535 pixels a side"):
        decode(header_only("PNG", 65_536, 9), LIMITS)


def test_a_thread_of_a_picture_is_refused():
    with pytest.raises(ImageTooLarge, match="the limit is 20,000 to 1"):
        decode(header_only("PNG", 20_001, 1), LIMITS)


@pytest.mark.parametrize("size", [(0, 10), (10, 0)])
def test_a_side_of_nothing_is_no_picture(size):
    with pytest.raises(UndecodableImage):
        decode(header_only("PNG", *size), LIMITS)


def test_a_jpeg_of_endless_scans_is_refused():
    """Each scan is a pass over the whole picture; a few kilobytes would run for minutes."""
    data = encoded(photo(64, 64), "JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    last = data[at:-2]

    with pytest.raises(ImageTooLarge, match=f"scans; the limit is {MAX_SCANS}"):
        decode(data[:at] + last * (MAX_SCANS + 1) + b"\xff\xd9", LIMITS)
    assert decode(data[:at] + last * 20 + b"\xff\xd9", LIMITS).image.shape == (64, 64, 3)


TORN = {
    "jpeg": encoded(photo(), "JPEG"),
    "jpeg-progressive": encoded(photo(), "JPEG", progressive=True),
    "jpeg-cmyk": encoded(np.dstack([photo(), photo()[..., 0]]), "JPEG", "CMYK"),
    "png": encoded(photo(), "PNG"),
    "png-16-bits-grey": png(photo()[..., 0].astype(np.uint16) * 257),
    "gif": encoded(photo(), "GIF"),
    "bmp": encoded(photo(), "BMP"),
    "tiff": encoded(photo(), "TIFF"),
}


@pytest.mark.parametrize("data", TORN.values(), ids=TORN)
def test_a_file_that_ends_too_early_fails_with_its_reason(data):
    with pytest.raises(UndecodableImage, match="truncated"):
        decode(data[: len(data) // 2], LIMITS)


@pytest.mark.parametrize("data", TORN.values(), ids=TORN)
def test_a_torn_file_may_be_accepted_as_far_as_it_goes(data):
    whole = decode(data, LIMITS).image

    torn = decode(data[: len(data) * 2 // 3], LIMITS, truncated="accept")

    assert torn.image.shape == whole.shape
    assert any("ends too early" in note for note in torn.notes)
    # Progressive files hold a coarse version of all rows; a BMP begins with its last row.
    first = np.s_[-20:] if data.startswith(b"BM") else np.s_[:20]
    assert np.abs(torn.image[first].astype(int) - whole[first]).mean() < 12
    assert not np.array_equal(torn.image, whole)


@pytest.mark.parametrize("name", ["jpeg", "jpeg-progressive", "jpeg-cmyk"])
def test_a_jpeg_torn_anywhere_after_its_first_scan_is_accepted(name):
    """Also within the tables between two scans."""
    data = TORN[name]
    start = data.index(b"\xff\xda") + 300

    for end in range(start, len(data) - 2, 97):
        assert decode(data[:end], LIMITS, truncated="accept").image.shape == (120, 160, 3)


@pytest.mark.parametrize("name", ["png", "bmp", "tiff"])
def test_a_file_that_ends_before_its_pixels_fails_even_then(name):
    data = TORN[name]
    start = {"png": data.find(b"IDAT") + 4, "bmp": 54, "tiff": 200}[name]

    with pytest.raises(UndecodableImage):
        decode(data[:start], LIMITS, truncated="accept")


@pytest.mark.parametrize("image_format", ["WEBP", "AVIF"])
def test_formats_that_cannot_be_read_in_part_fail_when_torn(image_format):
    data = encoded(photo(), image_format)

    with pytest.raises(UndecodableImage, match=image_format):
        decode(data[: len(data) // 2], LIMITS, truncated="accept")


@pytest.mark.parametrize("lost", [1, 2])
def test_a_jpeg_that_lacks_its_end_mark_only_is_whole(lost):
    """Some cameras and proxies lose it; all pixels are there."""
    data = encoded(photo(), "JPEG")

    decoded = decode(data[:-lost], LIMITS)

    assert np.array_equal(decoded.image, decode(data, LIMITS).image)
    assert decoded.notes == ("the end mark is missing; nothing else is",)


def test_a_whole_file_is_the_same_with_either_setting():
    data = encoded(quadrants(), "PNG")

    strict, lenient = (decode(data, LIMITS, truncated=how) for how in ("fail", "accept"))

    assert np.array_equal(strict.image, lenient.image)
    assert strict.notes == lenient.notes == ()


def test_accepting_in_one_thread_does_not_soften_another():
    """Pillow's own switch is global; ours must not be."""
    torn = TORN["png"][: len(TORN["png"]) // 2]
    stop, softened = threading.Event(), []

    def accept():
        while not stop.is_set():
            decode(torn, LIMITS, truncated="accept")

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        for _ in range(50):
            try:
                decode(torn, LIMITS)
            except UndecodableImage:
                continue
            softened.append("decoded")
    finally:
        stop.set()
        thread.join()

    assert softened == []


def test_running_out_of_memory_is_the_pictures_failure(monkeypatch):
    """A MemoryError that got through would cost the worker a thread for good."""

    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr("PIL.Image.core.new", no_memory)

    with pytest.raises(ImageTooLarge, match="PNG: memory ran out"):
        decode(encoded(quadrants(), "PNG"), LIMITS)


WARNED = (
    png(plain((60, 180, 60)))[:33] + png_chunk(b"acTL", bytes(8)) + png(plain((60, 180, 60)))[33:]
)


def test_a_warning_about_unused_parts_costs_nothing(tmp_path):
    """A damaged animation chunk makes Pillow warn, and a process may make warnings errors."""
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


def test_a_warning_that_became_an_error_later_is_a_refusal():
    """As in these tests, whose filter comes after ours: it must not get past the seam."""
    with pytest.raises(UndecodableImage, match="Invalid APNG"):
        decode(WARNED, LIMITS)
