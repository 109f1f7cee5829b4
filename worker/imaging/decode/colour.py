"""From an embedded colour profile to sRGB."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageCms

from worker.imaging.decode.files import FOREIGN

if TYPE_CHECKING:
    from collections.abc import Sequence

SRGB_TOLERANCE: Final = 1
"""Greatest difference, of 255, at which a profile is taken for sRGB itself and left out."""

MAX_PROFILE_BYTES: Final = 8 * 2**20
"""Printers' profiles have up to 3 MB."""

_SPACES: Final = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
_STEPS: Final = 9
_LATTICE: Final = Image.fromarray(
    np.stack(
        np.meshgrid(*[np.linspace(0, 255, _STEPS).astype(np.uint8)] * 3, indexing="ij"), axis=-1
    ).reshape(1, -1, 3)
)
"""Colours all over the cube, to see what a transform does."""


class Conversion:
    """How one picture's colours become sRGB.

    Relative colorimetric with black point compensation, as image editors do by default. Colours
    outside sRGB are clipped. One conversion belongs to one picture: it is not shared by threads.
    """

    def __init__(self, mode: str, profile: bytes | None, *, damaged: bool = False) -> None:
        """Plan the way from *mode* (one of `samples.BASES`) to sRGB.

        Args:
            mode: Of the pixels to come.
            profile: The ICC profile of the file, or None.
            damaged: Whether the file names a profile that could not be taken out of it.

        Never raises: with a damaged profile, or one of another kind, the pixels are taken as
        sRGB (CMYK: by the plain formula), and `notes` says so.
        """
        self.notes: Sequence[str] = ()
        self._mode = mode
        self._transform: ImageCms.ImageCmsTransform | None = None
        if damaged:
            self.notes = ("colour profile damaged; colours taken as they are",)
        elif profile:
            self._read(profile)
        if mode == "LAB" and self._transform is None:
            lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
            self._transform = _transform(lab, "LAB")
        if mode == "CMYK" and self._transform is None:
            self.notes = (*self.notes, "CMYK without a usable profile; converted by formula")

    @property
    def changes_colours(self) -> bool:
        """Whether RGB pixels come out different."""
        return self._transform is not None

    def apply(self, image: Image.Image) -> Image.Image:
        """Return *image*, which is of the planned mode, as RGB in sRGB."""
        if self._transform is None:
            return image.convert("RGB")
        source = image if image.mode == self._transform.input_mode else image.convert("RGB")
        return self._transform.apply(source)

    def _read(self, data: bytes) -> None:
        if len(data) > MAX_PROFILE_BYTES:
            self.notes = (f"colour profile of {len(data):,} bytes left out",)
            return
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
            space = profile.profile.xcolor_space.strip()
            mode = _SPACES.get(space)
            # A grey picture often carries the RGB profile of the colour one it came from.
            if mode is None or mode not in (self._mode, "RGB" if self._mode == "L" else None):
                self.notes = (f"colour profile is for {space}, not for this picture; left out",)
                return
            transform = _transform(profile, mode)
            if mode != "RGB" or _differs(transform):
                self._transform = transform
        except FOREIGN:
            self.notes = ("colour profile damaged; colours taken as they are",)


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
