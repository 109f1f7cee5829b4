"""Edges of outputs, compared with images whose layers are known in twice the resolution.

The true output is composed in linear light, and reduced by the mean over each pixel.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from PIL import Image
from support.layers import OUTLINES, PAIRS, SIDE_PX, shape, texture

from shared.recipes import build_recipe
from worker.imaging.render import RenderSource, draw, edge_colours
from worker.imaging.render.light import WHITE, to_light

SOURCE_PX = SIDE_PX // 2
SIZES_PX = (105, 165, 255, SOURCE_PX)
"""Scales 0.35, 0.55, 0.85 and 1."""
LEVELS = {"white": 255, "#141414": 20}


def light_of(pixels):
    return to_light(pixels).astype(np.float32) / WHITE


def srgb_of(light):
    """Return float sRGB, 0 to 255."""
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return 255 * curve


def reduced(layer, side_px):
    return cv2.resize(layer, (side_px, side_px), interpolation=cv2.INTER_AREA)


@dataclass(frozen=True)
class Scene:
    """Layers in twice the resolution, in linear light, and the source made from them."""

    alpha: np.ndarray
    fore: np.ndarray
    source: RenderSource

    def true_output(self, side_px, level):
        share = self.alpha[..., None]
        ground = light_of(np.full((1, 1, 3), level, np.uint8))
        # Enlarged first, so that the mean over a pixel is exact at any size.
        large = (8 * side_px, 8 * side_px)
        composed = cv2.resize(share * self.fore + (1 - share) * ground, large)
        return srgb_of(np.clip(reduced(composed, side_px), 0, 1))

    def at_edges(self, side_px):
        alpha = reduced(self.alpha, side_px)
        soft = ((alpha > 0.01) & (alpha < 0.99)).astype(np.uint8)
        return cv2.dilate(soft, np.ones((3, 3))) > 0


@pytest.fixture(scope="module")
def scenes():
    return [
        scene(np.random.default_rng(seed), kind, *pair)
        for seed, (kind, pair) in enumerate((kind, pair) for kind in OUTLINES for pair in PAIRS)
    ]


def scene(rng, kind, fore_kind, back_kind):
    alpha = shape(kind, rng).astype(np.float32)
    fore, back = (
        light_of(np.rint(texture(each, rng) * 255).astype(np.uint8))
        for each in (fore_kind, back_kind)
    )
    share = alpha[..., None]
    image = srgb_of(reduced(share * fore + (1 - share) * back, SOURCE_PX))
    pixels = np.rint(image).astype(np.uint8)
    mask = np.rint(reduced(alpha, SOURCE_PX) * 255).astype(np.uint8)
    return Scene(alpha, fore, RenderSource(pixels, edge_colours(pixels, mask), mask))


def drawn(source, side_px, background):
    fields = {"longest_px": side_px, "background": background, "format": "jpg"}
    return draw(source, build_recipe(fields, origin="test")).pixels


def pasted(source, side_px, level):
    """Return Pillow's plain resize and paste."""
    image, mask = (
        Image.fromarray(each).resize((side_px, side_px)) for each in (source.pixels, source.mask)
    )
    canvas = Image.new("RGB", (side_px, side_px), (level, level, level))
    canvas.paste(image, mask=mask)
    return np.array(canvas)


def premultiplied(source, side_px, level, colours):
    """Return Pillow's LANCZOS, which premultiplies by alpha, composed by Pillow."""
    cutout = Image.fromarray(np.dstack([colours, source.mask]))
    canvas = Image.new("RGBA", (side_px, side_px), (level, level, level, 255))
    canvas.alpha_composite(cutout.resize((side_px, side_px), Image.Resampling.LANCZOS))
    return np.array(canvas)[..., :3]


@pytest.mark.parametrize("background", LEVELS)
@pytest.mark.parametrize("side_px", SIZES_PX)
def test_the_error_at_edges_is_at_most_half_of_plain_resizing_and_below_lanczos(
    scenes, side_px, background
):
    level = LEVELS[background]
    errors = {"ours": [], "pasted": [], "lanczos": [], "lanczos, estimated colours": []}
    for each in scenes:
        source, truth, edges = each.source, each.true_output(side_px, level), each.at_edges(side_px)
        results = (
            drawn(source, side_px, background),
            pasted(source, side_px, level),
            premultiplied(source, side_px, level, source.pixels),
            premultiplied(source, side_px, level, source.colours),
        )
        for name, result in zip(errors, results, strict=True):
            errors[name].append(np.abs(result - truth)[edges].mean())
    ours, plain, *lanczos = (np.mean(each) for each in errors.values())

    assert ours <= plain / 2
    assert ours <= min(lanczos)


def disc(colour, ground, *, radius_px, side_px=200):
    """Return a disc on a plain ground, composed in linear light from 4 x 4 samples a pixel."""
    y, x = (np.mgrid[: 4 * side_px, : 4 * side_px] + 0.5) / 4 - side_px / 2
    alpha = reduced((np.hypot(x, y) <= radius_px).astype(np.float32), side_px)
    layers = [light_of(np.full((1, 1, 3), each, np.uint8)) for each in (colour, ground)]
    image = alpha[..., None] * layers[0] + (1 - alpha[..., None]) * layers[1]
    pixels = np.rint(srgb_of(image)).astype(np.uint8)
    mask = np.rint(alpha * 255).astype(np.uint8)
    return RenderSource(pixels, edge_colours(pixels, mask), mask)


@pytest.mark.parametrize("background", LEVELS)
@pytest.mark.parametrize("side_px", [61, 100, 137, 170, 200, 300])
@pytest.mark.parametrize(
    ("colour", "ground"),
    [((20, 30, 60), (235, 235, 235)), ((250, 240, 230), (90, 90, 90)), ((200, 40, 30), (0, 0, 0))],
)
def test_a_disc_has_no_overshoot_and_a_monotone_profile(background, side_px, colour, ground):
    source = disc(colour, ground, radius_px=70.3)
    fields = {"size": side_px, "fill": 0.7, "background": background, "max_upscale": 4}

    pixels = draw(source, build_recipe(fields, origin="test")).pixels.astype(int)

    ends = np.array([colour, (LEVELS[background],) * 3])
    assert (pixels >= ends.min(0) - 2).all()
    assert (pixels <= ends.max(0) + 2).all()
    middle = side_px // 2
    rays = (
        pixels[middle, middle:],
        pixels[middle:, middle],
        pixels[range(middle, side_px), range(middle, side_px)],
    )
    for ray in rays:
        steps = np.diff(ray, axis=0) * np.sign(ends[1] - ends[0])
        assert steps.min() >= -1, ray
