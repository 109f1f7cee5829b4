"""Measure what the checks of compliance miss, and where they raise a false alarm.

    python tests/fuzz/compliance_matrix.py --seed N --defects 20 --sound 200

Prints the matrix: one row for each kind of defect, one column for each check that failed. Exits
with 1 if a defect is missed, or more than 1 % of the other findings are failures.
"""

from __future__ import annotations

import argparse
import collections
import secrets
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "tests")) if path not in sys.path]

import numpy as np  # noqa: E402 - as a script, it sets the paths first
from fuzz.compliance_cases import Case, sound  # noqa: E402
from fuzz.compliance_defects import DEFECTS  # noqa: E402

from shared.recipes.checks import CHECKS, Checks  # noqa: E402
from worker.imaging.compliance import Finding, check  # noqa: E402

MAX_FALSE_ALARMS = 0.01
SOUND = "(sound)"


class Matrix:
    """Failed checks of each kind of defect."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.failed: dict[str, collections.Counter[str]] = {}
        self.made: collections.Counter[str] = collections.Counter()
        self.findings = 0
        self.missed: list[tuple[str, int, Case, Finding]] = []
        self.alarms: list[tuple[str, int, Case, Finding]] = []

    def add(self, defect: str, number: int, case: Case) -> None:
        """Check *case*, the *number*th with this defect."""
        checks = Checks.model_validate({"must": case.limits})
        self.made[defect] += 1
        row = self.failed.setdefault(defect, collections.Counter())
        for finding in check(case.written(), checks, case.known()):
            is_failed = finding.state == "failed"
            row[finding.check] += is_failed
            if finding.check == defect:
                if not is_failed:
                    self.missed.append((defect, number, case, finding))
                continue
            self.findings += 1
            if is_failed:
                self.alarms.append((defect, number, case, finding))

    @property
    def false_alarms(self) -> float:
        """Share of the findings about what is sound that are failures."""
        return len(self.alarms) / self.findings

    def lines(self) -> list[str]:
        columns = [f"{n:>3}" for n in range(1, len(CHECKS) + 1)]
        lines = [f"{'':24}{'made':>5} {' '.join(columns)}"]
        for row, (defect, failed) in enumerate(self.failed.items(), 1):
            cells = " ".join(f"{failed[name] or '.':>3}" for name in CHECKS)
            lines.append(f"{row:>2} {defect:21}{self.made[defect]:>5} {cells}")
        return lines


def case_of(seed: int, defect: str, number: int) -> Case:
    """Return the *number*th case with this defect; the same numbers give the same case."""
    kinds = (*CHECKS, SOUND)
    rng = np.random.default_rng([seed, kinds.index(defect), number])
    return sound(rng) if defect == SOUND else DEFECTS[defect](rng)


def measure(seed: int, defects: int, sound_images: int) -> Matrix:
    matrix = Matrix(seed)
    for name in CHECKS:
        for number in range(defects):
            matrix.add(name, number, case_of(seed, name, number))
    for number in range(sound_images):
        matrix.add(SOUND, number, case_of(seed, SOUND, number))
    return matrix


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--defects", type=int, default=20)
    parser.add_argument("--sound", type=int, default=200)
    options = parser.parse_args()
    matrix = measure(options.seed, options.defects, options.sound)
    say = sys.stdout.write
    say("\n".join(matrix.lines()) + "\n")
    for kind, cases in (("missed", matrix.missed), ("false alarm", matrix.alarms)):
        for defect, number, case, finding in cases:
            say(f"{kind}: {defect} {number} ({case.format}, {case.options}): {finding}\n")
    say(
        f"seed {matrix.seed}: {len(matrix.missed)} missed; {len(matrix.alarms)} false alarms in "
        f"{matrix.findings} findings ({matrix.false_alarms:.2%})\n"
    )
    return int(bool(matrix.missed) or matrix.false_alarms > MAX_FALSE_ALARMS)


if __name__ == "__main__":
    sys.exit(main())
