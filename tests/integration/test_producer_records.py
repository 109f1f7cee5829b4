"""Read a job's records while it runs, after its end, and after Redis has deleted it."""

import subprocess
import tracemalloc
import urllib.request

import pytest
import redis
from support.command import RMBG, complaint, environment
from support.producing import json_lines

from producer.results import reader
from producer.results.links import linker
from shared.errors import StoreUnavailable, UnknownJob
from shared.job.record import ItemRecord

pytestmark = pytest.mark.integration

KEYS = [f"p/{n:02}{'bad' if n in (3, 20) else ''}.jpg" for n in range(40)]
"""40 items become 3 tickets, because no rate is known: 0-16, 16-32, 32-40."""


@pytest.fixture
def job(client):
    return client.submit(KEYS)


def forget(settings):
    """Delete everything in Redis, as Redis does with a job 7 days after its end."""
    with redis.Redis.from_url(settings.store_url) as client:
        client.flushdb()


def test_records_of_a_done_job_are_in_item_order(job, hand, run_rmbg):
    hand.run(job)

    records = json_lines(run_rmbg("results", job))

    assert [record["index"] for record in records] == list(range(40))
    assert [record["image_key"] for record in records] == KEYS
    assert [record["index"] for record in records if record["state"] == "failed"] == [3, 20]
    assert records[0]["cutout_key"] == "ComfyUI/cutout/p/00.jpg.png"
    assert records[0]["mask_key"] == "ComfyUI/mask/p/00.jpg.png"
    assert records[3]["error"]["class"] == "ObjectMissing"
    assert "p/03bad.jpg" in records[3]["error"]["reason"]
    contract = ("width", "height", "device", "attempts", "existing", "qc")
    assert [name for name in contract if name not in records[0]] == []


def test_a_running_job_has_the_records_known_so_far(job, hand, services):
    """They come from an accepted shard and from Redis, in item order."""
    hand.step()
    hand.step(finish=False)

    assert [record.index for record in reader.records(services, job)] == list(range(32))


def test_records_that_are_only_in_redis_are_read(job, hand, services):
    hand.step(finish=False)

    assert [record.index for record in reader.records(services, job)] == list(range(16))


def test_a_job_that_has_not_started_has_no_records(job, run_rmbg):
    assert json_lines(run_rmbg("results", job)) == []


def working(hand):
    """Return a pause in which a worker processes one ticket."""

    def pause():
        hand.step()

    return pause


def test_follow_yields_each_record_once_and_ends_with_the_job(job, hand, services):
    seen = [
        (record.index, services.jobs.queries.status(job).done)
        for record in reader.follow(services, job, pause=working(hand))
    ]

    assert [index for index, _ in seen] == list(range(40))
    assert seen[0][1] < 38  # the first record came before the job ended


def test_follow_waits_for_a_missing_item(job, hand, services):
    """The second range ends before the first; its records follow those of the first."""
    held = hand.claim_next()
    hand.step()
    done_counts = []

    def pause():
        done_counts.append(services.jobs.queries.status(job).done)
        if len(done_counts) == 2:
            hand.process(held)
        if len(done_counts) > 2:
            hand.step()

    order = [record.index for record in reader.follow(services, job, pause=pause)]

    assert order == list(range(40))
    assert done_counts[:2] == [15, 15]


def test_follow_yields_all_records_of_a_job_that_has_ended(job, hand, run_rmbg):
    hand.run(job)

    assert len(json_lines(run_rmbg("results", job, "--follow"))) == 40


def test_a_retry_replaces_the_records_of_failed_images(job, hand, run_rmbg):
    hand.run(job)
    hand.bad = "nothing"

    done = run_rmbg("retry", job)
    assert done.stdout.decode() == f"retrying 2 images of {job}\n"
    hand.run(job)

    records = json_lines(run_rmbg("results", job))
    assert [record["state"] for record in records] == ["done"] * 40
    assert [r["index"] for r in records if r["attempts"] == 2] == [3, 20]
    assert [record["index"] for record in records] == list(range(40))


def test_a_job_that_is_being_retried_shows_the_latest_records(job, hand, services):
    hand.run(job)
    services.jobs.submissions.retry(job)

    states = [record.state for record in reader.records(services, job)]

    assert len(states) == 40
    assert states.count("failed") == 2


def test_the_record_of_a_retry_replaces_the_earlier_failure(job, hand, services):
    """The failure is still in an accepted shard, the newer record only in Redis."""
    hand.run(job)
    hand.bad = "nothing"
    services.jobs.submissions.retry(job)
    hand.step(finish=False)

    by_index = {record.index: record for record in reader.records(services, job)}

    assert by_index[3].state == "done"
    assert sorted(by_index) == list(range(40))


def test_follow_waits_for_the_end_of_a_retry(job, hand, services):
    hand.run(job)
    hand.bad = "nothing"
    services.jobs.submissions.retry(job)

    followed = list(reader.follow(services, job, pause=working(hand)))

    assert [record.state for record in followed] == ["done"] * 40


def test_retry_of_a_running_job_is_refused(job, run_rmbg):
    assert "running" in complaint(run_rmbg("retry", job))


def test_a_running_job_can_be_verified_but_not_repaired(job, hand, run_rmbg):
    hand.step(finish=False)

    done = run_rmbg("verify", job)
    assert done.returncode == 0, done
    assert "running" in complaint(run_rmbg("verify", job, "--repair"))


def test_failures_show_index_key_class_and_reason(job, hand, run_rmbg):
    hand.run(job)

    rows = [line.split("\t") for line in run_rmbg("failures", job).stdout.decode().splitlines()]

    assert [row[:3] for row in rows] == [
        ["3", "p/03bad.jpg", "ObjectMissing"],
        ["20", "p/20bad.jpg", "ObjectMissing"],
    ]
    assert ["bad.jpg" in row[3] for row in rows] == [True, True]
    assert [r["index"] for r in json_lines(run_rmbg("failures", job, "--json"))] == [3, 20]


def test_a_cancelled_job_keeps_the_records_of_items_in_progress(job, hand, run_rmbg):
    hand.step(finish=False)

    done = run_rmbg("cancel", job)
    assert done.returncode == 0
    hand.finish_held()
    status = hand.run(job)

    assert status.state == "cancelled"
    assert len(json_lines(run_rmbg("results", job))) == status.done + status.failed == 16
    assert "cancelled" in complaint(run_rmbg("retry", job))


def test_records_are_read_from_the_bucket_after_redis_has_deleted_the_job(
    job, hand, run_rmbg, service_settings
):
    hand.run(job)
    forget(service_settings)

    assert [record["index"] for record in json_lines(run_rmbg("results", job))] == list(range(40))
    assert len(json_lines(run_rmbg("results", job, "--follow"))) == 40
    assert job in complaint(run_rmbg("status", job))


def test_records_are_read_through_an_index_of_shards(job, hand, services, service_settings):
    """A job of over a million items writes an index in place of its results."""
    hand.run(job)
    lines = [
        f'{{"shard": "_jobs/{job}/shards/{unit}.{epoch}.jsonl", "items": "{unit}"}}\n'
        for unit, epoch in services.jobs.queries.accepted_shards(job)
    ]
    body = "".join(lines).encode()
    bucket = service_settings.output_bucket
    hand.objects.put(bucket, f"_jobs/{job}/results.jsonl", body, content_type="text/plain")
    forget(service_settings)

    assert [record.index for record in reader.records(services, job)] == list(range(40))


def test_records_are_read_from_the_shards_if_the_results_are_missing(job, hand, services):
    hand.run(job)
    bucket = services.settings.output_bucket
    services.objects.delete(bucket, [f"_jobs/{job}/results.jsonl"])

    assert [record.index for record in reader.records(services, job)] == list(range(40))


def test_results_are_readable_without_the_shards(job, hand, services):
    hand.run(job)
    bucket = services.settings.output_bucket
    shards = [found.key for found in services.objects.list(bucket, f"_jobs/{job}/shards/")]
    services.objects.delete(bucket, shards)

    assert [record.index for record in reader.records(services, job)] == list(range(40))


def test_missing_results_and_shards_are_an_error(job, hand, services):
    """Records are never left out silently."""
    hand.run(job)
    bucket = services.settings.output_bucket
    documents = [found.key for found in services.objects.list(bucket, f"_jobs/{job}/")]
    services.objects.delete(bucket, documents)

    with pytest.raises(StoreUnavailable, match=f"shard of job {job} is missing"):
        list(reader.records(services, job))


def test_results_in_the_bucket_are_not_all_held_in_memory(job, hand, services, service_settings):
    """The results of a million items have 640 MB."""
    hand.run(job)
    forget(service_settings)
    line = ItemRecord(index=0, image_key="x" * 1000, state="done").to_json() + "\n"
    body = line.encode() * 30_000
    key = f"_jobs/{job}/results.jsonl"
    services.objects.put(service_settings.output_bucket, key, body, content_type="text/plain")
    tracemalloc.start()
    try:
        count = sum(1 for _ in reader.records(services, job))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert count == 30_000
    assert peak_bytes < len(body) / 2


def test_a_command_exits_with_2_for_an_unknown_job(run_rmbg, services):
    for command in ("status", "watch", "results", "failures", "cancel", "retry", "verify"):
        assert "unknown-job" in complaint(run_rmbg(command, "unknown-job"))
    with pytest.raises(UnknownJob):
        next(reader.records(services, "unknown-job"))


@pytest.mark.parametrize(
    ("output", "linked"), [("Save", True), ("Hide/Save", False), ("Hide", False)]
)
def test_links_exist_only_for_outputs_that_may_be_linked(client, hand, services, output, linked):
    job = client.submit(["a.jpg", "bad.jpg"], image_output=output)
    hand.run(job)

    [good, bad] = map(linker(services, job), reader.records(services, job))

    assert (bad["cutout_url"], bad["mask_url"]) == (None, None)
    for url in (good["cutout_url"], good["mask_url"]):
        assert (url is not None) is linked


def test_a_link_gives_access_without_credentials_for_one_hour(client, hand, run_rmbg):
    job = client.submit(["a.jpg"])
    hand.run(job)

    [record] = json_lines(run_rmbg("results", job, "--links"))

    assert "Expires=3600" in record["cutout_url"]
    with urllib.request.urlopen(record["cutout_url"]) as answer:
        assert answer.read() == b"png"
    assert "cutout_url" not in json_lines(run_rmbg("results", job))[0]


def test_links_are_refused_after_redis_has_deleted_the_job(job, hand, run_rmbg, service_settings):
    hand.run(job)
    forget(service_settings)

    assert "cannot create links" in complaint(run_rmbg("results", job, "--links"))


def test_a_closed_pipe_is_not_an_error(job, hand, service_env):
    hand.run(job)
    with subprocess.Popen(
        [RMBG, "results", job],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(dict(service_env)),
    ) as process:
        process.stdout.close()
        stderr = process.stderr.read()

    assert (process.returncode, stderr) == (0, b"")
