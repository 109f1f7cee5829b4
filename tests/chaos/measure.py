"""Two promises that are a number each, measured with real servers and worker processes.

`python tests/chaos/measure.py requeue --lease 30 --times 3`: from SIGKILL of a worker to its ticket
in the queue again. `python tests/chaos/measure.py submissions --times 20`: identical submissions at
once. Each prints one line of JSON and exits 0 only if the promise held.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Final

from fleet import Fleet
from jobs import MODEL
from s3_proxy import Spell, Weather
from scene import Scene, set_up

from producer.client import Client

MARGIN_S: Final = 2.0
"""What recovery may add to a lease (issue B)."""
POLL_S: Final = 0.01
ITEMS: Final = 64


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("requeue", "submissions"))
    parser.add_argument("--lease", type=float, default=3.0, help="RMBG_LEASE_S of the workers")
    parser.add_argument("--times", type=int, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rmbg-chaos-") as name, set_up(Path(name)) as scene:
        scene.put_pictures(dict.fromkeys(_keys(), b"picture"))
        if args.what == "requeue":
            return _requeue(scene, args.lease, args.times)
        return _submissions(scene, args.times)


def _requeue(scene: Scene, lease_s: float, times: int) -> int:
    """Kill a worker that holds a ticket, over and over, while nothing can end."""
    chance = random.Random(1)
    scene.s3_proxy.spell = Spell(Weather.REFUSED, 1.0, chance)  # so tickets are held for ever
    env = {**scene.worker_env, "RMBG_LEASE_S": f"{lease_s:g}", "RMBG_RECOVER_S": "1"}
    took_s = []
    job_id = scene.client.submit(_keys(), rem_mode=MODEL)
    with Fleet(2, env, scene.folder, chance, sabotage=None, doomed_share=0.0) as fleet:
        fleet.wait_ready(scene.jobs)
        while len(took_s) < times:
            owners = _wait_for_owners(scene, job_id)
            pid = fleet.kill(chance)
            killed_s = time.monotonic()
            held = {unit: owner for unit, owner in owners.items() if f"-{pid}-" in owner}
            while held:
                now = _owners(scene, job_id)
                back = [unit for unit, owner in held.items() if now.get(unit) != owner]
                took_s += [time.monotonic() - killed_s for _ in back]
                held = {unit: owner for unit, owner in held.items() if unit not in back}
                time.sleep(POLL_S)
            fleet.tick()
    slowest_s = max(took_s)
    return _say(
        slowest_s <= lease_s + MARGIN_S,
        lease_s=lease_s,
        tickets=len(took_s),
        fastest_s=round(min(took_s), 2),
        slowest_s=round(slowest_s, 2),
        limit_s=lease_s + MARGIN_S,
    )


def _wait_for_owners(scene: Scene, job_id: str) -> dict[str, str]:
    """Return who holds which ticket, once two processes hold some."""
    while True:
        owners = _owners(scene, job_id)
        if len({owner.partition(":")[0] for owner in owners.values()}) > 1:
            return owners
        time.sleep(POLL_S)


def _owners(scene: Scene, job_id: str) -> dict[str, str]:
    key = f"rmbg:job:{job_id}"
    units = [unit.decode() for unit in scene.store.smembers(f"{key}:tickets")]
    found = {unit: scene.store.hget(f"{key}:ticket:{unit}", "owner") for unit in units}
    return {unit: owner.decode() for unit, owner in found.items() if owner is not None}


def _submissions(scene: Scene, times: int) -> int:
    """Submit the same keys from so many clients at once."""
    barrier = Barrier(times)

    def submit(_: int) -> str:
        client = Client(scene.settings)
        barrier.wait()
        return client.submit(_keys(), rem_mode=MODEL)

    with ThreadPoolExecutor(times) as pool:
        job_ids = set(pool.map(submit, range(times)))
    known = scene.client.jobs()
    return _say(
        len(job_ids) == len(known) == 1,
        submissions=times,
        job_ids=len(job_ids),
        jobs=len(known),
        items=sum(status.total for status in known),
    )


def _keys() -> list[str]:
    return [f"picture {n:03}.png" for n in range(ITEMS)]


def _say(held: bool, **figures: object) -> int:  # noqa: FBT001
    print(json.dumps({"held": held, **figures}), flush=True)  # noqa: T201 - the command's answer
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
