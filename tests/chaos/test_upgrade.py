"""What makes an upgrade run fail. Runs need the history of the repository: see `make upgrade`."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from chaos.upgrade_figures import FEATURE, LATER_VERSION, Parked, Upgrade

NAMED = f"a worker of rmbg-queue {LATER_VERSION} or later, which knows {FEATURE}"
UNREADABLE = "a worker that can read its document: unexpected keyword argument 'needs'"
NOBODY = {"previous": 0, "current": 0}
PARKED = Parked(ended=0, deaths=0, waiting_for=(NAMED,), refused_by=NOBODY)
HELD = Upgrade(
    guarantees_held=True,
    worker_deaths={"previous": 2, "current": 1},
    ended_by={"previous": 20, "current": 80},
    unreadable=0,
    parked=PARKED,
    later_by={"later": 40},
    later_waiting_for=(NAMED,),
    later_refused_by={"previous": 3, "current": 0},
)


def test_a_run_in_which_everything_held_passes():
    assert HELD.holds


@pytest.mark.parametrize(
    "changes",
    [
        {"guarantees_held": False},
        {"worker_deaths": {"previous": 2, "current": 0}},
        {"ended_by": {"previous": 19, "current": 81}},
        {"ended_by": {"previous": 81, "current": 19}},
        {"ended_by": {"current": 100}},
        {"unreadable": 1},
        {"later_by": {"later": 39, "previous": 1}},
        {"later_by": {}},
        {"later_waiting_for": (NAMED, UNREADABLE)},
        {"later_refused_by": {"previous": 0, "current": 1}},
        {"parked": dataclasses.replace(PARKED, ended=1)},
        {"parked": dataclasses.replace(PARKED, deaths=1)},
        {"parked": dataclasses.replace(PARKED, waiting_for=(NAMED, None))},
        {"parked": dataclasses.replace(PARKED, waiting_for=(UNREADABLE,))},
        {"parked": dataclasses.replace(PARKED, refused_by=NOBODY | {"previous": 1})},
        {"parked": dataclasses.replace(PARKED, refused_by=NOBODY | {"current": 1})},
    ],
    ids=str,
)
def test_a_run_fails_by_any_figure(changes):
    assert not dataclasses.replace(HELD, **changes).holds


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_commit_that_the_repository_lacks_is_named():
    """A shallow clone has no other commits."""
    command = [sys.executable, Path(__file__).with_name("upgrade.py"), "--previous", "no-commit"]

    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)

    assert done.returncode == 1
    assert "git has no tree of no-commit" in done.stderr
    assert "run git fetch --unshallow" in done.stderr
