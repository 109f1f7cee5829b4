"""The sRGB colour profile that is embedded where a format has no shorter tag."""

from typing import Final

from PIL import ImageCms

_DATE_BYTES: Final = slice(24, 36)
"""Date of creation in the header of a profile (ICC.1:2022, 7.2.8)."""


def _srgb_profile() -> bytes:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # 2000-01-01; Little CMS writes the current time.
    profile[_DATE_BYTES] = b"\x07\xd0\0\1\0\1\0\0\0\0\0\0"
    return bytes(profile)


SRGB_PROFILE: Final = _srgb_profile()
"""Built by Little CMS, 588 bytes; its copyright tag says "No copyright, use freely"."""
