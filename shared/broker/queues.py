"""Names of the queues that carry tickets."""

from typing import Final

INTERACTIVE: Final = "rmbg.interactive"
RECOVERY: Final = "rmbg.recovery"
BULK: Final = "rmbg.bulk"
SUSPECT: Final = "rmbg.suspect"
QUEUES: Final = (INTERACTIVE, RECOVERY, BULK, SUSPECT)
"""All queues, in the order in which workers consume them."""
