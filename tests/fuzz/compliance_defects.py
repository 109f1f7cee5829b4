"""One way to break each check of compliance, and no other check."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from fuzz.compliance_cases import FORMATS, RESOLUTION, Case, sound
from support import foreign, icc

PERSONAL = ("Nikon", "X100V", "no. 4711")


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
