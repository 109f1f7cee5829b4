"""What is too large to be decoded; asked of the header, before any pixel exists."""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import ImageTooLarge, UndecodableImage


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The largest picture that is accepted; both ends are inclusive."""

    max_pixels: int = 100_000_000
    """Width times height. 100 MP is the largest medium-format camera of today."""
    max_bytes: int = 100 * 2**20
    """Length of the file, in bytes."""
    max_side_px: int = 65_535
    """Longer side, in pixels: the greatest that JPEG can say."""
    max_aspect: float = 20_000.0
    """Longer side over shorter side: banners and rulers pass, a 1 x 65,535 thread does not."""

    def check_bytes(self, found: int) -> None:
        """Refuse a file that is too long.

        Raises:
            ImageTooLarge: Naming the limit and what was found.
        """
        if found > self.max_bytes:
            raise ImageTooLarge(f"{found:,} bytes; the limit is {self.max_bytes:,} bytes")

    def check_size(self, width: int, height: int) -> None:
        """Refuse a picture that is too large.

        Raises:
            ImageTooLarge: Naming the limit and what was found.
            UndecodableImage: If a side is less than 1 pixel.
        """
        shape = f"{width:,} x {height:,} pixels"
        if min(width, height) < 1:
            raise UndecodableImage(f"its header says {shape}")
        if width * height > self.max_pixels:
            found = f"{shape} are {width * height:,}"
            raise ImageTooLarge(f"{found}; the limit is {self.max_pixels:,} pixels")
        if max(width, height) > self.max_side_px:
            raise ImageTooLarge(f"{shape}; the limit is {self.max_side_px:,} pixels a side")
        if max(width, height) > self.max_aspect * min(width, height):
            raise ImageTooLarge(f"{shape}; the limit is {self.max_aspect:,.0f} to 1")
