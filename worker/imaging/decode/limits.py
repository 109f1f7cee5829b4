"""Size limits, checked against the header before any pixel is decoded."""

from dataclasses import dataclass

from shared.errors import ImageTooLarge, UndecodableImage


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The largest image that is accepted; all limits are inclusive."""

    max_pixels: int = 100_000_000
    """Width times height. 100 MP is the resolution of the largest medium-format cameras."""
    max_bytes: int = 100 * 2**20
    """File size, in bytes."""
    max_side_px: int = 65_535
    """Longer side, in pixels; the maximum of JPEG."""
    max_aspect: float = 20_000.0
    """Longer side divided by shorter side. Banners pass, an image of 1 x 65,535 does not."""

    def check_bytes(self, found: int) -> None:
        """Reject a file that is too large.

        Raises:
            ImageTooLarge: With the limit and the actual value.
        """
        if found > self.max_bytes:
            raise ImageTooLarge(f"{found:,} bytes; the limit is {self.max_bytes:,} bytes")

    def check_size(self, width: int, height: int) -> None:
        """Reject an image that is too large.

        Raises:
            ImageTooLarge: With the limit and the actual value.
            UndecodableImage: If a side is shorter than 1 pixel.
        """
        shape = f"{width:,} x {height:,} pixels"
        if min(width, height) < 1:
            raise UndecodableImage(f"the header declares {shape}")
        if width * height > self.max_pixels:
            raise ImageTooLarge(
                f"{shape} = {width * height:,}; the limit is {self.max_pixels:,} pixels"
            )
        if max(width, height) > self.max_side_px:
            raise ImageTooLarge(f"{shape}; the limit is {self.max_side_px:,} pixels per side")
        if max(width, height) > self.max_aspect * min(width, height):
            raise ImageTooLarge(f"{shape}; the limit is an aspect of {self.max_aspect:,.0f} to 1")
