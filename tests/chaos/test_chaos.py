"""Short runs of the fault suite with fixed seeds, with and without the protections it tests."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from chaos.schedule import CYCLE, OPERATIONS, Kind, plan

RUN = Path(__file__).with_name("run.py")
LONGEST_S = 400
"""A run usually takes a minute, and several on a busy machine."""
GUARANTEES = (
    *("lost", "overwritten", "count_errors", "wrongly_blamed", "unfinished", "leftovers"),
    *("undone", "late_writes", "faulty_outputs", "orphans", "command_errors", "unclear_messages"),
)
SEED = 9314
"""A seed with every kind of `CERTAIN` in its first 20 seconds."""
CERTAIN = (
    *("cancel", "retry", "repair", "supervisor-kill", "redis-failover", "device lost"),
    *("object-403", "object-archived", "object-418", "output-418", "poisoned batch"),
)
"""Faults that hit whenever they are drawn."""


def chaos(*args):
    """Run the suite; return its exit code and its output."""
    done = subprocess.run(
        [sys.executable, RUN, *map(str, args)],
        check=False,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
    )
    assert done.returncode in (0, 1), done.stderr
    [line] = done.stdout.splitlines()
    return done.returncode, json.loads(line)


@pytest.mark.integration
@pytest.mark.timeout(LONGEST_S + 10)
def test_every_image_ends_once_and_is_written_once_despite_all_faults():
    code, found = chaos("--seed", SEED, "--seconds", 20, "--items", 500)

    assert {name: found[name] for name in GUARANTEES} == dict.fromkeys(GUARANTEES, 0), found
    assert code == 0
    assert found["killers"] == 1
    assert found["failed"] == found["must_fail"] == 7
    assert {name for name in CERTAIN if not found["faults"][name]["hit"]} == set(), found["faults"]
    assert found["jobs"] >= 7, "four from the start, and one for each operation"
    assert found["done_events"] == found["generations"] == found["jobs"] + 2
    assert found["worker_deaths"] >= 3, "the killer image alone ends at least three workers"


@pytest.mark.integration
@pytest.mark.timeout(LONGEST_S + 10)
def test_without_conditional_writes_the_suite_reports_overwritten_outputs():
    code, found = chaos(
        *("--seed", 5, "--seconds", 6, "--items", 300, "--workers", 2),
        *("--sabotage", "if-none-match"),
    )

    assert found["overwritten"] > 0
    assert code == 1


@pytest.mark.integration
@pytest.mark.timeout(LONGEST_S + 10)
def test_without_reissuing_lost_tickets_the_suite_reports_lost_images():
    code, found = chaos(
        *("--seed", 5, "--seconds", 6, "--items", 400, "--workers", 2),
        *("--sabotage", "lost-ticket"),
    )

    assert found["messages"]["removed"] > 0
    assert found["lost"] > 0
    assert found["unfinished"] > 0
    assert code == 1


def test_the_same_seed_gives_the_same_faults():
    assert plan(7, 60) == plan(7, 60) != plan(8, 60)


def test_the_first_cycle_has_every_kind_of_fault():
    longest_s = 2.0 * len(CYCLE + OPERATIONS)

    assert longest_s < 180
    for seed in range(20):
        assert {fault.kind for fault in plan(seed, longest_s)} == set(Kind)
