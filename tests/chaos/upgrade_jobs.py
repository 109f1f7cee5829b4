"""The jobs of an upgrade run, each submitted by the `rmbg` of one version."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from fleet import Build
from jobs import MODEL, Jobs, PlannedJob, keys_of
from support.until import poll
from system import System
from upgrade_builds import rmbg
from upgrade_figures import FEATURE, LATER_VERSION

from producer.services import Services
from producer.submission.options import JobOptions
from producer.submission.sources import KeySource
from producer.submission.submit import plan, submit

SHARED_ITEMS: Final = 8
"""Items of each interactive job."""
LATER_KEYS: Final = keys_of("later", 40)
"""Keys of the job that needs a feature of a later version: several tickets."""
_BULK_SHARES: Final = (0.3, 0.3, 0.2, 0.2)
_SUBMIT_S: Final = 30.0
_UNAVAILABLE: Final = 3
"""Exit code of `rmbg` while a service is unavailable."""


@dataclass(frozen=True, kw_only=True)
class JobOfVersion(PlannedJob):
    """One job before it is submitted, and the version that submits it."""

    build: Build


class UpgradeJobs(Jobs):
    """Two bulk jobs of each version, and interactive jobs whose items the other version had."""

    def submit_due(self, system: System, elapsed: float) -> None:
        """Submit the jobs that are due at *elapsed*, a share of the time of the faults."""
        for job in [each for each in self.waiting if each.at <= elapsed]:
            self.submitted[_submit(system, job)] = job
            self.waiting.remove(job)


def make_jobs(items: int, chance: random.Random, old: Build, new: Build) -> UpgradeJobs:
    """Return jobs with about *items* in total, and one killer for each version.

    No image is poisoned or refused: 870a4d5 has no answer to those.
    """
    bulk = [max(2 * SHARED_ITEMS, int(items * share)) for share in _BULK_SHARES]
    first_old, first_new, second_old, second_new = (
        keys_of(f"job-{n}", count) for n, count in enumerate(bulk)
    )
    killers = {chance.choice(keys[SHARED_ITEMS:]) for keys in (first_old, first_new)}
    planned = [
        ("old", first_old, "old", "bulk", 0.0, old),
        ("new", first_new, "new", "bulk", 0.0, new),
        ("again-by-new", first_old[:SHARED_ITEMS][::-1], "old", "interactive", 0.2, new),
        ("again-by-old", first_new[:SHARED_ITEMS][::-1], "new", "interactive", 0.3, old),
        ("second-old", second_old, "old-%year%", "bulk", 0.35, old),
        ("second-new", second_new, "new-%year%", "bulk", 0.4, new),
        ("quick-old", keys_of("quick-old", SHARED_ITEMS), "quick-old", "interactive", 0.5, old),
        ("quick-new", keys_of("quick-new", SHARED_ITEMS), "quick-new", "interactive", 0.5, new),
    ]
    jobs = [JobOfVersion(*job, build=build) for *job, build in planned]
    return UpgradeJobs(list(jobs), frozenset(killers), poisoned="", refused={})


def submit_later(system: System) -> str:
    """Submit the job that needs a feature of a later version, as that version would."""
    services = Services(system.settings)
    spec = plan(services, JobOptions.of(save_prefix="later", rem_mode=MODEL))
    needy = spec.model_copy(update={"needs": (FEATURE,), "version": LATER_VERSION})
    job_id = submit(services, KeySource(LATER_KEYS), needy).job_id
    system.append_only.keep()
    return job_id


def _submit(system: System, job: JobOfVersion) -> str:
    """Submit a job with its version's `rmbg`; a repetition joins a job that exists."""
    args = ["submit", "--save-prefix", job.prefix, "--rem-mode", MODEL, "--priority", job.priority]
    env = {**system.servers.settings(), "HOME": str(system.folder)}
    for _ in poll(within_s=_SUBMIT_S, every_s=0.5):
        done = rmbg(job.build, env, args, "\n".join(job.keys))
        if done.returncode == 0:
            system.append_only.keep()
            return done.stdout.strip()
        if done.returncode != _UNAVAILABLE:
            break
    raise RuntimeError(f"rmbg of {job.build.name} did not submit {job.name!r}: {done.stderr}")
