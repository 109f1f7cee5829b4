"""Photographs from installed packages, so that no test downloads any."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from worker.imaging.types import RgbImage

_FILES = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "cat": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "temple": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
}
NAMES = tuple(_FILES)


def photograph(name: str) -> RgbImage:
    """Return the photograph of this name (one of `NAMES`) at its original size."""
    package, path = _FILES[name]
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    with Image.open(Path(spec.origin).parent / path) as image:
        return np.array(image.convert("RGB"))


def enlarged(name: str, height: int, width: int) -> RgbImage:
    """Return the photograph of this name, resized."""
    size = (width, height)
    return np.asarray(cv2.resize(photograph(name), size, interpolation=cv2.INTER_CUBIC), np.uint8)
