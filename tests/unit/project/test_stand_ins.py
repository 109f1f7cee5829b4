"""The stand-ins of image operations take the calls that the product makes."""

import importlib.util
import inspect
import sys
from pathlib import Path

import pytest
from support.stand_ins import QuickImaging

from benchmarks.stand_ins import ConstantImaging
from worker.imaging.operations import ImageOperations

CHAOS = Path(__file__).parents[2] / "chaos"


@pytest.fixture
def random_imaging(monkeypatch):
    """The stand-in of the fault suite, which runs as a script beside its modules."""
    monkeypatch.syspath_prepend(CHAOS)
    spec = importlib.util.spec_from_file_location("chaos_stand_ins", CHAOS / "standins.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module.RandomImaging


def check(stand_in):
    """Bind the arguments of each operation of the product to that of *stand_in*."""
    checked = 0
    for name, operation in inspect.getmembers(stand_in, inspect.isfunction):
        if name.startswith("_"):
            continue
        parameters = list(inspect.signature(getattr(ImageOperations, name)).parameters.values())
        named = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]
        count = sum(one.kind is one.POSITIONAL_OR_KEYWORD for one in parameters)
        inspect.signature(operation).bind(*range(count), **dict.fromkeys(named))
        checked += 1
    assert checked >= 6, "the methods of the stand-in were not found"


@pytest.mark.parametrize("stand_in", [QuickImaging, ConstantImaging])
def test_a_stand_in_takes_the_arguments_of_the_product(stand_in):
    check(stand_in)


def test_the_stand_in_of_the_fault_suite_takes_the_arguments_of_the_product(random_imaging):
    check(random_imaging)
