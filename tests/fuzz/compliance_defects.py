"""Sound product images, and one way to break each check of compliance.

Files are written by OpenCV, tifffile and by hand, none of which the checks read with.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from support import foreign, icc
from support.discs import textured

from worker.imaging.compliance import Context

FORMATS = ("jpg", "png", "tiff", "webp", "avif")
LOSSLESS_WEBP = 101
ASPECTS = ((1, 1), (3, 4), (4, 5), (2, 3))
PERSONAL = ("Nikon", "X100V", "no. 4711")
RESOLUTION = {foreign.X_RESOLUTION: 300.0, foreign.Y_RESOLUTION: 300.0, foreign.UNIT: 2}


@dataclass(frozen=True)
class Case:
    """A file, what is known of it, and the limits it has to meet."""

    format: str
    pixels: np.ndarray
    mask: np.ndarray
    context: dict[str, Any]
    limits: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    data: bytes | None = None
    """The file, if it is not written from the other fields."""

    def written(self) -> bytes:
        return self.data or foreign.written(self.format, self.pixels, **self.options)

    def known(self) -> Context:
        return Context(mask=self.mask, **self.context)

    def limited(self, **limits) -> Case:
        return replace(self, limits=self.limits | limits)

    def saved(self, **options) -> Case:
        return replace(self, options=self.options | options)

    def as_format(self, name: str) -> Case:
        return replace(self, format=name, context=self.context | {"extension": name})


def sound(rng, *, share: float | None = None, name: str | None = None, at=(0.5, 0.5)) -> Case:
    """Return an image that meets every limit: an ellipse on white.

    Args:
        rng: Source of all that is random.
        share: Of the canvas that the subject's box fills, on both axes.
        name: Format.
        at: Where the subject lies in the free space, 0 to 1.
    """
    name = name or str(rng.choice(FORMATS))
    across, down = ASPECTS[rng.integers(len(ASPECTS))]
    unit = int(rng.integers(220, 460)) // max(across, down)
    width, height = across * unit, down * unit
    share = rng.uniform(0.62, 0.78) if share is None else share
    pixels, mask = _ellipse(rng, width, height, share, at)
    extension = {"jpg": "jpeg", "tiff": "tif"}.get(name, name) if rng.random() < 0.5 else name
    quality = int(rng.integers(90, 99)) if name != "webp" or rng.random() < 0.5 else LOSSLESS_WEBP
    limits = {
        "white_background": True,
        "fill": [0.6, 0.8],
        "min_side_px": 100,
        "max_side_px": 600,
        "megapixels": 0.4,
        "aspect": f"{across}:{down}",
        "formats": list(FORMATS),
        "extension_matches": True,
        "colour_space": True,
        "no_transparency": True,
        "max_bytes": 10_000_000,
        "min_bytes": 100,
        "subject_touches_edge": True,
        "upscaled": True,
        "jpeg_quality": 88,
        "min_dpi": 300,
        "no_private_metadata": True,
    }
    known = {"extension": extension, "cut": frozenset[str](), "upscaled": 1.0}
    profile = icc.rgb_profile(icc.SRGB) if rng.random() < 0.3 else b""
    options = {"quality": quality, "tags": dict(RESOLUTION), "profile": profile}
    return Case(name, pixels, mask, known, limits, options)


def _ellipse(rng, width, height, share, at):
    rows, columns = np.mgrid[:height, :width] + 0.5
    left, top = (at[0] * (1 - share) * width, at[1] * (1 - share) * height)
    x = (columns - left - share * width / 2) / (share * width / 2)
    y = (rows - top - share * height / 2) / (share * height / 2)
    softness_px = rng.choice([0.01, 1.0, 3.0])
    alpha = np.clip((1 - np.hypot(x, y)) * share * min(width, height) / 2 / softness_px + 0.5, 0, 1)
    mask = np.round(alpha * 255).astype(np.uint8)
    mask[mask <= 10] = 0
    texture = textured(rng, max(width, height), int(rng.integers(5)))[:height, :width]
    opacity = (mask / 255)[..., None]
    return np.round(texture * opacity + 255 * (1 - opacity)).astype(np.uint8), mask


def _white_background(rng) -> Case:
    case = sound(rng, share=0.62)
    pixels = case.pixels.copy()
    distance = cv2.distanceTransform((case.mask == 0).astype(np.uint8), cv2.DIST_L2, 0)
    kind = rng.integers(3)
    if kind == 0:  # a wall that is nearly white
        pixels[case.mask == 0] = rng.integers(215, 247)
    elif kind == 1:  # a spot that was left of the old background
        row, column = np.unravel_index(distance.argmax(), distance.shape)
        side = int(rng.integers(6, 20))
        top, left = max(0, row - side // 2), max(0, column - side // 2)
        pixels[top : top + side, left : left + side] = rng.integers(0, 235, 3)
    else:  # a shadow over half of the canvas
        shade = np.linspace(0, rng.integers(25, 90), len(pixels))[:, None, None]
        shaded = np.round(pixels - shade * (case.mask == 0)[..., None])
        pixels = np.clip(shaded, 0, 255).astype(np.uint8)
    return replace(case, pixels=pixels)


def _fill(rng) -> Case:
    return sound(
        rng, share=rng.uniform(0.2, 0.57) if rng.random() < 0.5 else rng.uniform(0.83, 0.9)
    )


def _aspect(rng) -> Case:
    case, cut = sound(rng), int(rng.integers(4, 20))
    kept = np.s_[cut:] if rng.random() < 0.5 else np.s_[:, cut:]
    cropped = replace(case, pixels=case.pixels[kept].copy(), mask=case.mask[kept].copy())
    return cropped.limited(fill=[0.3, 0.95])


def _formats(rng) -> Case:
    if rng.random() < 0.5:
        case = sound(rng)
        return case.limited(formats=[name for name in FORMATS if name != case.format])
    return sound(rng).as_format("bmp").limited(min_dpi=None)  # a BMP of OpenCV has no resolution


def _extension(rng) -> Case:
    case = sound(rng)
    wrong = str(rng.choice([name for name in ("jpg", "png", "webp", "") if name != case.format]))
    return replace(case, context=case.context | {"extension": wrong})


def _colour_space(rng) -> Case:
    kind = rng.integers(6)
    if kind == 0:
        case = sound(rng, name=str(rng.choice(["png", "tiff"])))
        return case.saved(bits=16, profile=b"")
    if kind == 1:
        return sound(rng, name="avif").saved(bits=10)
    if kind == 2:
        case = sound(rng, name="tiff")
        return replace(case, data=foreign.cmyk_tiff(case.pixels, RESOLUTION))
    if kind == 3:
        case = sound(rng, name="jpg")
        return replace(case, data=foreign.cmyk_jpeg(case.pixels, RESOLUTION))
    primaries, gamma = ((icc.ADOBE_RGB, 2.2), (icc.DISPLAY_P3, None))[rng.integers(2)]
    return sound(rng).saved(profile=icc.rgb_profile(primaries, gamma=gamma))


def _no_transparency(rng) -> Case:
    case = sound(rng, name=str(rng.choice(["png", "webp", "tiff", "avif"])))
    alpha = np.full(case.mask.shape, 255, np.uint8)
    inside = np.argwhere(case.mask == 255)
    row, column = inside[rng.integers(len(inside) // 3, 2 * len(inside) // 3)]
    side = int(rng.integers(1, 8)) + 8 * (case.format == "avif")
    patch = np.s_[row : row + side, column : column + side]
    alpha[patch] = np.where(case.mask[patch] > 0, rng.integers(0, 240), 255)
    pixels = np.dstack([case.pixels, alpha])
    # OpenCV writes the profile of a WebP with alpha wrongly.
    return replace(case, pixels=pixels).saved(profile=b"")


def _touches_edge(rng) -> Case:
    if rng.random() < 0.3:
        case = sound(rng)
        side = str(rng.choice(["left", "right", "top", "bottom"]))
        return replace(case, context=case.context | {"cut": frozenset({side})})
    place = [(0.0, 0.5), (1.0, 0.5), (0.5, 0.0), (0.5, 1.0)][rng.integers(4)]
    return sound(rng, at=place)


def _upscaled(rng) -> Case:
    case = sound(rng)
    return replace(case, context=case.context | {"upscaled": 1 + 10 ** rng.uniform(-3, 1)})


def _min_dpi(rng) -> Case:
    case = sound(rng)
    if rng.random() < 0.3:
        return case.saved(tags={})
    low = {foreign.X_RESOLUTION: float(rng.integers(36, 299))}
    return case.saved(tags=RESOLUTION | low)


def _private(rng) -> Case:
    secret = PERSONAL[rng.integers(len(PERSONAL))]
    kind = rng.integers(5)
    if kind == 0:  # camera
        case = sound(rng)
        return case.saved(tags=RESOLUTION | {int(rng.choice([271, 272])): secret})
    if kind == 1:  # serial number or place, in directories of EXIF
        inner = [
            {foreign.EXIF_IFD: {int(rng.choice([42033, 42036, 42037])): secret}},
            {foreign.GPS_IFD: {1: "N", 2: 51.5}},
        ][rng.integers(2)]
        case = sound(rng, name=str(rng.choice(["jpg", "png", "webp", "avif"])))
        return case.saved(tags=RESOLUTION | inner)
    packet = foreign.xmp(
        str(rng.choice(["tiff:Model", "exif:GPSLatitude", "aux:SerialNumber", "photoshop:City"]))
        + f'="{secret}"'
    )
    if kind == 2:
        case = sound(rng, name=str(rng.choice(["webp", "avif", "tiff"])))
        return case.saved(packet=packet)
    if kind == 3:
        case = sound(rng, name="jpg")
        head = b"http://ns.adobe.com/xap/1.0/\0"
        return replace(case, data=foreign.with_segment(case.written(), 0xE1, head + packet))
    case = sound(rng, name="png")
    text = [
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet),
        (b"tEXt", b"exif:Make\0" + secret.encode()),
        (b"tEXt", b"GPSLatitude\0" + b"51.5"),
    ][rng.integers(3)]
    return replace(case, data=foreign.with_chunk(case.written(), *text))


DEFECTS = {
    "white_background": _white_background,
    "fill": _fill,
    "min_side_px": lambda rng: _at_limit(rng, "min_side_px", 1),
    "max_side_px": lambda rng: _at_limit(rng, "max_side_px", -1),
    "megapixels": lambda rng: _at_limit(rng, "megapixels", -1),
    "aspect": _aspect,
    "formats": _formats,
    "extension_matches": _extension,
    "colour_space": _colour_space,
    "no_transparency": _no_transparency,
    "max_bytes": lambda rng: _at_limit(rng, "max_bytes", -1),
    "min_bytes": lambda rng: _at_limit(rng, "min_bytes", 1),
    "subject_touches_edge": _touches_edge,
    "upscaled": _upscaled,
    "jpeg_quality": lambda rng: sound(rng, name="jpg").saved(quality=int(rng.integers(70, 88))),
    "min_dpi": _min_dpi,
    "no_private_metadata": _private,
}
"""Name of a check -> an image with a defect that it has to find, and no other one."""


def _at_limit(rng, name: str, step: int) -> Case:
    """Return a sound image that misses a limit by the smallest step."""
    case = sound(rng)
    height, width = case.mask.shape
    found = {
        "min_side_px": f"longest {max(width, height) + step}",
        "max_side_px": f"longest {max(width, height) + step}",
        "megapixels": (width * height + step) / 1e6,
        "max_bytes": len(case.written()) + step,
        "min_bytes": len(case.written()) + step,
    }
    return case.limited(**{name: found[name]})
