"""Change a mask as a recipe asks for."""

from typing import Final

import cv2
import numpy as np

from shared.recipes.recipe import Recipe
from shared.recipes.values import Roi
from worker.imaging.compose import solid
from worker.imaging.layers import SOLID
from worker.imaging.quality import SUBJECT_ABOVE
from worker.imaging.render.soften import softened
from worker.imaging.render.types import Region
from worker.imaging.types import Mask

OPTIONS: Final = (
    "roi", "offset_px", "blur_px", "threshold", "invert", "fill_holes", "remove_specks", "solid",
)  # fmt: skip
"""Fields of a recipe that change the mask or its region."""

_SQUARE: Final = np.ones((3, 3), np.uint8)
_CROSS: Final = np.asarray(cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)), np.uint8)
_SQUARE_SHARE: Final = 2**0.5 - 1
"""Steps of a square, among all steps, that give a regular octagon."""


def region_of(roi: Roi | None, shape: tuple[int, ...]) -> Region:
    """Return the rows and columns of *roi* in an image of *shape*; all without one.

    They are empty if nothing of *roi* is inside the image.
    """
    height, width = shape[:2]
    if roi is None:
        return slice(0, height), slice(0, width)
    rows = round(roi.top.of_px(height)), round(roi.bottom.of_px(height))
    columns = round(roi.left.of_px(width)), round(roi.right.of_px(width))
    return (
        slice(*(min(max(0, edge), height) for edge in rows)),
        slice(*(min(max(0, edge), width) for edge in columns)),
    )


def with_options(mask: Mask, recipe: Recipe, region: Region) -> Mask:
    """Return *mask* after the options of *recipe*, in the order of its fields.

    Outside of *region* it is 0. *mask* is not changed; (H, W) uint8.
    """
    part = mask[region]
    if not part.size:
        return np.zeros_like(mask)
    if recipe.offset_px:
        part = _grown(part, recipe.offset_px)
    if recipe.blur_px:
        part = softened(part, recipe.blur_px)
    if recipe.threshold:
        part = np.where(part >= recipe.threshold, np.uint8(255), np.uint8(0))
    if recipe.invert:
        part = np.asarray(cv2.bitwise_not(part), np.uint8)
    if recipe.fill_holes:
        part = _without_holes(part, recipe.fill_holes)
    if recipe.remove_specks:
        part = _without_specks(part, recipe.remove_specks)
    part = solid(part) if recipe.solid else part
    if part.shape == mask.shape:
        return part
    changed = np.zeros_like(mask)
    changed[region] = part
    return changed


def _grown(mask: Mask, offset_px: int) -> Mask:
    """Return *mask* grown by *offset_px* in all directions, or shrunk if negative.

    The shape is an octagon, which comes near a disc and takes few steps; edges keep their softness.
    """
    change = cv2.dilate if offset_px > 0 else cv2.erode
    squares = round(abs(offset_px) * _SQUARE_SHARE)
    for kernel, steps in ((_SQUARE, squares), (_CROSS, abs(offset_px) - squares)):
        if steps:
            # OpenCV's default border neither grows nor shrinks the subject at the image's edge.
            mask = np.asarray(change(mask, kernel, iterations=steps), np.uint8)
    return mask


def _without_holes(mask: Mask, share: float) -> Mask:
    """Return *mask* with enclosed openings up to *share* of the subject's area made opaque.

    An opening includes its soft rim: all that is not solid.
    """
    openings = np.asarray(cv2.inRange(mask, 0, SOLID - 1), np.uint8)
    # 4-connected, because the subject is 8-connected: a diagonal line must not leak.
    _, labels, stats, _ = cv2.connectedComponentsWithStats(openings, connectivity=4)
    left, top, width, height, area_px = stats.T
    enclosed = (left > 0) & (top > 0)
    enclosed &= (left + width < mask.shape[1]) & (top + height < mask.shape[0])
    filled = enclosed & (area_px <= share * (mask.size - area_px[1:].sum() + area_px))
    filled[0] = False  # label 0 is the subject
    opaque: Mask = (filled * np.uint8(255))[labels]
    return np.maximum(mask, opaque)


def _without_specks(mask: Mask, share: float) -> Mask:
    """Return *mask* without parts up to *share* of the largest part's area."""
    inside = np.asarray(cv2.inRange(mask, SUBJECT_ABOVE + 1, 255), np.uint8)
    left, top, width, height = cv2.boundingRect(inside)
    if not width:
        return mask
    at = slice(top, top + height), slice(left, left + width)
    count, labels = cv2.connectedComponents(np.ascontiguousarray(inside[at]))
    if count <= 2:  # noqa: PLR2004 - label 0 is haze and background; the largest part stays
        return mask
    # Areas by runs of equal labels: OpenCV's statistics take four times as long as the labels.
    flat = labels.ravel()
    starts = np.append(0, np.flatnonzero(flat[1:] != flat[:-1]) + 1)
    of_run, lengths_px = flat[starts], np.diff(starts, append=flat.size)
    area_px = np.bincount(of_run, lengths_px, minlength=count)
    largest_px = area_px[1:].max()
    kept = ((area_px > share * largest_px) | (area_px == largest_px)).astype(np.uint8)
    kept[0] = 1
    cleaned = mask.copy()  # haze beyond the parts is kept
    cleaned[at] *= np.repeat(kept[of_run], lengths_px).reshape(labels.shape)
    return cleaned
