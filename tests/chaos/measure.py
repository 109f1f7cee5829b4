"""Measure two guarantees with real servers and worker processes.

`python tests/chaos/measure.py requeue --lease 30 --times 3` measures the time from SIGKILL of a
worker until its tickets are issued again. `python tests/chaos/measure.py submissions --times 20`
submits the same keys at once and counts the jobs. Each prints one line of JSON and exits with 0
only if the guarantee held.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Final, TypeVar

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from fleet import Fleet  # noqa: E402 - needs the path set above
from jobs import MODEL  # noqa: E402
from s3_proxy import S3Fault, S3FaultKind  # noqa: E402
from support.until import poll  # noqa: E402
from system import System, start_system  # noqa: E402

from producer.client import Client  # noqa: E402

MARGIN_S: Final = 2.0
"""Time that recovery may take after a lease has expired."""
POLL_S: Final = 0.01
LIMIT_S: Final = 300.0
"""Time after which a measurement is given up."""
ITEMS: Final = 64

Value = TypeVar("Value")


def main() -> int:
    """Run the measurement named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("requeue", "submissions"))
    parser.add_argument("--lease", type=float, default=3.0, help="RMBG_LEASE_S of the workers")
    parser.add_argument("--times", type=int, default=20)
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="rmbg-chaos-") as name,
        start_system(Path(name)) as system,
    ):
        system.upload(dict.fromkeys(_keys(), b"image"))
        if args.what == "requeue":
            return _requeue(system, args.lease, args.times)
        return _submissions(system, args.times)


def _requeue(system: System, lease_s: float, times: int) -> int:
    """Kill workers that hold tickets, while a fault of S3 keeps every item open."""
    chance = random.Random(1)
    system.s3_proxy.fault = S3Fault(S3FaultKind.REFUSED, 1.0, chance)
    env = {**system.worker_env, "RMBG_LEASE_S": f"{lease_s:g}", "RMBG_RECOVER_S": "1"}
    took_s: list[float] = []
    job_id = system.client.submit(_keys(), rem_mode=MODEL)
    with Fleet(2, env, system.folder, chance, sabotage=None, crash_share=0.0) as fleet:
        fleet.wait_ready(system.jobs)
        while len(took_s) < times:
            owners = _until(lambda: _owners_of_two_workers(system, job_id))
            pid = fleet.kill(chance)
            killed_s = time.monotonic()
            held = {unit: owner for unit, owner in owners.items() if f"-{pid}-" in owner}
            while held:
                back = _until(lambda: _changed(held, _owners(system, job_id)))  # noqa: B023 - called at once
                took_s += [time.monotonic() - killed_s for _ in back]
                held = {unit: owner for unit, owner in held.items() if unit not in back}
            fleet.tick()
    slowest_s = max(took_s)
    return _report(
        slowest_s <= lease_s + MARGIN_S,
        lease_s=lease_s,
        tickets=len(took_s),
        fastest_s=round(min(took_s), 2),
        slowest_s=round(slowest_s, 2),
        limit_s=lease_s + MARGIN_S,
    )


def _until(look: Callable[[], Value]) -> Value:
    """Return the first truthy value of *look()*."""
    for _ in poll(within_s=LIMIT_S, every_s=POLL_S):
        if value := look():
            return value
    raise TimeoutError(f"no result within {LIMIT_S} s")


def _owners_of_two_workers(system: System, job_id: str) -> dict[str, str]:
    """Return the owner of each ticket if at least two processes hold tickets, otherwise nothing."""
    owners = _owners(system, job_id)
    processes = {owner.partition(":")[0] for owner in owners.values()}
    return owners if len(processes) > 1 else {}


def _changed(held: dict[str, str], now: dict[str, str]) -> list[str]:
    """Return the tickets that have another owner now, or none."""
    return [unit for unit, owner in held.items() if now.get(unit) != owner]


def _owners(system: System, job_id: str) -> dict[str, str]:
    """Return the owner of each ticket of the job that is leased."""
    key = f"rmbg:job:{job_id}"
    units = [unit.decode() for unit in system.store.smembers(f"{key}:tickets")]
    found = {unit: system.store.hget(f"{key}:ticket:{unit}", "owner") for unit in units}
    return {unit: owner.decode() for unit, owner in found.items() if owner is not None}


def _submissions(system: System, times: int) -> int:
    """Submit the same keys from *times* clients at once."""
    barrier = Barrier(times)

    def submit(_: int) -> str:
        client = Client(system.settings)
        barrier.wait()
        return client.submit(_keys(), rem_mode=MODEL)

    with ThreadPoolExecutor(times) as pool:
        job_ids = set(pool.map(submit, range(times)))
    known = system.client.jobs()
    return _report(
        len(job_ids) == len(known) == 1,
        submissions=times,
        job_ids=len(job_ids),
        jobs=len(known),
        items=sum(status.total for status in known),
    )


def _keys() -> list[str]:
    return [f"image {n:03}.png" for n in range(ITEMS)]


def _report(held: bool, **figures: object) -> int:  # noqa: FBT001
    print(json.dumps({"held": held, **figures}), flush=True)  # noqa: T201 - the command's answer
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
