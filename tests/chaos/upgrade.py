"""Let workers and producers of an earlier commit and of this tree share one system, with faults.

`python tests/chaos/upgrade.py --previous 870a4d5 --seed 1 --seconds 60 --items 600` prints one line
of JSON, and exits with 0 only if every guarantee held and each version did its share. A job that
needs a feature of a later version waits until a worker comes that knows it. No process or file is
left behind.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from faults import Faults  # noqa: E402 - needs the path set above
from fleet import Build, Fleet  # noqa: E402
from jobs import PlannedJob  # noqa: E402
from run import INTERRUPTED, cause_faults, settle  # noqa: E402
from schedule import OPERATIONS, Fault, Kind, plan  # noqa: E402
from support.until import poll  # noqa: E402
from system import System, start_system  # noqa: E402
from upgrade_builds import MissingCommit, current, later, previous  # noqa: E402
from upgrade_figures import Upgrade  # noqa: E402
from upgrade_fleet import MixedFleet  # noqa: E402
from upgrade_jobs import LATER_KEYS, make_jobs, submit_later  # noqa: E402
from upgrade_verdict import ended_by, refused_by, unreadable, watch_parked  # noqa: E402
from verdict import judge  # noqa: E402

from shared.job.spec import TERMINAL_STATES  # noqa: E402

PREVIOUS: Final = "870a4d5"
"""The last commit before the packages were reorganised; its documents are those of version 0.1."""
WORKERS: Final = 2
"""Workers of each version."""
FIRST_FAULTS: Final = (Kind.KILL, Kind.KILL, Kind.REDIS_KILL, Kind.STORE_503)
"""Faults that every run has, while all jobs are open."""
NEWER_FAULTS: Final = frozenset(
    {Kind.STORE_501, Kind.DEVICE_LOST, Kind.SUPERVISOR_KILL, Kind.REDIS_FAILOVER, *OPERATIONS}
)
"""Faults that 870a4d5 was not made for."""
LATER_S: Final = 180.0
"""Longest time that the job for the later version may take once a worker of it runs."""


def main() -> int:
    """Run once and print the result."""
    args = _arguments()
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: sys.exit(INTERRUPTED))
    with tempfile.TemporaryDirectory(prefix="rmbg-upgrade-") as name:
        folder = Path(name)
        try:
            builds = [previous(args.previous, folder / "previous-tree"), current()]
        except MissingCommit as err:
            sys.exit(str(err))
        try:
            return _run(args, folder, builds)
        finally:
            if args.logs:
                ignored = shutil.ignore_patterns("data", "*-tree")
                shutil.copytree(folder, args.logs, ignore=ignored)


def _run(args: argparse.Namespace, folder: Path, builds: list[Build]) -> int:
    chance = random.Random(args.seed)
    started_s = time.monotonic()
    jobs = make_jobs(args.items, chance, *builds)
    with start_system(folder) as system:
        system.upload(jobs.images() | {key: f"image {key}".encode() for key in LATER_KEYS})
        needy = submit_later(system)
        jobs.submit_due(system, 0.0)
        with MixedFleet(builds, WORKERS, system.worker_env, folder, chance) as fleet:
            faults = Faults(system, fleet, jobs)
            fleet.wait_ready(system.jobs)
            pending = _plan(args.seed, args.seconds)
            cause_faults(pending, jobs, system, fleet, faults, seconds=args.seconds)
            faults.end()
            fleet.stop_crashes()
            settle(system, jobs, fleet, faults)
            parked = watch_parked(system, needy, builds[0])
            shown = _run_later(system, needy, fleet, chance)
        others = tuple(jobs.submitted)
        jobs.submitted[needy] = PlannedJob("later", LATER_KEYS, "later", "bulk", 0.0)
        verdict = judge(system, jobs)
        found = Upgrade(
            guarantees_held=verdict.holds,
            worker_deaths=fleet.deaths,
            ended_by=ended_by(system, others),
            unreadable=unreadable(system, needy),
            parked=parked,
            later_by=ended_by(system, [needy]),
            later_waiting_for=shown,
            later_refused_by=refused_by(system, needy),
        )
    line = found.to_json(
        **asdict(verdict),
        previous=args.previous,
        seed=args.seed,
        deaths_at=fleet.causes(),
        faults={str(kind): count for kind, count in sorted(faults.done.items())},
        seconds=round(time.monotonic() - started_s, 1),
    )
    print(line, flush=True)  # noqa: T201 - the command's answer
    return 0 if found.holds else 1


def _plan(seed: int, seconds: float) -> list[Fault]:
    """Return the faults of a run: those of `FIRST_FAULTS`, then the usual ones."""
    faults = [each for each in plan(seed, seconds) if each.kind not in NEWER_FAULTS]
    first = zip(faults, random.Random(seed).sample(FIRST_FAULTS, len(FIRST_FAULTS)), strict=False)
    return [replace(fault, kind=kind) for fault, kind in first] + faults[len(FIRST_FAULTS) :]


def _run_later(
    system: System, needy: str, fleet: MixedFleet, chance: random.Random
) -> tuple[str, ...]:
    """Run workers of the later version beside the others until the job that needs it has ended.

    Returns:
        What the job's status shows meanwhile.
    """
    folder = system.folder / "later"
    folder.mkdir()
    build = later(system.folder / "later-tree")
    with Fleet(
        WORKERS, system.worker_env, folder, chance, sabotage=None, crash_share=0.0, build=build
    ) as able:
        shown: dict[str, None] = {}
        for _ in poll(within_s=LATER_S, every_s=0.2):
            fleet.tick()
            able.tick()
            status = system.client.status(needy)
            if status.waiting_for is not None:
                shown[status.waiting_for] = None
            if status.state in TERMINAL_STATES:
                break
    return tuple(shown)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--previous", default=PREVIOUS, help="commit of the earlier version")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long faults are caused")
    parser.add_argument("--items", type=int, default=600, help="in all jobs together")
    parser.add_argument("--logs", type=Path, help="new folder to copy the logs of the workers to")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
