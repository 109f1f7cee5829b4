"""Resolution, copyright and author are read from every place where programs put them."""

import struct

import pytest
from PIL import Image, PngImagePlugin
from support.pictures import encoded, photo, png, png_chunk, quadrants

from worker.imaging.decode import Limits, decode
from worker.imaging.decode.isolated.decoder import IsolatedDecoder
from worker.imaging.types import NO_METADATA, SourceMetadata

LIMITS = Limits()
COPYRIGHT, ARTIST, X_DPI, Y_DPI, UNIT, ORIENTATION = 0x8298, 0x013B, 282, 283, 296, 0x0112
XMP = (
    '<x:xmpmeta><rdf:RDF><rdf:Description><dc:rights><rdf:Alt><rdf:li xml:lang="x-default">'
    "© 2026 Zoë &amp; Söhne</rdf:li></rdf:Alt></dc:rights><dc:creator><rdf:Seq><rdf:li>Zoë"
    "</rdf:li></rdf:Seq></dc:creator></rdf:Description></rdf:RDF></x:xmpmeta>"
).encode()


def metadata_of(data):
    return decode(data, LIMITS).metadata


def exif(**tags):
    """Return EXIF data of `T<number>` tags."""
    found = Image.Exif()
    for name, value in tags.items():
        found[int(name[1:])] = value
    return found.tobytes()


def photoshop(copyright_notice, by_line):
    """Return a JPEG with an IPTC record in a Photoshop segment."""
    record = b"".join(
        b"\x1c\2" + struct.pack(">BH", number, len(text)) + text
        for number, text in ((116, copyright_notice), (80, by_line))
    )
    block = b"8BIM\4\4\0\0" + struct.pack(">I", len(record)) + record + bytes(len(record) % 2)
    body = b"Photoshop 3.0\0" + block
    data = encoded(photo(), "JPEG")
    return data[:2] + b"\xff\xed" + struct.pack(">H", len(body) + 2) + body + data[2:]


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("dpi", [(300, 300), (72, 96)], ids=str)
def test_the_resolution_of_a_file_is_read(image_format, dpi):
    found = metadata_of(encoded(quadrants(), image_format, dpi=dpi)).dpi

    assert found == pytest.approx(dpi, rel=1e-3)


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP", "AVIF", "PNG"])
def test_the_resolution_in_exif_is_read(image_format):
    """In pixels per centimetre: 118.11 of them are 300 in an inch."""
    tags = {f"T{X_DPI}": 118.11, f"T{Y_DPI}": 118.11, f"T{UNIT}": 3}

    found = metadata_of(encoded(quadrants(), image_format, exif=exif(**tags))).dpi

    assert found == pytest.approx((300, 300), rel=1e-3)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "WEBP", "GIF"])
def test_a_file_without_a_resolution_has_none(image_format):
    """Pillow invents 72 for a JPEG with EXIF data, and 1 for a TIFF."""
    options = {} if image_format == "GIF" else {"exif": exif(T271="maker")}

    assert metadata_of(encoded(quadrants(), image_format, **options)) == NO_METADATA


def test_the_resolution_turns_with_the_pixels():
    data = encoded(photo(), "JPEG", dpi=(300, 150), exif=exif(**{f"T{ORIENTATION}": 6}))

    assert metadata_of(data).dpi == (150, 300)


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_an_impossible_resolution_counts_as_missing(value):
    tags = Image.Exif()
    tags[X_DPI], tags[Y_DPI], tags[UNIT] = value, value, 2
    try:
        data = encoded(quadrants(), "WEBP", exif=tags.tobytes())
    except (ValueError, OverflowError, struct.error):
        pytest.skip("Pillow does not write it")

    assert metadata_of(data).dpi is None


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_copyright_and_author_in_exif_are_read(image_format):
    tags = {COPYRIGHT: "© 2026 Zoë Söhne".encode(), ARTIST: b"Zo\xeb"}
    options = {"exif": exif(**{f"T{number}": text for number, text in tags.items()})}
    if image_format == "TIFF":
        options = {"tiffinfo": tags}

    found = metadata_of(encoded(quadrants(), image_format, **options))

    assert (found.copyright, found.author) == ("© 2026 Zoë Söhne", "Zoë")


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_copyright_and_author_in_xmp_are_read(image_format):
    options = {"xmp": XMP}
    if image_format == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", XMP.decode())
        options = {"pnginfo": text}
    elif image_format == "TIFF":
        options = {"tiffinfo": {700: XMP}}

    found = metadata_of(encoded(quadrants(), image_format, **options))

    assert (found.copyright, found.author) == ("© 2026 Zoë & Söhne", "Zoë")


def test_copyright_and_author_in_iptc_are_read():
    found = metadata_of(photoshop("© 2026 Zoë".encode(), b"Zo\xeb"))

    assert (found.copyright, found.author) == ("© 2026 Zoë", "Zoë")


def test_copyright_and_author_in_png_texts_are_read():
    chunks = [(b"tEXt", b"Copyright\0\xa9 2026 Zo\xeb"), (b"iTXt", "Author\0\0\0\0\0切".encode())]

    found = metadata_of(png(quadrants(), chunks=chunks))

    assert (found.copyright, found.author) == ("© 2026 Zoë", "切")


def test_photographer_and_editor_are_one_line():
    """EXIF separates them by a zero byte; a line break would break a header of a text chunk."""
    tags = exif(**{f"T{COPYRIGHT}": "Ann,\n 2026\0Bob"})

    assert metadata_of(encoded(photo(), "JPEG", exif=tags)).copyright == "Ann, 2026; Bob"


def test_a_very_long_text_is_cut():
    tags = exif(**{f"T{COPYRIGHT}": "x" * 60_000})

    assert metadata_of(encoded(photo(), "JPEG", exif=tags)).copyright == "x" * 1_000


def test_xmp_that_never_ends_is_read_in_time():
    """A search that starts again at each property would take hours."""
    packet = b"<dc:rights><rdf:li" * 60_000

    assert metadata_of(encoded(quadrants(), "WEBP", xmp=packet)) == NO_METADATA


@pytest.mark.parametrize("packet", [b"garbage", b"Exif\0\0garbage"])
def test_damaged_metadata_does_not_fail_the_image(packet):
    data = encoded(photo(), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(packet) + 2) + packet

    assert metadata_of(data[:2] + segment + data[2:]) == NO_METADATA


def test_a_child_process_returns_the_metadata():
    tags = {COPYRIGHT: "© Zoë".encode(), ARTIST: "Zoë".encode()}
    data = encoded(quadrants(), "TIFF", dpi=(300, 150), tiffinfo=tags)
    decoder = IsolatedDecoder(LIMITS)

    found = decoder.decode(data).metadata

    decoder.close()
    assert found == SourceMetadata(dpi=(300.0, 150.0), copyright="© Zoë", author="Zoë")


def test_a_text_chunk_after_the_pixels_is_read():
    data = png(quadrants())
    end = data.rindex(b"IEND") - 4

    data = data[:end] + png_chunk(b"tEXt", b"Copyright\0Ann") + data[end:]

    assert metadata_of(data).copyright == "Ann"


MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


@pytest.mark.parametrize(
    "description",
    [
        f"<rdf:Description><Iptc4xmpExt:DigitalSourceType>{MODEL}</Iptc4xmpExt:DigitalSourceType>",
        f'<rdf:Description Iptc4xmpExt:DigitalSourceType="{MODEL}">',
        f"<rdf:Description Iptc4xmpExt:DigitalSourceType='{MODEL}'>",
        f'<rdf:Description><Iptc4xmpExt:DigitalSourceType rdf:resource="{MODEL}"/>',
    ],
    ids=["element", "attribute", "single-quotes", "resource"],
)
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_the_digital_source_type_is_read_in_every_form(description, image_format):
    packet = f"<x:xmpmeta><rdf:RDF>{description}</rdf:Description></rdf:RDF></x:xmpmeta>".encode()

    assert metadata_of(with_xmp(image_format, packet)).digital_source_type == MODEL


def with_xmp(image_format, packet):
    if image_format != "PNG":
        return encoded(quadrants(), image_format, xmp=packet)
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + packet
    return png(quadrants(), chunks=[(b"iTXt", text)])


def test_only_a_term_of_the_iptc_is_a_digital_source_type():
    packet = b'<rdf:Description Iptc4xmpExt:DigitalSourceType="https://example.org/mine"/>'

    assert metadata_of(encoded(quadrants(), "WEBP", xmp=packet)) == NO_METADATA


def test_title_description_credit_and_terms_are_read():
    packet = (
        b'<rdf:Description photoshop:Credit="Studio &amp; Co"><dc:title><rdf:Alt>'
        b'<rdf:li xml:lang="x-default">Chair</rdf:li></rdf:Alt></dc:title><dc:description><rdf:Alt>'
        b'<rdf:li xml:lang="x-default">Oak</rdf:li></rdf:Alt></dc:description>'
        b"<xmpRights:UsageTerms><rdf:Alt><rdf:li>Ask</rdf:li></rdf:Alt></xmpRights:UsageTerms>"
        b"</rdf:Description>"
    )

    found = metadata_of(encoded(quadrants(), "JPEG", xmp=packet))

    assert found == SourceMetadata(
        title="Chair", description="Oak", credit="Studio & Co", usage_terms="Ask"
    )
