"""Convert colours from an embedded ICC profile to sRGB."""

import io
from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image, ImageCms

from worker.imaging.decode.files import FOREIGN

SRGB_TOLERANCE: Final = 1
"""Greatest difference, of 255, at which a profile counts as sRGB and is not applied."""

MAX_PROFILE_BYTES: Final = 8 * 2**20
"""Printer profiles have up to 3 MB."""

_SPACES: Final = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
_STEPS: Final = 9
_LATTICE: Final = Image.fromarray(
    np.stack(
        np.meshgrid(*[np.linspace(0, 255, _STEPS).astype(np.uint8)] * 3, indexing="ij"), axis=-1
    ).reshape(1, -1, 3)
)
"""Colours throughout the RGB cube, to test what a transform changes."""


class Conversion:
    """The conversion of one image's colours to sRGB; not thread-safe.

    Relative colorimetric with black point compensation, the default of image editors. Colours
    outside sRGB are clipped.
    """

    def __init__(self, mode: str, profile: bytes | None, *, damaged: bool = False) -> None:
        """Prepare the conversion from *mode* (one of `samples.BASES`) to sRGB.

        Args:
            mode: Mode of the pixels that `apply` will get.
            profile: The ICC profile of the file, or None.
            damaged: Whether the file has a profile that could not be extracted.

        Never raises: with a damaged or unsuitable profile the pixels are assumed to be sRGB
        (CMYK: converted by formula), and `notes` records that.
        """
        self.notes: Sequence[str] = ()
        self._mode = mode
        self._transform: ImageCms.ImageCmsTransform | None = None
        if damaged:
            self.notes = ("colour profile damaged; not applied",)
        elif profile:
            self._read(profile)
        if mode == "LAB" and self._transform is None:
            lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
            self._transform = _transform(lab, "LAB")
        if mode == "CMYK" and self._transform is None:
            self.notes = (*self.notes, "CMYK without a usable profile; converted by formula")

    @property
    def changes_colours(self) -> bool:
        """Whether RGB pixels change."""
        return self._transform is not None

    def apply(self, image: Image.Image) -> Image.Image:
        """Return *image*, which must have the mode of this conversion, as RGB in sRGB."""
        if self._transform is None:
            return image.convert("RGB")
        source = image if image.mode == self._transform.input_mode else image.convert("RGB")
        return self._transform.apply(source)

    def _read(self, data: bytes) -> None:
        if len(data) > MAX_PROFILE_BYTES:
            self.notes = (f"colour profile of {len(data):,} bytes is too large; not applied",)
            return
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
            space = profile.profile.xcolor_space.strip()
            mode = _SPACES.get(space)
            # A grey image often has the RGB profile of the colour image it was made from.
            if mode is None or mode not in (self._mode, "RGB" if self._mode == "L" else None):
                self.notes = (f"colour profile is for {space} images; not applied",)
                return
            transform = _transform(profile, mode)
            if mode != "RGB" or _differs(transform):
                self._transform = transform
        except FOREIGN:
            self.notes = ("colour profile damaged; not applied",)


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
