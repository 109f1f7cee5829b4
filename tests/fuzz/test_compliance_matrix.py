"""A short run of the matrix, and a check that it can fail."""

import secrets
from dataclasses import replace

import pytest
from fuzz.compliance_matrix import MAX_FALSE_ALARMS, SOUND, Matrix, case_of, measure

from shared.recipes.checks import CHECKS


def test_every_defect_is_found_by_its_check_and_by_no_other():
    matrix = measure(secrets.randbits(32), 3, 6)

    assert not matrix.missed, (matrix.seed, matrix.missed)
    assert matrix.false_alarms <= MAX_FALSE_ALARMS, (matrix.seed, matrix.alarms)
    assert set(matrix.made) == {*CHECKS, SOUND}


def test_a_missed_defect_and_a_false_alarm_are_counted():
    matrix = Matrix(seed=7)

    matrix.add("aspect", 0, case_of(7, SOUND, 0))
    matrix.add(SOUND, 0, replace(case_of(7, "aspect", 0)))

    assert [(defect, finding.check) for defect, _, _, finding in matrix.missed] == [
        ("aspect", "aspect")
    ]
    assert [(defect, finding.check) for defect, _, _, finding in matrix.alarms] == [
        (SOUND, "aspect")
    ]
    assert matrix.false_alarms == pytest.approx(1 / 33)


def test_a_case_can_be_reproduced_from_its_numbers():
    assert case_of(3, "fill", 5).written() == case_of(3, "fill", 5).written()
    assert case_of(3, "fill", 5).written() != case_of(3, "fill", 6).written()
