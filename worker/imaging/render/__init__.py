"""Render finished images: from colours, mask and recipe to pixels. A pure function."""

from worker.imaging.render.background import Cover, covering, on_white
from worker.imaging.render.colours import edge_colours
from worker.imaging.render.draw import draw
from worker.imaging.render.extent import most_canvas_px
from worker.imaging.render.source import RenderSource
from worker.imaging.render.types import Box, Drawn, Placement, Side
from worker.imaging.render.widths import at_width

__all__ = [
    "Box",
    "Cover",
    "Drawn",
    "Placement",
    "RenderSource",
    "Side",
    "at_width",
    "covering",
    "draw",
    "edge_colours",
    "most_canvas_px",
    "on_white",
]
