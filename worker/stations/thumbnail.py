"""From a picture's bytes to a small picture's bytes, for people to look at."""

from __future__ import annotations

import io
from typing import Final

from PIL import Image, ImageOps

from shared.errors import UndecodableImage
from worker.stations.decode.files import FOREIGN

SIDE_PX: Final = 320
QUALITY: Final = 80


def thumbnail(data: bytes, *, side_px: int = SIDE_PX) -> bytes:
    """Return *data* as WebP of at most *side_px* a side, upright, with its alpha.

    Raises:
        UndecodableImage: If it cannot be read; the report does without it then.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.draft("RGB", (2 * side_px, 2 * side_px))
            small = ImageOps.exif_transpose(image)
            small = small.convert("RGBA" if small.has_transparency_data else "RGB")
    except FOREIGN as err:
        raise UndecodableImage(f"no thumbnail: {err}") from err
    small.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    body = io.BytesIO()
    small.save(body, "WEBP", quality=QUALITY)
    return body.getvalue()
