"""Names of the queues that carry tickets, and how many tickets a worker takes."""

from typing import Final

INTERACTIVE: Final = "rmbg.interactive"
RECOVERY: Final = "rmbg.recovery"
BULK: Final = "rmbg.bulk"
SUSPECT: Final = "rmbg.suspect"
QUEUES: Final = (INTERACTIVE, RECOVERY, BULK, SUSPECT)
"""All queues, in the order in which workers consume them."""
CONCURRENCY: Final = 3
"""Tickets a worker holds at once, so that the GPU stays busy while one ticket ends."""
