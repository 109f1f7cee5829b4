"""One run of the fault suite: real servers, real worker processes, and a seed.

`python tests/chaos/run.py --seed 1 --seconds 60 --items 2000`. Prints one line of JSON; exits 0
only if every promise held. Nothing is left running or lying about afterwards.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from faults import Faults
from fleet import Fleet
from jobs import Jobs, make_jobs
from scene import Scene, set_up
from schedule import Kind, plan
from verdict import judge, line_of

from shared.job.spec import TERMINAL_STATES

INTERRUPTED: Final = 130
"""Exit code; everything is cleaned up before."""
TICK_S: Final = 0.05
LOOK_S: Final = 0.5
PATIENCE_S: Final = 300.0
"""How long jobs may take after the faults."""
STUCK_S: Final = 15.0
"""Nothing ends and nobody holds a ticket for so long: then nothing will come of it any more."""
SABOTAGE: Final = {
    "if-none-match": Kind.STORE_REPLY_LOST,
    "lost-ticket": Kind.MESSAGE_REMOVED,
}
"""Protections that may be switched off, and the fault that each is there for."""


def main() -> int:
    """Do one run and print what came of it."""
    args = _arguments()
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: sys.exit(INTERRUPTED))
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rmbg-chaos-") as name:
        folder = Path(name)
        try:
            return _run(args, folder, started_s)
        finally:
            if args.logs:
                shutil.copytree(folder, args.logs, ignore=shutil.ignore_patterns("data"))


def _run(args: argparse.Namespace, folder: Path, started_s: float) -> int:
    chance = random.Random(args.seed)
    jobs = make_jobs(args.items, chance)
    with set_up(folder) as scene:
        scene.put_pictures(jobs.pictures())
        jobs.submit_due(scene, 0.0)
        fleet = Fleet(args.workers, scene.worker_env, folder, chance, sabotage=args.sabotage)
        with fleet:
            faults = Faults(scene, fleet)
            fleet.wait_ready(scene.jobs)
            _go_wrong(args, jobs, scene, fleet, faults)
            faults.end()
            fleet.calm_down()
            calm_s = time.monotonic()
            _settle(scene, jobs, fleet)
            settled_s = time.monotonic() - calm_s
        verdict = judge(scene, jobs)
        line = line_of(
            verdict,
            seed=args.seed,
            sabotage=args.sabotage,
            killers=len(jobs.killers),
            worker_deaths=fleet.deaths,
            deaths_at=fleet.causes(),
            faults=faults.done.total(),
            fault_kinds=dict(sorted(faults.done.items())),
            messages=dict(faults.messages),
            requests_befallen=scene.s3_proxy.befallen,
            append_only_bytes_lost=scene.append_only.lost_bytes,
            slowest_leave_s=round(fleet.slowest_leave_s, 1),
            settled_s=round(settled_s, 1),
            seconds=round(time.monotonic() - started_s, 1),
        )
    print(line, flush=True)  # noqa: T201 - the command's answer
    return 0 if verdict.holds else 1


def _go_wrong(
    args: argparse.Namespace, jobs: Jobs, scene: Scene, fleet: Fleet, faults: Faults
) -> None:
    """Let everything of the schedule happen, unless all is done before."""
    pending = plan(args.seed, args.seconds, first=SABOTAGE.get(args.sabotage))
    started_s = time.monotonic()
    looked_s = started_s
    while (elapsed_s := time.monotonic() - started_s) < args.seconds:
        fleet.tick()
        faults.tick()
        jobs.submit_due(scene, elapsed_s / args.seconds)
        if pending and pending[0].at_s <= elapsed_s:
            faults.do(pending.pop(0))
        if not jobs.waiting and time.monotonic() - looked_s > LOOK_S:
            looked_s = time.monotonic()
            if _all_ended(scene, jobs):
                return
        time.sleep(TICK_S)


def _settle(scene: Scene, jobs: Jobs, fleet: Fleet) -> None:
    """Wait until all jobs are done, or nothing happens any more."""
    jobs.submit_due(scene, 1.0)
    ends_s = time.monotonic() + PATIENCE_S
    before: object = None
    changed_s = time.monotonic()
    while time.monotonic() < min(ends_s, changed_s + STUCK_S):
        if _all_ended(scene, jobs):
            return
        held = scene.store.zrange("rmbg:leased", 0, -1) + scene.store.zrange("rmbg:parked", 0, -1)
        found = [(status.done, status.failed, status.state) for status in _statuses(scene, jobs)]
        if held or found != before:
            before, changed_s = found, time.monotonic()
        fleet.tick()
        time.sleep(LOOK_S)


def _all_ended(scene: Scene, jobs: Jobs) -> bool:
    return all(status.state in TERMINAL_STATES for status in _statuses(scene, jobs))


def _statuses(scene: Scene, jobs: Jobs):
    return [scene.client.status(job_id) for job_id in jobs.submitted]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0, help="time of the faults")
    parser.add_argument("--items", type=int, default=2000, help="over all jobs")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--sabotage", choices=sorted(SABOTAGE), help="protection to switch off")
    parser.add_argument("--logs", type=Path, help="new folder for the workers' logs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
