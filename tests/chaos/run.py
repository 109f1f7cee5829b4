"""Run the fault suite once, with real servers, real worker processes and a random seed.

`python tests/chaos/run.py --seed 1 --seconds 60 --items 2000` prints one line of JSON, and exits
with 0 only if every guarantee held. No process or file is left behind.
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

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from faults import Faults  # noqa: E402 - needs the path set above
from fleet import Fleet  # noqa: E402
from jobs import Jobs, make_jobs  # noqa: E402
from operations import QUIET_S  # noqa: E402
from schedule import Fault, Kind, plan  # noqa: E402
from support.until import poll  # noqa: E402
from system import System, start_system  # noqa: E402
from verdict import judge, line_of  # noqa: E402

from shared.job.spec import TERMINAL_STATES  # noqa: E402
from shared.jobstore.values import JobStatus  # noqa: E402

INTERRUPTED: Final = 130
"""Exit code after SIGINT or SIGTERM."""
TICK_S: Final = 0.05
LOOK_S: Final = 0.5
SETTLE_S: Final = 300.0
"""Longest time that jobs may take after the faults."""
STUCK_S: Final = QUIET_S + 10
"""Time without progress and without a held ticket after which a run is given up."""
SABOTAGE: Final = {
    "if-none-match": Kind.STORE_REPLY_LOST,
    "lost-ticket": Kind.MESSAGE_REMOVED,
}
"""Protections that can be switched off, and the fault that each protects against."""


def main() -> int:
    """Run the suite once and print the result."""
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
    with start_system(folder) as system:
        system.upload(jobs.images())
        system.s3_proxy.refusals = jobs.refusals(system)
        jobs.submit_due(system, 0.0)
        fleet = Fleet(
            args.workers,
            system.worker_env,
            folder,
            chance,
            sabotage=args.sabotage,
            supervised=args.workers // 2,
        )
        with fleet:
            faults = Faults(system, fleet, jobs)
            fleet.wait_ready(system.jobs)
            pending = plan(args.seed, args.seconds, first=SABOTAGE.get(args.sabotage))
            cause_faults(pending, jobs, system, fleet, faults, seconds=args.seconds)
            faults.end()
            fleet.stop_crashes()
            stopped_s = time.monotonic()
            settle(system, jobs, fleet, faults)
            settled_s = time.monotonic() - stopped_s
        jobs.expected.orphans = fleet.supervised.orphans
        verdict = judge(system, jobs)
        line = line_of(
            verdict,
            seed=args.seed,
            sabotage=args.sabotage,
            killers=len(jobs.killers),
            must_fail=len(jobs.failing),
            worker_deaths=fleet.deaths,
            deaths_at=fleet.causes(),
            faults=faults.counts(),
            messages=dict(faults.messages),
            append_only_bytes_lost=system.append_only.lost_bytes,
            slowest_leave_s=round(fleet.slowest_leave_s, 1),
            settled_s=round(settled_s, 1),
            seconds=round(time.monotonic() - started_s, 1),
        )
    print(line, flush=True)  # noqa: T201 - the command's answer
    return 0 if verdict.holds else 1


def cause_faults(
    pending: list[Fault],
    jobs: Jobs,
    system: System,
    fleet: Fleet,
    faults: Faults,
    *,
    seconds: float,
) -> None:
    """Cause *pending* faults for *seconds*, or until each kind was caused and all jobs ended."""
    kinds = {fault.kind for fault in pending}
    started_s = looked_s = time.monotonic()
    for _ in poll(within_s=seconds, every_s=TICK_S):
        elapsed_s = time.monotonic() - started_s
        fleet.tick()
        faults.tick()
        jobs.submit_due(system, elapsed_s / seconds)
        if pending and pending[0].at_s <= elapsed_s:
            faults.cause(pending.pop(0))
        if time.monotonic() - looked_s > LOOK_S:
            faults.operations.tick()
            looked_s = time.monotonic()
            is_over = kinds <= faults.done.keys() and not jobs.waiting
            if is_over and _all_ended(system, jobs, faults):
                return


def settle(system: System, jobs: Jobs, fleet: Fleet, faults: Faults) -> None:
    """Wait until all jobs and operations have ended or no longer make progress."""
    jobs.submit_due(system, 1.0)
    before: object = None
    changed_s = time.monotonic()
    for _ in poll(within_s=SETTLE_S, every_s=LOOK_S):
        faults.operations.tick()
        if _all_ended(system, jobs, faults) or time.monotonic() > changed_s + STUCK_S:
            return
        held = system.store.zcard("rmbg:leased") or system.store.zcard("rmbg:parked")
        found = [(each.state, each.done, each.failed) for each in _statuses(system, jobs)]
        if held or found != before:
            before, changed_s = found, time.monotonic()
        fleet.tick()


def _all_ended(system: System, jobs: Jobs, faults: Faults) -> bool:
    have_jobs_ended = all(each.state in TERMINAL_STATES for each in _statuses(system, jobs))
    return have_jobs_ended and faults.operations.is_idle


def _statuses(system: System, jobs: Jobs) -> list[JobStatus]:
    return [system.client.status(job_id) for job_id in jobs.submitted]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long faults are caused")
    parser.add_argument("--items", type=int, default=2000, help="in all jobs together")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--sabotage", choices=sorted(SABOTAGE), help="protection to switch off")
    parser.add_argument("--logs", type=Path, help="new folder to copy the logs of the workers to")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
