"""The stand-ins of image operations and of segmenters take the calls that the product makes."""

import importlib.util
import inspect
import sys
from pathlib import Path

import pytest
from support.stand_ins import QuickImaging, StandInSegmenter
from support.virtual_device import VirtualSegmenter

from benchmarks.stand_ins import ConstantImaging, DiscSegmenter, SleepingSegmenter
from worker.imaging.operations import ImageOperations
from worker.inference.segmenter import Segmenter

CHAOS = Path(__file__).parents[2] / "chaos"


@pytest.fixture
def chaos(monkeypatch):
    """The stand-ins of the fault suite, which runs as a script beside its modules."""
    monkeypatch.syspath_prepend(CHAOS)
    spec = importlib.util.spec_from_file_location("chaos_stand_ins", CHAOS / "standins.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def check(stand_in, product=ImageOperations, *, names=None, at_least=6):
    """Bind the arguments of each operation of *product*, or of *names*, to that of *stand_in*."""
    checked = 0
    for name, operation in inspect.getmembers(stand_in, inspect.isfunction):
        if name not in names if names else name.startswith("_"):
            continue
        parameters = list(inspect.signature(getattr(product, name)).parameters.values())
        named = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]
        count = sum(one.kind is one.POSITIONAL_OR_KEYWORD for one in parameters)
        inspect.signature(operation).bind(*range(count), **dict.fromkeys(named))
        checked += 1
    assert checked >= at_least, "the methods of the stand-in were not found"


@pytest.mark.parametrize("stand_in", [QuickImaging, ConstantImaging])
def test_a_stand_in_takes_the_arguments_of_the_product(stand_in):
    check(stand_in)


def test_the_stand_in_of_the_fault_suite_takes_the_arguments_of_the_product(chaos):
    check(chaos.RandomImaging)


def check_segmenter(stand_in):
    names = ("prepare", "launch", "finish")
    check(stand_in, Segmenter, names=names, at_least=len(names))


@pytest.mark.parametrize(
    "stand_in", [StandInSegmenter, VirtualSegmenter, SleepingSegmenter, DiscSegmenter]
)
def test_a_stand_in_segmenter_takes_the_arguments_of_the_product(stand_in):
    check_segmenter(stand_in)


def test_the_segmenter_of_the_fault_suite_takes_the_arguments_of_the_product(chaos):
    check_segmenter(chaos.Segmenter)
