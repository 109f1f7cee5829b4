"""Tell whether a colour profile is sRGB."""

import io
from functools import lru_cache

from PIL import ImageCms

from worker.imaging.decode.colour import to_srgb
from worker.imaging.decode.files import FOREIGN
from worker.imaging.encode.srgb import SRGB_PROFILE


def is_srgb(profile: bytes) -> bool:
    """Return whether colours in *profile* equal those in sRGB; also if there is no profile."""
    return profile in (b"", SRGB_PROFILE) or _changes_nothing(profile)


@lru_cache(maxsize=64)
def _changes_nothing(profile: bytes) -> bool:
    """Return whether a profile, of which shops have few, is sRGB; a damaged one is not."""
    conversion = to_srgb("RGB", {"icc_profile": profile})
    return conversion.transform is None and not conversion.notes


def profile_name(profile: bytes) -> str:
    """Return how *profile* calls itself."""
    try:
        return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).strip()
    except FOREIGN:
        return "damaged profile"
