"""Camera, serial numbers and place are found wherever programs put them."""

import struct
import zlib

import numpy as np
import pytest
from support import foreign

from shared.recipes.checks import Checks
from worker.imaging.compliance import Context, check
from worker.imaging.encode.encoding import Encoding
from worker.imaging.encode.formats import FORMATS, encode
from worker.imaging.types import SourceMetadata

WHITE = np.full((20, 30, 3), 255, np.uint8)
CHECKS = Checks.model_validate({"must": {"no_private_metadata": True}})
XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
XMP_KEYWORD = b"XML:com.adobe.xmp\0"


def found_in(data):
    return check(data, CHECKS, Context())[0].value


def with_iptc(number: int, text: bytes) -> bytes:
    record = b"\x1c\2" + struct.pack(">BH", number, len(text)) + text
    block = b"8BIM\4\4\0\0" + struct.pack(">I", len(record)) + record + bytes(len(record) % 2)
    return foreign.with_segment(foreign.written("jpg", WHITE), 0xED, b"Photoshop 3.0\0" + block)


@pytest.mark.parametrize("name", ["jpg", "png", "webp", "avif"])
@pytest.mark.parametrize(
    ("tags", "names"),
    [
        ({271: "Nikon"}, ["EXIF Make"]),
        ({272: "X100V"}, ["EXIF Model"]),
        ({foreign.EXIF_IFD: {42033: "4711"}}, ["EXIF BodySerialNumber"]),
        ({foreign.EXIF_IFD: {42036: "50 mm"}}, ["EXIF LensModel"]),
        ({foreign.GPS_IFD: {1: "N", 2: 51.5}}, ["EXIF GPS"]),
        ({foreign.X_RESOLUTION: 300.0, 33432: "me", 315: "me too"}, []),
    ],
    ids=str,
)
def test_in_exif(name, tags, names):
    assert found_in(foreign.written(name, WHITE, tags=tags)) == names


def test_in_the_tags_of_a_tiff():
    assert found_in(foreign.written("tiff", WHITE, tags={271: "Nikon"})) == ["EXIF Make"]


def test_in_exif_behind_the_pixels_of_a_png():
    block = foreign.exif({271: "Nikon"})

    data = foreign.with_chunk(foreign.written("png", WHITE), b"eXIf", block)

    assert found_in(data) == ["EXIF Make"]


@pytest.mark.parametrize(
    ("attributes", "names"),
    [
        ('tiff:Make="Nikon"', ["XMP Make"]),
        (
            'exif:GPSLatitude="51,30N" exif:GPSLongitude="0"',
            ["XMP GPSLatitude", "XMP GPSLongitude"],
        ),
        ('aux:SerialNumber="4711" aux:Lens="50 mm"', ["XMP Lens", "XMP SerialNumber"]),
        ('photoshop:City="Berlin"', ["XMP City"]),
        ('dc:rights="me" plus:ModelReleaseStatus="none" tiff:Orientation="1"', []),
    ],
    ids=str,
)
def test_in_xmp_of_every_format(attributes, names):
    packet = foreign.xmp(attributes)
    png = foreign.written("png", WHITE)
    files = {
        name: foreign.written(name, WHITE, packet=packet) for name in ("webp", "avif", "tiff")
    } | {
        "jpg": foreign.with_segment(foreign.written("jpg", WHITE), 0xE1, XMP_HEAD + packet),
        "png": foreign.with_chunk(png, b"iTXt", XMP_KEYWORD + bytes(4) + packet),
        "compressed": foreign.with_chunk(
            png, b"iTXt", XMP_KEYWORD + b"\1\0\0\0" + zlib.compress(packet)
        ),
    }

    assert {name: found_in(data) for name, data in files.items()} == dict.fromkeys(files, names)


def test_in_xmp_that_is_continued_in_another_segment():
    head = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + bytes(8)
    packet = foreign.xmp('exif:GPSLatitude="51,30N"')

    data = foreign.with_segment(foreign.written("jpg", WHITE), 0xE1, head + packet)

    assert found_in(data) == ["XMP GPSLatitude"]


@pytest.mark.parametrize(
    ("keyword", "names"),
    [
        (b"exif:Make", ["text exif:Make"]),
        (b"GPSLatitude", ["text GPSLatitude"]),
        (b"Model", ["text Model"]),
        (b"prompt", []),
        (b"Title", []),
    ],
)
def test_in_the_texts_of_a_png(keyword, names):
    data = foreign.with_chunk(foreign.written("png", WHITE), b"tEXt", keyword + b"\0x")

    assert found_in(data) == names


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt"])
def test_in_exif_as_imagemagick_puts_it_into_a_text(kind):
    block = b"Exif\0\0" + foreign.exif({271: "Nikon"})
    text = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
    content = b"\0" + zlib.compress(text) if kind == b"zTXt" else text

    data = foreign.with_chunk(
        foreign.written("png", WHITE), kind, b"Raw profile type exif\0" + content
    )

    assert found_in(data) == ["EXIF Make"]


@pytest.mark.parametrize(("number", "names"), [(90, ["IPTC city"]), (116, [])])
def test_in_iptc(number, names):
    assert found_in(with_iptc(number, b"Berlin")) == names


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_metadata_tells_nothing():
    data = foreign.with_segment(
        foreign.written("jpg", WHITE), 0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"
    )
    png = foreign.written("png", WHITE)

    assert found_in(data) == []
    assert found_in(foreign.with_chunk(png, b"eXIf", b"nothing")) == []
    assert found_in(foreign.with_chunk(png, b"iTXt", XMP_KEYWORD + b"\1\0\0\0nothing")) == []


@pytest.mark.parametrize("name", FORMATS)
def test_our_outputs_tell_nothing(name):
    metadata = SourceMetadata(copyright="me", author="me", title="Model", description="City")

    assert found_in(encode(WHITE, Encoding(format=name, metadata=metadata))) == []
