"""The outputs of an item on their way to the bucket, and those that are there already."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from shared.job.record import OutputFacts


@dataclass(frozen=True)
class EncodedOutput:
    """One output of an item, encoded."""

    name: str
    files: Mapping[int, bytes]
    """By width; one file under 0 unless the output is written in several widths."""
    ext: str
    """Extension of the keys, without the dot."""
    media_type: str
    hash: str
    """The one of the output's hashes that applies to the image."""
    facts: OutputFacts = field(default_factory=OutputFacts)
    """For the record; those of cutout and mask are empty."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))


@dataclass(frozen=True)
class PresentOutput:
    """One output that this job has written already, from the source as it is now."""

    sizes: Mapping[int, int]
    """Bytes of each file, by width as in `EncodedOutput`."""
    facts: OutputFacts

    @property
    def sized_facts(self) -> OutputFacts:
        """The facts with the sizes."""
        return with_sizes(self.facts, self.sizes)


@dataclass(frozen=True)
class Present:
    """The outputs of an item that are in the bucket, by name."""

    source_etag: str = ""
    """ETag of the source that they were made from; "" as long as it is not known."""
    outputs: Mapping[str, PresentOutput] = field(default_factory=dict)

    def having(self, name: str, output: PresentOutput) -> "Present":
        """Return the same with one more output."""
        return Present(self.source_etag, {**self.outputs, name: output})

    def of(self, source_etag: str) -> "Present":
        """Return what still counts if the source has *source_etag*."""
        return self if source_etag == self.source_etag else Present(source_etag)


NOTHING: Final = Present()


def with_sizes(facts: OutputFacts, sizes: Mapping[int, int]) -> OutputFacts:
    """Return *facts* with the bytes of each file, by width as in `EncodedOutput`."""
    widths = {} if 0 in sizes else dict(sizes)
    return facts.model_copy(update={"bytes": sizes[max(sizes)], "widths": widths})
