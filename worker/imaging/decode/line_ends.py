"""Notice that a program converted line ends in a file, as a transfer in text mode does.

PNG and JPEG files reveal that by themselves.
"""

from typing import Final

from worker.imaging.decode.damage import Findings

DOUBT: Final = (
    "line ends were converted, as by a transfer in text mode; transfer the file as binary"
)
_HEADER_BYTES: Final = 1_024
"""These are not looked at: a conversion that changed the header left no image."""
_LEAST: Final = 64
"""Of the bytes of compressed data, one in 256 is a line feed and one in 256 a carriage return. So
many in a row that fit are no coincidence."""


def find_converted_line_ends(data: bytes, *, is_compressed: bool) -> Findings:
    """Return a doubt if each line feed in *data* follows a carriage return, or vice versa.

    Args:
        data: A whole file.
        is_compressed: Whether its bytes are as good as random. Uncompressed pixels may lack one.
    """
    feeds = data.count(b"\n", _HEADER_BYTES)
    is_to_crlf = feeds >= _LEAST and data.count(b"\r\n", _HEADER_BYTES) == feeds
    is_long = len(data) >= _HEADER_BYTES + (_LEAST << 8)
    is_from_cr = is_compressed and is_long and data.find(b"\r", _HEADER_BYTES) < 0
    return Findings(doubts=(DOUBT,)) if is_to_crlf or is_from_cr else Findings()
