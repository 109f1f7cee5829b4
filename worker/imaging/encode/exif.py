"""Build the EXIF and XMP data of an output."""

from typing import Final
from xml.sax.saxutils import escape

from PIL import Image
from PIL.ExifTags import Base as Tag

from worker.imaging.types import SourceMetadata

_INCH: Final = 2
"""EXIF resolution unit."""
_NAMESPACES: Final = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
}
_TEXT: Final = "<{0}>{1}</{0}>"
_LANGUAGES: Final = '<{0}><rdf:Alt><rdf:li xml:lang="x-default">{1}</rdf:li></rdf:Alt></{0}>'
_LIST: Final = "<{0}><rdf:Seq><rdf:li>{1}</rdf:li></rdf:Seq></{0}>"
_PROPERTIES: Final = {
    "copyright": ("dc:rights", _LANGUAGES),
    "author": ("dc:creator", _LIST),
    "title": ("dc:title", _LANGUAGES),
    "description": ("dc:description", _LANGUAGES),
    "credit": ("photoshop:Credit", _TEXT),
    "usage_terms": ("xmpRights:UsageTerms", _LANGUAGES),
    "digital_source_type": ("Iptc4xmpExt:DigitalSourceType", _TEXT),
}
"""Field of `SourceMetadata` -> XMP property and how its value is written (ISO 16684-1, 7)."""


def exif_tags(
    metadata: SourceMetadata, dpi: tuple[float, float] | None = None
) -> dict[int, bytes | float]:
    """Return the EXIF tags, which TIFF has too, of *metadata* and, where given, of *dpi*."""
    texts = {
        Tag.ImageDescription: metadata.description,
        Tag.Artist: metadata.author,
        Tag.Copyright: metadata.copyright,
    }
    # As bytes: EXIF knows ASCII only, readers expect UTF-8, and Pillow would write "?".
    tags: dict[int, bytes | float] = {tag: text.encode() for tag, text in texts.items() if text}
    if dpi is not None:
        tags |= {Tag.XResolution: dpi[0], Tag.YResolution: dpi[1], Tag.ResolutionUnit: _INCH}
    return tags


def exif(metadata: SourceMetadata, dpi: tuple[float, float] | None = None) -> bytes:
    """Return EXIF data, starting with `Exif`; nothing if there is nothing to say."""
    tags = exif_tags(metadata, dpi)
    if not tags:
        return b""
    data = Image.Exif()
    for tag, value in sorted(tags.items()):
        data[tag] = value
    return data.tobytes()


def xmp(metadata: SourceMetadata) -> bytes:
    """Return an XMP packet; nothing if there is nothing to say."""
    properties = "".join(
        form.format(name, escape(getattr(metadata, field)))
        for field, (name, form) in _PROPERTIES.items()
        if getattr(metadata, field)
    )
    if not properties:
        return b""
    spaces = "".join(f' xmlns:{name}="{address}"' for name, address in _NAMESPACES.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about=""{spaces}>{properties}</rdf:Description>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()
