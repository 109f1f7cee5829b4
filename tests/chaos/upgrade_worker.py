"""Run one worker of an upgrade run: that of the source tree whose name it is told.

Reads its order as JSON from standard input, as `worker_main` does, and starts the `worker_main` of
that tree. The device of the tree's stand-in network gets the name of the tree, so that the records
tell who processed an item.
"""

import json
import sys
from importlib import import_module
from typing import Any


def main(order: dict[str, Any]) -> int:
    """Serve until SIGTERM, or until the process is killed."""
    sys.path.insert(0, order["chaos"])
    import_module("standins").Segmenter.device = order["name"]
    worker_main = import_module("worker_main")
    worker_main.die_with(order["parent"])
    # 870a4d5 calls the file `calm` that stops the crashes.
    return worker_main.main(order | {"calm": order["stop"]})


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.stdin.read())))
