"""The scripts as files: documented, known to the server, and with errors turned into ours."""

import re
from importlib.resources import files

import pytest
from support.jobs import first_lease, submit

from shared.errors import RedisUnavailable
from shared.jobstore import loader
from shared.jobstore.store import JobStore

SCRIPTS = loader.names()


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_opens_with_what_it_takes_answers_and_does_when_repeated(name):
    text = files("shared.jobstore").joinpath("scripts", f"{name}.lua").read_text()
    flags, *lines = text.splitlines()
    opening = [line for line in lines[: lines.index("")] if line.startswith("--")]

    assert flags.startswith("#!lua flags=")
    for word in ("ARGV", "Answers", "Repeated"):
        assert any(line.startswith(f"-- {word}") for line in opening), word


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_one_that_the_server_can_compile(name, redis_client):
    assert redis_client.script_load(loader.source(name))


@pytest.mark.parametrize("name", SCRIPTS)
def test_key_names_are_made_in_the_prelude_alone(name):
    text = files("shared.jobstore").joinpath("scripts", f"{name}.lua").read_text()
    code = re.sub(r"--.*", "", text)

    assert "'rmbg:" not in code


def test_a_server_that_forgot_the_scripts_is_taught_them_again(store, redis_client):
    """As after a restart or a failover."""
    submit(store, 3, keys="a")
    redis_client.script_flush()

    assert submit(store, 3, keys="b")
    assert first_lease(store)


def test_whatever_redis_complains_about_is_one_of_our_errors(store, redis_client):
    job = submit(store, 3)
    redis_client.delete(f"rmbg:job:{job}")
    redis_client.set(f"rmbg:job:{job}", "not a hash")

    for question in (store.status, store.spec, store.cancel, store.retry):
        with pytest.raises(RedisUnavailable, match="WRONGTYPE"):
            question(job)


def test_a_server_that_is_not_there_is_told_from_every_question():
    store = JobStore.connect("redis://127.0.0.1:9/1")

    for question in (store.jobs, store.workers, store.ping, lambda: store.durable(0.1)):
        with pytest.raises(RedisUnavailable, match=r"127\.0\.0\.1:9/1"):
            question()
    with pytest.raises(RedisUnavailable):
        next(store.failed_indexes("j"))
    for question in (store.open_records, store.accepted_shards):
        with pytest.raises(RedisUnavailable):
            question("j")
