"""From the bytes of any picture to upright sRGB pixels.

Rooms, each on the ones before it: `limits` (what is too large), `sniff` (what the bytes are),
`header` (how large, before a pixel is decoded), `files` (Pillow, and the one seam for its errors),
`jpeg` (the fast way), `samples` (any mode to 8 bits and an alpha), `colour` (profiles to sRGB),
`alpha` and `orientation`, `station` (the order of it all), `child` and `process`
(the two ends of a process apart; see `worker.stations.isolate`).
"""

from worker.stations.decode.header import Header, peek
from worker.stations.decode.limits import Limits
from worker.stations.decode.sniff import needs_isolation, sniff
from worker.stations.decode.station import Decoded, decode

__all__ = ["Decoded", "Header", "Limits", "decode", "needs_isolation", "peek", "sniff"]
