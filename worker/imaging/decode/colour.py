"""Convert colours from an embedded ICC profile to sRGB."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image, ImageCms

from worker.imaging.decode.files import FOREIGN
from worker.imaging.decode.press import press_profile

SRGB_TOLERANCE: Final = 1
"""Greatest difference, of 255, at which a profile counts as sRGB and is not applied."""

MAX_PROFILE_BYTES: Final = 8 * 2**20
"""Printer profiles have up to 3 MB."""

_DAMAGED: Final = "colour profile damaged; not applied"
_SPACES: Final = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
_LATTICE: Final = Image.fromarray(
    np.stack(
        np.meshgrid(*[np.linspace(0, 255, 9).astype(np.uint8)] * 3, indexing="ij"), axis=-1
    ).reshape(1, -1, 3)
)
"""Colours throughout the RGB cube, to test what a transform changes."""


@dataclass(frozen=True)
class Conversion:
    """The conversion of one image's colours to sRGB; not thread-safe.

    Relative colorimetric with black point compensation, the default of image editors. Colours
    outside sRGB are clipped.
    """

    transform: ImageCms.ImageCmsTransform | None
    """None if RGB pixels do not change."""
    notes: tuple[str, ...]

    def apply(self, image: Image.Image) -> Image.Image:
        """Return *image*, which must have the mode of this conversion, as RGB in sRGB."""
        if self.transform is None:
            return image.convert("RGB")
        source = image if image.mode == self.transform.input_mode else image.convert("RGB")
        return self.transform.apply(source)


def to_srgb(mode: str, info: Mapping[Any, Any]) -> Conversion:
    """Return the conversion of an image's colours to sRGB.

    Never raises: with a damaged or unsuitable profile the pixels are assumed to be sRGB
    (CMYK: for the press of `press_profile`), and the notes record that.

    Args:
        mode: Mode of the pixels to convert, one of `samples.BASES`.
        info: Pillow's metadata of the file.
    """
    transform, notes = _of_profile(mode, info.get("icc_profile", b""))
    if mode == "LAB" and transform is None:
        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        transform = _transform(lab, "LAB")
    if mode == "CMYK" and transform is None:
        press = ImageCms.ImageCmsProfile(io.BytesIO(press_profile()))
        transform = _transform(press, "CMYK")
        notes = (*notes, "CMYK without a usable profile; converted as coated offset (ISO 12647-2)")
    return Conversion(transform, notes)


def _of_profile(
    mode: str, data: bytes | None
) -> tuple[ImageCms.ImageCmsTransform | None, tuple[str, ...]]:
    """Return the transform of a profile, unless it changes nothing or is unusable, and notes."""
    if data is None:  # Pillow could not extract it
        return None, (_DAMAGED,)
    if not data:
        return None, ()
    if len(data) > MAX_PROFILE_BYTES:
        return None, (f"colour profile of {len(data):,} bytes is too large; not applied",)
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        space = profile.profile.xcolor_space.strip()
        source = _SPACES.get(space)
        # A grey image often has the RGB profile of the colour image it was made from.
        if source is None or source not in (mode, "RGB" if mode == "L" else None):
            return None, (f"colour profile is for {space} images; not applied",)
        transform = _transform(profile, source)
        return (transform if source != "RGB" or _differs(transform) else None), ()
    except FOREIGN:
        return None, (_DAMAGED,)


def _transform(profile: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.ImageCmsTransform(
        profile,
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


def _differs(transform: ImageCms.ImageCmsTransform) -> bool:
    after = np.asarray(transform.apply(_LATTICE), dtype=np.int16)
    return int(np.abs(after - np.asarray(_LATTICE)).max()) > SRGB_TOLERANCE
