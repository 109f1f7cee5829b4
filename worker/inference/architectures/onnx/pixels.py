"""The arithmetic of a card around its network."""

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from shared.models.card import Input, Output
from worker.imaging.types import Mask, RgbImage, Segmented
from worker.inference.pixels import postprocess, preprocess

Floats = npt.NDArray[np.float32]

_LEAST_MAXIMUM = 1e-6
"""What a black image is divided by."""
_LEVELS = np.arange(256)


def prepare(image: RgbImage, card: Input) -> torch.Tensor:
    """Return *image* at the size of the network's input: `(3, side_px, side_px)` uint8."""
    if card.resampling == "bilinear":
        return preprocess.prepare(image, side_px=card.side_px)
    size = (card.side_px, card.side_px)
    resized = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    return torch.from_numpy(resized.copy()).permute(2, 0, 1)


def normalise(prepared: npt.NDArray[np.uint8], card: Input) -> Floats:
    """Return `(3, side_px, side_px)` float32 as the network takes it.

    A byte has 256 values, so each channel is a table of as many.
    """
    whole = 255 if card.scale == "255" else max(int(prepared.max()), _LEAST_MAXIMUM)
    mean, std = np.array(card.mean)[:, None], np.array(card.std)[:, None]
    tables = ((_LEVELS / whole - mean) / std).astype(np.float32)
    return np.stack([table[channel] for table, channel in zip(tables, prepared, strict=True)])


def finish(output: Floats, height: int, width: int, card: Output, *, stretch: str) -> Segmented:
    """Return the mask of one output.

    Args:
        output: `(side, side)` float32, as the network returned it.
        height: Rows of the image, in pixels.
        width: Columns of the image, in pixels.
        card: What to do.
        stretch: See `worker.inference.pixels.postprocess.finish`.
    """
    if card.activation == "sigmoid":
        output = _sigmoid(output)
    if card.range == "stretch" and card.order == "resize-then-stretch":
        return postprocess.finish(
            output, height, width, stretch=stretch, empty_below=card.empty_below
        )
    low, high = float(output.min()), float(output.max())
    if _is_empty(low, high, card, stretch):
        return Segmented(np.zeros((height, width), np.uint8), low, high)
    if card.range == "stretch":
        output = (output - np.float32(low)) / np.float32(high - low)
    return Segmented(_resized(np.clip(output, 0, 1), (width, height), card), low, high)


def _is_empty(low: float, high: float, card: Output, stretch: str) -> bool:
    if card.range == "stretch":
        return postprocess.is_empty(low, high, stretch, card.empty_below)
    return stretch == "guarded" and high < card.empty_below


def _resized(values: Floats, size: tuple[int, int], card: Output) -> Mask:
    """Return *values*, from 0 to 1, as a mask of *size*, columns and rows."""
    if card.order == "stretch-then-resize":
        levels = Image.fromarray((values * 255).astype(np.uint8))
        return np.asarray(levels.resize(size, Image.Resampling.LANCZOS))
    resized = cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized * 255, np.uint8)


def _sigmoid(values: Floats) -> Floats:
    with np.errstate(over="ignore"):  # exp of a large number is infinite, and the result 0
        return np.asarray(1 / (1 + np.exp(-values)), np.float32)
