"""Scripts: documented, complete and known to the server, with translated errors."""

import re
from importlib.resources import files

import pytest
from support.jobs import first_lease, submit

from shared.errors import RedisUnavailable
from shared.jobstore import loader
from shared.jobstore.store import JobStore

SCRIPTS = loader.names()
PARTS = ("prelude", "clock", "items", "tickets", "deaths", "needs", "feeding")


def read(name):
    """Return the text of a script or of a part of the library."""
    return files("shared.jobstore").joinpath("scripts", f"{name}.lua").read_text()


def code_of(name):
    """Return the code of a script without comments."""
    return re.sub(r"--.*", "", read(name))


def words(code):
    return set(re.findall(r"\w+", code))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_header_documents_arguments_result_and_repetition(name):
    flags, *lines = read(name).splitlines()
    header = lines[: next(n for n, line in enumerate(lines) if not line.startswith("--"))]

    assert flags.startswith("#!lua flags=")
    for word in ("ARGS", "Returns", "Repeated"):
        assert any(line.startswith(f"-- {word}") for line in header), word


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_server_can_compile_a_script(name, redis_client):
    assert redis_client.script_load(loader.load(name).source)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_reads_its_arguments_by_name(name):
    assert "ARGV" not in read(name)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_uses_every_argument_that_it_declares(name):
    script = loader.load(name)

    assert set(script.args) | set(script.each) <= words(code_of(name))
    assert bool(script.each) == ("each()" in code_of(name))


@pytest.mark.parametrize("name", [*SCRIPTS, *(f"_{part}" for part in PARTS)])
def test_a_script_declares_the_library_parts_that_it_uses(name):
    """A missing part fails only when its function is called; a superfluous one costs time."""
    code = code_of(name)
    used = set(loader.declared(read(name), "USES"))
    for part in used:
        used_there = set(loader.declared(read(f"_{part}"), "USES"))
        assert used_there <= used, part
        code += code_of(f"_{part}")
    for part in set(PARTS) - {"prelude", name.removeprefix("_")}:
        functions = set(re.findall(r"^local function (\w+)", code_of(f"_{part}"), re.MULTILINE))
        elsewhere = code.replace(code_of(f"_{part}"), "")
        assert bool(functions & words(elsewhere)) == (part in used), part


def test_missing_and_unknown_arguments_raise(store):
    for args in ({}, {"turn_ms": 1, "job": "j"}):
        with pytest.raises(TypeError, match="script turn takes"):
            store.connection.run("turn", **args)


def test_a_row_with_too_few_fields_raises(store):
    with pytest.raises(TypeError, match="rows of"):
        store.connection.run("beat", [("job", "0-1", 1)], ttl_ms=1)


@pytest.mark.parametrize("name", [*SCRIPTS, *(f"_{part}" for part in PARTS if part != "prelude")])
def test_only_the_prelude_builds_key_names(name):
    assert "'rmbg:" not in code_of(name)


def test_scripts_are_loaded_again_after_the_server_lost_them(store, redis_client):
    """As after a restart or a failover."""
    submit(store, 3, keys="a")
    redis_client.script_flush()

    assert submit(store, 3, keys="b")
    assert first_lease(store)


def test_every_error_of_redis_is_translated(store, redis_client):
    job = submit(store, 3)
    redis_client.delete(f"rmbg:job:{job}")
    redis_client.set(f"rmbg:job:{job}", "not a hash")

    for question in (
        store.queries.status,
        store.queries.spec,
        store.submissions.cancel,
        store.submissions.retry,
    ):
        with pytest.raises(RedisUnavailable, match="WRONGTYPE"):
            question(job)


def test_every_method_names_a_server_that_is_down():
    store = JobStore.connect("redis://127.0.0.1:9/1")

    for question in (
        store.queries.jobs,
        store.fleet.workers,
        store.ping,
        lambda: store.submissions.durable(0.1),
    ):
        with pytest.raises(RedisUnavailable, match=r"127\.0\.0\.1:9/1"):
            question()
    for question in (store.queries.open_records, store.queries.accepted_shards):
        with pytest.raises(RedisUnavailable):
            question("j")
