"""Read a mask that was written as an output."""

import io

import numpy as np
from PIL import Image

from worker.imaging.decode.png_chunks import chunks
from worker.imaging.types import Mask


def read_mask(data: bytes, height: int, width: int) -> Mask | None:
    """Return the mask in a PNG file, (height, width) uint8; None if it is damaged or another one.

    The values are exactly those that were written. A mask costs no more memory than its image:
    its size is compared before it is decoded.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.mode != "L" or image.size != (width, height):
                return None
            if not all(chunk.is_valid for chunk in chunks(data)):
                return None  # Pillow does not check the checksums of pixels
            return np.array(image)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
        return None
