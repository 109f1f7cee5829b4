"""(h) The gateway under load; `python -m benchmarks.gateway_load PART ...` prints JSON, by part.

`images`: callers that wait for an image; `slow`: the same with a slower device. `streams`: idle
streams of events. `small`: a small job beside a large one. `weights`: tenants that share a worker.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any, Final

from benchmarks import fairness, idle_streams, light_callers

STREAMS: Final = 10_000
SLOW_IMAGE_S: Final = 0.024
"""A device of 39.6 images/s, which two cores can feed."""
PARTS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "images": light_callers.measure,
    "slow": lambda: light_callers.measure(SLOW_IMAGE_S),
    "streams": lambda: idle_streams.measure(STREAMS),
    "small": fairness.measure_small,
    "weights": fairness.measure_weights,
}


def main() -> None:
    """Run the parts that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART")
    given = parser.parse_args()
    idle_streams.raise_file_limit()
    for name in given.parts or PARTS:
        print(json.dumps({name: PARTS[name]()}), flush=True)


if __name__ == "__main__":
    main()
