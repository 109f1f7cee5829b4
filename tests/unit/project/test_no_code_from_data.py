"""No external data is ever executed: checks of the source code of all three packages."""

import ast
from pathlib import Path

import pytest

from shared.broker.app import make_app

ROOT = Path(__file__).parents[3]
SOURCES = sorted(
    path for name in ("producer", "shared", "worker") for path in (ROOT / name).rglob("*.py")
)
UNPICKLERS = {
    "cPickle",
    "cloudpickle",
    "dill",
    "joblib",
    "jsonpickle",
    "marshal",
    "pickle",
    "shelve",
}
HARMLESS = {"pickle.UnpicklingError"}
"""The error raised for a refused file, which is harmless."""
PROGRAMS = {"torch.export.load", "torch.jit.load"}
PROGRAM_LOADERS = {"worker/inference/tensorrt.py"}
"""Load programs that this process has compiled; see `engines._check`."""
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}


def imports(tree):
    """Yield every import as `module` or `module.name`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def calls(tree):
    """Yield the name of each call as written, and its keyword arguments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            values = {word.arg: ast.unparse(word.value) for word in node.keywords}
            yield ast.unparse(node.func), values


def unpickles(text):
    """Return the names in a source that could execute data."""
    tree = ast.parse(text)
    found = [name for name in imports(tree) if name.split(".")[0] in UNPICKLERS]
    faults = [name for name in found if name not in HARMLESS]
    for name, values in calls(tree):
        loads_weights = name == "torch.load" and values.get("weights_only") != "True"
        loads_arrays = values.get("allow_pickle") == "True"
        runs_a_shell = values.get("shell") == "True"
        is_yaml = name in ("yaml.load", "yaml.unsafe_load")
        if name in FORBIDDEN_CALLS or loads_weights or loads_arrays or runs_a_shell or is_yaml:
            faults.append(name)
    return faults


@pytest.mark.parametrize(
    "text",
    [
        *("import pickle", "from pickle import loads", "import pickle as p", "import marshal"),
        *("from pickle import *", "import dill.source", "torch.load(f)", "eval(x)"),
        *("torch.load(f, weights_only=False)", "np.load(f, allow_pickle=True)"),
        *("yaml.load(f)", "subprocess.run(x, shell=True)", "def f():\n    import shelve"),
    ],
)
def test_code_that_executes_data_is_found(text):
    assert unpickles(text)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_executes_data(path):
    assert unpickles(path.read_text()) == []


def test_programs_are_loaded_in_one_place_only():
    found = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if PROGRAMS & {name for name, _ in calls(ast.parse(path.read_text()))}
    }

    assert found == PROGRAM_LOADERS


def test_only_json_messages_are_accepted():
    app = make_app("redis://127.0.0.1:9/0")

    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == "json"
    assert app.conf.result_backend is None
    assert app.conf.worker_enable_remote_control is False
    app.close()
