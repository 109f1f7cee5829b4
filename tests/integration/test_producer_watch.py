"""Waiting for jobs, from the command line and from programs, and what the doctor says."""

import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest
import redis
from support.command import RMBG, complaint, environment, rmbg

from shared.errors import InvalidOption, JobConflict, ServiceUnavailable, UnknownJob
from shared.job.spec import ImageOutput

pytestmark = pytest.mark.integration


@contextmanager
def working(hand):
    """Let a worker work in the background until the block ends."""
    stop, faults = threading.Event(), []

    def work():
        try:
            while not stop.is_set():
                with suppress(ServiceUnavailable):  # as workers do: the lease ends, and all goes on
                    if hand.step():
                        continue
                stop.wait(0.02)
        except BaseException as err:
            faults.append(err)
            raise  # to be seen also where the test waits until its time is over

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert faults == []


@pytest.mark.parametrize(("key", "code"), [("b.jpg", 0), ("b-bad.jpg", 1)])
def test_watch_exits_with_1_if_images_failed(client, hand, run_rmbg, key, code):
    job = client.submit(["a.jpg", key])
    with working(hand):
        done = run_rmbg("watch", job)

    assert done.returncode == code
    assert done.stdout == b""
    last = done.stderr.decode().splitlines()[-1]
    assert last.startswith(f"{job} done: 2 of 2")


def test_submit_and_wait(hand, run_rmbg):
    with working(hand):
        done = run_rmbg("submit", "--wait", stdin=b"a.jpg\nbad.jpg\n")

    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1  # the id alone
    assert b"done: 2 of 2, 1 failed" in done.stderr


def test_a_program_submits_waits_and_reads(client, hand):
    with working(hand):
        job = client.submit(["a.jpg", "bad.jpg"], save_prefix="x")
        status = client.wait(job, 60)

    assert (status.done, status.failed) == (1, 1)
    assert [record.cutout_key for record in client.results(job)] == ["x/cutout/a.jpg.png", None]
    assert [record.index for record in client.failures(job)] == [1]
    assert [each.job_id for each in client.jobs()] == [job]


def test_a_program_saves_unless_it_says_otherwise(client, services):
    job = client.submit(["a.jpg"])
    hidden = client.submit(["a.jpg"], image_output="Hide/Save")

    assert services.jobs.queries.spec(job).image_output is ImageOutput.SAVE
    assert services.jobs.queries.spec(hidden).image_output is ImageOutput.HIDE_SAVE


def test_a_program_s_wrong_option_or_choice_gets_the_list(client):
    with pytest.raises(InvalidOption, match="there are: rem_mode, save_prefix"):
        client.submit(["a.jpg"], prefix="x")
    with pytest.raises(InvalidOption, match="source, comfyui"):
        client.submit(["a.jpg"], naming="comfy")


def test_a_program_s_conflict_is_an_error_of_its_own(client):
    client.submit(["a.jpg"], job_id="j")

    with pytest.raises(JobConflict):
        client.submit(["b.jpg"], job_id="j")


def test_following_from_a_program(client, hand):
    with working(hand):
        job = client.submit([f"{n}.jpg" for n in range(40)])
        indexes = [record.index for record in client.results(job, follow=True)]

    assert indexes == list(range(40))


def test_one_picture_on_demand_overtakes_bulk_work(client, hand):
    client.submit([f"{n}.jpg" for n in range(800)])
    with working(hand):
        record = client.remove("shop/a.jpg", timeout_s=60)

    assert (record.state, record.cutout_key) == ("done", "ComfyUI/cutout/shop/a.jpg.png")
    assert sum(job.done for job in client.jobs()) < 400


def test_one_picture_on_demand_that_fails_gives_the_record_with_the_reason(client, hand):
    with working(hand):
        record = client.remove("bad.jpg", timeout_s=60)

    assert (record.state, record.error["class"]) == ("failed", "ObjectMissing")


def test_waiting_ends_with_a_timeout_and_the_job_goes_on(client, hand):
    with pytest.raises(TimeoutError, match=r"a\.jpg \(job .*\) had not ended after 0\.2 s"):
        client.remove("a.jpg", timeout_s=0.2)
    job = client.jobs()[0].job_id
    with pytest.raises(TimeoutError, match=job):
        client.wait(job, 0.2)

    with working(hand):
        assert client.remove("a.jpg", timeout_s=60).state == "done"
    assert len(client.jobs()) == 1


def test_cancel_and_retry_from_a_program(client, hand):
    job = client.submit(["a.jpg"])
    client.cancel(job)
    with working(hand):
        assert client.wait(job, 60).state == "cancelled"
        other = client.submit(["bad.jpg"])
        client.wait(other, 60)
        hand.bad = "nothing"
        assert client.retry(other) == 1
        assert client.wait(other, 60).failed == 0
    with pytest.raises(UnknownJob):
        client.status("nobody-knows")


def test_doctor_is_content_with_everything_up(hand, run_rmbg):
    done = run_rmbg("doctor")

    assert done.returncode == 0, done
    assert [line[:5] for line in done.stdout.decode().splitlines()] == ["ok   "] * 4
    assert b"serves RMBG-1.4" in done.stdout


def test_doctor_tells_each_fault_and_what_to_do(service_env):
    env = dict(service_env) | {"RMBG_INPUT_BUCKETS": "not-there"}

    done = rmbg("doctor", env=env)

    faults = [line for line in done.stdout.decode().splitlines() if line.startswith("FAULT")]
    assert done.returncode == 3
    assert [fault.split(":")[0] for fault in faults] == [
        "FAULT  bucket not-there",
        "FAULT  workers",
    ]
    assert "start `rmbg-worker`" in faults[1]


def test_doctor_tells_which_models_a_worker_refuses(hand, run_rmbg):
    hand.jobs.fleet.register(
        replace(hand.info, models=(), refused={"RMBG-1.4": "no weights; `rmbg weights pull`"}),
        ttl_s=60,
    )

    done = run_rmbg("doctor")

    assert done.returncode == 3
    assert b"FAULT  worker hand: refuses RMBG-1.4: no weights; `rmbg weights pull`" in done.stdout


COMMANDS = [
    ("submit",),
    ("jobs",),
    ("doctor",),
    *((name, "j") for name in ("status", "watch", "results", "failures", "cancel", "retry")),
    ("verify", "j"),
]


@pytest.mark.parametrize("args", COMMANDS)
def test_redis_down_exits_with_3_in_time_and_says_which_and_where(service_env, args):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = dict(service_env) | {"RMBG_REDIS_URL": f"redis://:s3cret@127.0.0.1:{port}/0"}

    done = rmbg(*args, stdin=b"a.jpg\n", env=env)

    said = (done.stdout if args == ("doctor",) else done.stderr).decode()
    assert done.returncode == 3
    assert f"Redis at 127.0.0.1:{port}/1" in said
    assert "RMBG_REDIS_URL" in said
    assert "s3cret" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize("args", [("jobs",), ("doctor",)])
def test_redis_that_takes_connections_and_never_answers_exits_with_3_in_time(service_env, args):
    """The client's own timeouts add up to more than a minute there."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as mute:
        url = f"redis://:s3cret@127.0.0.1:{mute.getsockname()[1]}/0"
        env = dict(service_env) | {"RMBG_REDIS_URL": url}

        done = rmbg(*args, stdin=b"a.jpg\n", env=env)

    assert done.returncode == 3
    said = (done.stderr + done.stdout).decode()
    assert "no answer within 6 s" in said
    assert "s3cret" not in said


def test_a_wrong_password_is_told_without_showing_it(service_env):
    url = service_env["RMBG_REDIS_URL"].replace("redis://", "redis://nobody:s3cret@")

    line = complaint(rmbg("jobs", env=dict(service_env) | {"RMBG_REDIS_URL": url}), 3)

    assert "s3cret" not in line


def test_watching_outlasts_nothing_when_redis_goes_away(client, service_env, service_settings):
    """A watcher whose Redis stops answering exits with 3 and does not hang."""
    job = client.submit(["a.jpg"])
    with subprocess.Popen(
        [RMBG, "watch", job], stderr=subprocess.PIPE, env=environment(dict(service_env))
    ) as process:
        process.stderr.readline()
        with redis.Redis.from_url(service_settings.store_url) as raw:
            raw.delete(f"rmbg:job:{job}")
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)

    assert process.returncode == 2
