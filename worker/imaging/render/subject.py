"""Find the subject of a mask."""

from dataclasses import dataclass

import cv2
import numpy as np

from worker.imaging.quality import subject_pixels, touched_edges
from worker.imaging.render.types import Box, Region, Subject
from worker.imaging.types import Mask


@dataclass(frozen=True)
class Found:
    """The subject of a mask."""

    subject: Subject
    mask: Mask
    clean: Mask
    """The mask without haze and specks."""


def find_subject(mask: Mask, region: Region) -> Found:
    """Return the subject of *mask*, which is 0 outside of *region*.

    The subject's box goes around all values above 10 of 255, without specks. The sides of *region*
    count as those of the source: what it cuts is cut. A mask without a subject gives the whole
    source, not cut, so that the recipe has a defined result: the background alone.
    """
    height, width = mask.shape
    clean = np.asarray(cv2.copyTo(mask, subject_pixels(mask)), np.uint8)
    left, top, box_width, box_height = cv2.boundingRect(clean)
    if not box_width:
        return Found(Subject(Box(0, 0, width, height), height * width, frozenset()), mask, clean)
    box = Box(left, top, left + box_width, top + box_height)
    rows, columns = region
    at_edge = {
        "left": box.left == columns.start,
        "top": box.top == rows.start,
        "right": box.right == columns.stop,
        "bottom": box.bottom == rows.stop,
    }
    cut = frozenset(side for side in touched_edges(clean[region]) if at_edge[side])
    area_px = cv2.sumElems(clean)[0] / 255
    return Found(Subject(box, area_px, cut), mask, clean)
