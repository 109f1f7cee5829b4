"""Rules for the tests themselves, checked on their syntax trees."""

import ast
import functools
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
OURS = ("producer", "shared", "worker")
SLEEPERS = {
    "chaos/faults.py",  # an outage
    "chaos/standins.py",  # a device
    "support/stand_ins.py",  # a device
    "support/until.py",  # the one place that waits
}
"""Files that may call `time.sleep`, and what takes that time."""
TO_DO_PATCHES = set()
"""Files that still patch our modules; remove each name when its file is rewritten."""
PATCHERS = {"setattr", "delattr"}


@functools.cache
def parsed():
    """Map the path of each test file to its syntax tree."""
    files = sorted(TESTS.rglob("*.py"))
    return {str(file.relative_to(TESTS)): ast.parse(file.read_text()) for file in files}


def names_of_imports(tree):
    """Map each imported name to what it stands for, as a dotted path."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {each.asname or each.name.split(".")[0]: each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    return names


def is_ours(dotted):
    return dotted.split(".")[0] in OURS


def root_of(node):
    """Return the first name of an expression such as `a.b[0].c`, or None."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def is_foreign(target, imported):
    """Tell whether the target of a patch is certainly not ours: an imported library."""
    if isinstance(target, ast.Constant):
        return not is_ours(str(target.value))
    root = root_of(target)
    return root in imported and not is_ours(imported[root])


def patches(tree):
    """Yield the line of everything that replaces a part of our modules."""
    imported = names_of_imports(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            is_patch = root_of(node.func) in ("monkeypatch", "mocker", "mock")
            if is_patch and node.func.attr in PATCHERS and not is_foreign(node.args[0], imported):
                yield node.lineno
        if isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                root = root_of(target) if isinstance(target, ast.Attribute) else None
                if root in imported and is_ours(imported[root]):
                    yield node.lineno
    yield from (0 for path in imported.values() if path.startswith(("unittest.mock", "mock")))


def sleeps(tree):
    """Yield the line of every call of `time.sleep`."""
    imported = names_of_imports(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            root, _, rest = called.partition(".")
            path = imported.get(root, root) + (f".{rest}" if rest else "")
            if path == "time.sleep":
                yield node.lineno


def files_with(find):
    """Return the test files in which *find* finds something."""
    return {path for path, tree in parsed().items() if any(True for _ in find(tree))}


def test_no_test_patches_our_modules():
    """A fake or a value goes through a constructor or a parameter instead."""
    assert files_with(patches) - TO_DO_PATCHES == set()


def test_no_test_sleeps():
    """A test waits for a condition with `support.until`, for an event, or on a fake clock."""
    assert files_with(sleeps) == SLEEPERS


@pytest.mark.parametrize(
    "text",
    [
        "monkeypatch.setattr('worker.app.X', 1)",
        "from worker import app\nmonkeypatch.setattr(app, 'X', 1)",
        "import worker.app as a\nmonkeypatch.setattr(a.b, 'X', 1)",
        "monkeypatch.setattr(fixture.store, 'put', put)",
        "monkeypatch.delattr('shared.job.keys.JOBS')",
        "from shared.job import keys\nkeys.JOBS = 1",
        "import unittest.mock",
        "from unittest import mock",
        "from unittest.mock import patch",
    ],
)
def test_patches_are_found(text):
    assert list(patches(ast.parse(text)))


@pytest.mark.parametrize(
    "text",
    [
        "import os\nmonkeypatch.setattr(os, 'sched_getaffinity', f)",
        "monkeypatch.setattr('PIL.Image.core.new', f)",
        "monkeypatch.setenv('RMBG_DEVICE', 'cpu')",
        "worker = make()\nworker.limit_s = 1",
    ],
)
def test_replacing_a_part_of_a_library_is_no_patch_of_ours(text):
    assert not list(patches(ast.parse(text)))


@pytest.mark.parametrize(
    "text",
    [
        "import time\ntime.sleep(1)",
        "from time import sleep\nsleep(1)",
        "from time import sleep as wait\nwait(1)",
        "import time as t\nt.sleep(1)",
    ],
)
def test_sleeps_are_found(text):
    assert list(sleeps(ast.parse(text)))
