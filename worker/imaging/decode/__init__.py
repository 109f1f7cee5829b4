"""From the bytes of any picture to upright sRGB pixels.

Rooms, each on the ones before it: `limits` (what is too large), `sniff` (what the bytes are),
`header` (how large, before a pixel is decoded), `files` (Pillow, and the one seam for its errors),
`jpeg` (the fast way), `samples` (any mode to 8 bits and an alpha), `colour` (profiles to sRGB),
`alpha` and `orientation`, `station` (the order of it all), `child` and `process`
(the two ends of a process apart; see `worker.imaging.decode.isolated.decoder`).
"""

from worker.imaging.decode.decoder import DecodedImage, decode
from worker.imaging.decode.header import Header, peek
from worker.imaging.decode.limits import Limits
from worker.imaging.decode.sniff import needs_isolation, sniff

__all__ = ["DecodedImage", "Header", "Limits", "decode", "needs_isolation", "peek", "sniff"]
