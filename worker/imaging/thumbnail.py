"""Make thumbnails for the report."""

import io
from typing import Final

from PIL import Image, ImageOps

from shared.errors import UndecodableImage
from worker.imaging.decode.files import FOREIGN

SIDE_PX: Final = 256
"""One and a half times the width in the report."""


def thumbnail(data: bytes) -> bytes:
    """Return *data* as WebP of at most `SIDE_PX` per side, upright, with its alpha.

    Raises:
        UndecodableImage: If *data* cannot be decoded; the report then omits it.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.draft("RGB", (SIDE_PX, SIDE_PX))
            ImageOps.exif_transpose(image, in_place=True)
            small = image.convert("RGBA" if image.has_transparency_data else "RGB")
            small = small.reduce(max(1, max(small.size) // (2 * SIDE_PX)))
    except FOREIGN as err:
        raise UndecodableImage(f"cannot make a thumbnail: {err}") from err
    small.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.HAMMING)
    body = io.BytesIO()
    # A job ends only after its report: a cutout of an example takes 10 ms instead of 12 ms with
    # method 2, for a quarter more bytes.
    small.save(body, "WEBP", quality=80, method=0)
    return body.getvalue()
