"""Findings about damage in a file: which fail it, which are noted, which cause a review."""

from dataclasses import dataclass
from typing import Final

from shared.errors import UndecodableImage

TRUNCATED: Final = "file is truncated; part of the pixels is missing"


@dataclass(frozen=True)
class Findings:
    """Facts about damage of one file."""

    notes: tuple[str, ...] = ()
    """Damage that changes no pixel: a wrong checksum of a text, a missing end marker, ..."""
    doubts: tuple[str, ...] = ()
    """Reasons why pixels may be wrong, although nothing proves it; each forces `review`."""
    damage: tuple[str, ...] = ()
    """Proof that pixels are missing or wrong. The file is refused unless the job accepts truncated
    files; then each is a doubt."""

    def __add__(self, other: "Findings") -> "Findings":
        """Return the findings of both."""
        return Findings(
            self.notes + other.notes, self.doubts + other.doubts, self.damage + other.damage
        )

    def accepted(self, image_format: str, *, accept: bool) -> "Findings":
        """Return the findings with damage as doubts, which *accept* allows.

        Raises:
            UndecodableImage: If the file is damaged and damage is not accepted.
        """
        if self.damage and not accept:
            raise UndecodableImage(
                f"{image_format}: {'; '.join(self.damage)}; replace the file, or submit it with"
                " --truncated accept"
            )
        return Findings(self.notes, self.doubts + self.damage)
