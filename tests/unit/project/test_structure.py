"""Rules for the structure of the worker, checked on its syntax trees."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WORKER = ROOT / "worker"
THREADS = WORKER / "lifecycle" / "threads.py"
FUNCTION_PARAMETERS = {"clock", "condition", "rng"}
"""Parameters of the engine's constructors that may be functions."""
MAX_ENTRIES = 14
NOT_COUNTED = {"__init__.py", "py.typed", "__pycache__"}


def sources(*packages):
    """Return the source of each module of *packages* by its path."""
    return {path: path.read_text() for name in packages for path in (ROOT / name).rglob("*.py")}


def mentions(annotation, names):
    """Return whether an annotation contains any of *names*, also as the last part of a path."""
    found = {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}
    found |= {node.attr for node in ast.walk(annotation) if isinstance(node, ast.Attribute)}
    return bool(found & names)


def fields(node):
    """Return name and annotation of each field that the body of a class declares."""
    declared = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    return [(each.target.id, each.annotation) for each in declared]


def parameters(node):
    """Return name and annotation of each parameter of a class's `__init__`."""
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            args = (*each.args.posonlyargs, *each.args.args, *each.args.kwonlyargs)
            yield from ((arg.arg, arg.annotation) for arg in args if arg.annotation is not None)


def callbacks(source):
    """Return the constructor parameters and fields that take a function."""
    tree = ast.parse(source)
    types = {"Callable"}
    for node in tree.body:
        if isinstance(node, ast.Assign) and mentions(node.value, types):
            types |= {target.id for target in node.targets}
        elif isinstance(node, ast.AnnAssign) and node.value and mentions(node.value, types):
            types.add(node.target.id)
    return [
        f"{node.name}.{name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for name, annotation in (*fields(node), *parameters(node))
        if mentions(annotation, types) and name not in FUNCTION_PARAMETERS
    ]


def optional_payload_fields(source):
    """Return the fields of payloads, and of what they hold, that may be None."""
    tree = ast.parse(source)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    [union] = [
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and node.target.id == "Payload"
    ]
    wanted = [node.id for node in ast.walk(union) if isinstance(node, ast.Name)]
    found = []
    for name in wanted:
        for field, annotation in fields(classes[name]):
            nodes = list(ast.walk(annotation))
            names = {node.id for node in nodes if isinstance(node, ast.Name)}
            wanted += [each for each in sorted(names) if each in classes and each not in wanted]
            is_none = any(isinstance(node, ast.Constant) and node.value is None for node in nodes)
            if is_none or "Optional" in names:
                found.append(f"{name}.{field}")
    return found


def started_threads(source):
    """Return the lines that make a `Thread` or a `Timer`."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    called = [(node.lineno, ast.unparse(node.func).rpartition(".")[2]) for node in calls]
    return [line for line, name in called if name in ("Thread", "Timer")]


def claim_checks(source):
    """Return the lines that raise because a granted claim lacks something."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Raise)
        and any(
            isinstance(part, ast.Constant) and str(part.value).startswith("a granted claim")
            for part in ast.walk(node)
        )
    ]


def has_docstring(source):
    return ast.get_docstring(ast.parse(source)) is not None


# --- the rules


def test_the_constructors_of_the_engine_take_no_callbacks():
    """Stages return; nothing calls back."""
    assert {
        path: found for path, text in sources("worker/engine").items() if (found := callbacks(text))
    } == {}


def test_no_field_of_a_payload_may_be_none():
    """The type of a payload says what is known of an item."""
    assert optional_payload_fields((WORKER / "engine" / "payloads.py").read_text()) == []


def test_one_module_starts_all_threads_of_the_worker():
    found = {path for path, text in sources("worker").items() if started_threads(text)}

    assert found == {THREADS}


def test_nothing_checks_that_a_granted_claim_is_complete():
    """`Granted` is a type of its own, and always complete."""
    found = sources("worker", "shared")

    assert [path for path, text in found.items() if claim_checks(text)] == []


def test_every_package_of_the_worker_has_a_docstring():
    packages = {path.parent for path in WORKER.rglob("*.py")}

    assert [
        str(each) for each in packages if not has_docstring((each / "__init__.py").read_text())
    ] == []


def test_the_worker_has_few_top_level_entries():
    entries = {path.name for path in WORKER.iterdir()} - NOT_COUNTED

    assert len(entries) <= MAX_ENTRIES, sorted(entries)


# --- each check finds what it is for


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("class A:\n def __init__(self, end: Callable[[], None]): ...", ["A.end"]),
        ("class A:\n def __init__(self, *, end: abc.Callable[[], None] | None): ...", ["A.end"]),
        ("@dataclass\nclass A:\n ended: Callable[[int], None]", ["A.ended"]),
        ("End = Callable[[], None]\nclass A:\n def __init__(self, end: End): ...", ["A.end"]),
        ("End: TypeAlias = Callable[[], None]\nclass A:\n end: End", ["A.end"]),
        ("class A:\n def __init__(self, clock: Callable[[], float], limit: int): ...", []),
        (
            "class A:\n def __init__(self, limit): ...\n def run(self, f: Callable[[], None]): ...",
            [],
        ),
    ],
)
def test_a_callback_is_found(source, found):
    assert callbacks(source) == found


@pytest.mark.parametrize(
    ("fields_of_held", "found"),
    [
        ("value: int", []),
        ("value: int | None", ["Held.value"]),
        ("value: Optional[int]", ["Held.value"]),
    ],
)
def test_an_optional_field_is_found_also_in_what_a_payload_holds(fields_of_held, found):
    source = f"""
class Held:
    {fields_of_held}
class First:
    holds: ClassVar[bool] = False
class Second:
    held: Mapping[str, Held]
class Outcome:
    reason: str | None = None
Payload: TypeAlias = First | Second
"""
    assert optional_payload_fields(source) == found


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("threading.Thread(target=f).start()", [1]),
        ("x = 1\nThread(target=f)", [2]),
        ("threading.Timer(1, f)", [1]),
        ("def f() -> threading.Thread: ...\nstart_thread('x', f)\nThreadPoolExecutor(2)", []),
    ],
)
def test_a_started_thread_is_found(source, lines):
    assert started_threads(source) == lines


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('raise RuntimeError("a granted claim without a job")', [1]),
        ('raise RuntimeError(f"a granted claim without {job}")', [1]),
        ('x = "a granted claim"\nraise RuntimeError("another message")', []),
    ],
)
def test_a_check_of_a_claim_is_found(source, lines):
    assert claim_checks(source) == lines


def test_a_missing_docstring_is_found():
    assert has_docstring('"""A package."""\n')
    assert not has_docstring("import os\n")
