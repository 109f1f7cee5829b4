"""Compose cutouts with torch, on any device; see `worker.imaging.compose` and `foreground`.

The near passes run on square tiles that contain soft pixels. The device finds these tiles; their
number is all that the host waits for before the result.
"""

from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812  (torch's own spelling)
from torch import Tensor

from worker.imaging.compose import Edges
from worker.imaging.foreground import NEAR_RADII_PX, PADDING_PX, STRIDE_BITS, STRIDE_PX, WIDE_RADII
from worker.inference.pixels.window_layers import OUTSIDE, LayerTables, WindowLayers, is_soft

TILE_PX: Final = 64
_WINDOW_PX: Final = TILE_PX + 2 * PADDING_PX
TILES_AT_ONCE: Final = 256
"""Tiles estimated at once, which take about 0.7 GB of device memory."""


def compose(image: Tensor, mask: Tensor, tables: LayerTables, *, edges: Edges) -> Tensor:
    """Return the cutout `(H, W, 4)` uint8; equals `worker.imaging.compose.compose`.

    Args:
        image: `(H, W, 3)` uint8.
        mask: `(H, W)` uint8.
        tables: On the device of both.
        edges: Colours of pixels with partial alpha.
    """
    if edges == "estimate":
        image = foreground(image, mask, tables)
    elif edges == "seed":
        # x * m / 255 is never halfway: adding 127 and truncating rounds to nearest.
        image = ((image.int() * mask.int()[..., None] + 127) // 255).to(torch.uint8)
    # Colours under alpha 0 are cleared: they would otherwise be readable in the file.
    shown = image * (mask != 0)[..., None]
    return torch.cat([shown, mask[..., None]], dim=2)


def foreground(
    image: Tensor, mask: Tensor, tables: LayerTables, *, tiles_at_once: int = TILES_AT_ONCE
) -> Tensor:
    """Return *image* with estimated colours where *mask* is soft, as `foreground` of imaging does.

    For the other arguments see `compose`; *tiles_at_once* does not change the result.
    """
    height, width = mask.shape
    below, right = -height % TILE_PX, -width % TILE_PX
    alphas = F.pad(mask.short(), (0, right, 0, below), value=OUTSIDE)
    tops, lefts = _soft_tiles(alphas)
    if not len(tops):
        return image
    wide = _wide_sums(image, mask, tables)
    colours = F.pad(image.permute(2, 0, 1), (0, right, 0, below))
    windows = _windows(F.pad(colours, (PADDING_PX,) * 4))
    alpha_windows = _windows(F.pad(alphas, (PADDING_PX,) * 4, value=OUTSIDE))
    tiles = colours.unfold(1, TILE_PX, TILE_PX).unfold(2, TILE_PX, TILE_PX)
    for first in range(0, len(tops), tiles_at_once):
        group = slice(first, first + tiles_at_once)
        top, left = tops[group], lefts[group]
        layers = WindowLayers(windows[:, top, left].movedim(0, 1), alpha_windows[top, left], tables)
        guess = _at_windows(wide, top, left, height, width)
        tiles[:, top, left] = _near(layers, guess).movedim(1, 0)
    return colours[:, :height, :width].permute(1, 2, 0)


def _soft_tiles(alphas: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows and columns of tiles that contain soft pixels; the host waits for them."""
    rows, columns = alphas.shape[0] // TILE_PX, alphas.shape[1] // TILE_PX
    blocks = is_soft(alphas).view(rows, TILE_PX, columns, TILE_PX)
    found = blocks.any(dim=3).any(dim=1).nonzero()
    return found[:, 0], found[:, 1]


def _windows(values: Tensor) -> Tensor:
    """Return a view `(..., tile rows, tile columns, window, window)` of padded *values*."""
    return values.unfold(-2, _WINDOW_PX, TILE_PX).unfold(-2, _WINDOW_PX, TILE_PX)


def _wide_sums(image: Tensor, mask: Tensor, tables: LayerTables) -> Tensor:
    """Return the layers after the wide passes, `(2, 4, h, w)`, summed over the last wide box."""
    small = image[::STRIDE_PX, ::STRIDE_PX].permute(2, 0, 1)[None]
    layers = WindowLayers(small, mask[None, ::STRIDE_PX, ::STRIDE_PX], tables)
    colours = layers.source
    *widest, last = WIDE_RADII
    for radius in widest:
        colours = layers.estimate(layers.sums(colours, radius))
    return layers.sums(colours, last)[0]


def _at_windows(wide: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """Return *wide*, one value per stride, at each pixel of the windows: `(N, 2, 4, h, w)`."""
    offsets = torch.arange(-PADDING_PX, TILE_PX + PADDING_PX, device=wide.device)
    rows = (top[:, None] * TILE_PX + offsets).clamp_(0, height - 1) >> STRIDE_BITS
    columns = (left[:, None] * TILE_PX + offsets).clamp_(0, width - 1) >> STRIDE_BITS
    return wide[:, :, rows[:, :, None], columns[:, None]].movedim(2, 0)


def _near(layers: WindowLayers, guess: Tensor) -> Tensor:
    """Return the foreground colours of the tiles in the windows, `(N, 3, h, w)` uint8."""
    found = layers.estimate(guess)
    for radius in NEAR_RADII_PX:
        found = layers.estimate(layers.sums(found, radius))
    inside = slice(PADDING_PX, PADDING_PX + TILE_PX)
    colours = torch.where(layers.soft, found[:, :1], layers.source)[:, 0, :, inside, inside]
    return colours.round().to(torch.uint8)
