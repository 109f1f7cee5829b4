"""What a job's records look like from outside, while it runs, when it has ended, and after that."""

import subprocess
import tracemalloc
import urllib.request

import pytest
import redis
from support.command import RMBG, complaint, environment
from support.producing import json_lines

from producer.results import reader as results
from shared.errors import StoreUnavailable, UnknownJob
from shared.job.record import ItemRecord

pytestmark = pytest.mark.integration

KEYS = [f"p/{n:02}{'bad' if n in (3, 20) else ''}.jpg" for n in range(40)]
"""40 items make 3 tickets, as no worker's rate is known: 0-16, 16-32, 32-40."""


@pytest.fixture
def job(client):
    return client.submit(KEYS)


def forget(settings):
    """Let Redis lose all it knows, as it does with a job 7 days after its end."""
    with redis.Redis.from_url(settings.store_url) as client:
        client.flushdb()


def test_records_of_a_done_job_come_in_item_order(job, hand, run_rmbg):
    hand.run(job)

    records = json_lines(run_rmbg("results", job))

    assert [record["index"] for record in records] == list(range(40))
    assert [record["image_key"] for record in records] == KEYS
    assert [record["index"] for record in records if record["state"] == "failed"] == [3, 20]
    assert records[0]["cutout_key"] == "ComfyUI/cutout/p/00.jpg.png"
    assert records[0]["mask_key"] == "ComfyUI/mask/p/00.jpg.png"
    assert records[3]["error"] == {
        "class": "ObjectMissing",
        "reason": "there is no object p/03bad.jpg",
    }
    contract = ("width", "height", "device", "attempts", "existing", "qc")
    assert [name for name in contract if name not in records[0]] == []


def test_records_of_a_running_job_are_those_known_so_far(job, hand, services):
    """From an accepted shard and from Redis alike, in item order."""
    hand.step()
    hand.step(finish=False)

    assert [record.index for record in results.records(services, job)] == list(range(32))


def test_records_in_redis_alone_are_known_already(job, hand, services):
    hand.step(finish=False)

    assert [record.index for record in results.records(services, job)] == list(range(16))


def test_a_job_that_has_not_begun_has_no_records(job, run_rmbg):
    assert json_lines(run_rmbg("results", job)) == []


def test_following_yields_each_record_once_and_ends_with_the_job(job, hand, services):
    seen = [
        (record.index, services.jobs.queries.status(job).done)
        for record in results.follow(services, job, pause=hand.step)
    ]

    assert [index for index, _ in seen] == list(range(40))
    assert seen[0][1] < 38  # the first came before the job had ended


def test_following_waits_for_an_item_and_does_not_skip_it(job, hand, services):
    """The second range ends before the first; its records come after those of the first."""
    held = hand.claim_next()
    hand.step()
    looks = []

    def pause():
        looks.append(services.jobs.queries.status(job).done)
        if len(looks) == 2:
            hand.process(held)
        if len(looks) > 2:
            hand.step()

    order = [record.index for record in results.follow(services, job, pause=pause)]

    assert order == list(range(40))
    assert looks[:2] == [15, 15]


def test_following_a_job_that_has_ended_yields_all(job, hand, run_rmbg):
    hand.run(job)

    assert len(json_lines(run_rmbg("results", job, "--follow"))) == 40


def test_a_retry_replaces_the_records_of_what_it_redoes(job, hand, run_rmbg):
    hand.run(job)
    hand.bad = "nothing"

    done = run_rmbg("retry", job)
    assert done.stdout.decode() == f"2 images of {job} are tried again\n"
    hand.run(job)

    records = json_lines(run_rmbg("results", job))
    assert [record["state"] for record in records] == ["done"] * 40
    assert [r["index"] for r in records if r["attempts"] == 2] == [3, 20]
    assert [record["index"] for record in records] == list(range(40))


def test_a_job_that_is_being_redone_shows_the_latest_known(job, hand, services):
    hand.run(job)
    services.jobs.submissions.retry(job)

    states = [record.state for record in results.records(services, job)]

    assert len(states) == 40
    assert states.count("failed") == 2


def test_of_an_item_that_was_just_redone_the_newer_record_is_shown(job, hand, services):
    """Its earlier failure lies in an accepted shard still, the newer record in Redis alone."""
    hand.run(job)
    hand.bad = "nothing"
    services.jobs.submissions.retry(job)
    hand.step(finish=False)

    by_index = {record.index: record for record in results.records(services, job)}

    assert by_index[3].state == "done"
    assert sorted(by_index) == list(range(40))


def test_a_job_that_is_being_redone_is_followed_from_its_end(job, hand, services):
    hand.run(job)
    hand.bad = "nothing"
    services.jobs.submissions.retry(job)

    followed = list(results.follow(services, job, pause=hand.step))

    assert [record.state for record in followed] == ["done"] * 40


def test_retry_of_a_running_job_is_refused(job, run_rmbg):
    assert "running" in complaint(run_rmbg("retry", job))


def test_of_a_running_job_what_is_done_is_verified_and_not_repaired(job, hand, run_rmbg):
    hand.step(finish=False)

    done = run_rmbg("verify", job)
    assert done.returncode == 0, done
    assert "running" in complaint(run_rmbg("verify", job, "--repair"))


def test_failures_name_index_key_class_and_reason(job, hand, run_rmbg):
    hand.run(job)

    rows = run_rmbg("failures", job).stdout.decode().splitlines()

    assert rows == [
        "3\tp/03bad.jpg\tObjectMissing\tthere is no object p/03bad.jpg",
        "20\tp/20bad.jpg\tObjectMissing\tthere is no object p/20bad.jpg",
    ]
    assert [r["index"] for r in json_lines(run_rmbg("failures", job, "--json"))] == [3, 20]


def test_a_cancelled_job_shows_what_was_in_flight(job, hand, run_rmbg):
    hand.step(finish=False)

    done = run_rmbg("cancel", job)
    assert done.returncode == 0
    hand.finish_held()
    status = hand.run(job)

    assert status.state == "cancelled"
    assert len(json_lines(run_rmbg("results", job))) == status.done + status.failed == 16
    assert "cancelled" in complaint(run_rmbg("retry", job))


def test_records_are_read_from_the_bucket_when_redis_has_forgotten_the_job(
    job, hand, run_rmbg, service_settings
):
    hand.run(job)
    forget(service_settings)

    assert [record["index"] for record in json_lines(run_rmbg("results", job))] == list(range(40))
    assert len(json_lines(run_rmbg("results", job, "--follow"))) == 40
    assert job in complaint(run_rmbg("status", job))


def test_an_index_of_shards_in_place_of_the_results_is_followed(
    job, hand, services, service_settings
):
    """That is what a job of over a million items leaves in the bucket."""
    hand.run(job)
    lines = [
        f'{{"shard": "_jobs/{job}/shards/{unit}.{epoch}.jsonl", "items": "{unit}"}}\n'
        for unit, epoch in services.jobs.queries.accepted_shards(job)
    ]
    body = "".join(lines).encode()
    bucket = service_settings.output_bucket
    hand.objects.put(bucket, f"_jobs/{job}/results.jsonl", body, content_type="text/plain")
    forget(service_settings)

    assert [record.index for record in results.records(services, job)] == list(range(40))


def test_records_are_read_from_the_shards_when_the_results_are_gone(job, hand, services):
    hand.run(job)
    bucket = services.settings.output_bucket
    services.objects.delete(bucket, [f"_jobs/{job}/results.jsonl"])

    assert [record.index for record in results.records(services, job)] == list(range(40))


def test_the_results_of_an_ended_job_outlive_its_shards(job, hand, services):
    hand.run(job)
    bucket = services.settings.output_bucket
    shards = [found.key for found in services.objects.list(bucket, f"_jobs/{job}/shards/")]
    services.objects.delete(bucket, shards)

    assert [record.index for record in results.records(services, job)] == list(range(40))


def test_shards_that_are_gone_with_the_results_are_missed(job, hand, services):
    """Rather than records being left out without a word."""
    hand.run(job)
    bucket = services.settings.output_bucket
    documents = [found.key for found in services.objects.list(bucket, f"_jobs/{job}/")]
    services.objects.delete(bucket, documents)

    with pytest.raises(StoreUnavailable, match=f"shard of job {job} is gone"):
        list(results.records(services, job))


def test_records_of_a_forgotten_job_are_not_held_together(job, hand, services, service_settings):
    """The results of a million items are 640 MB."""
    hand.run(job)
    forget(service_settings)
    line = ItemRecord(index=0, image_key="x" * 1000, state="done").to_json() + "\n"
    body = line.encode() * 30_000
    key = f"_jobs/{job}/results.jsonl"
    services.objects.put(service_settings.output_bucket, key, body, content_type="text/plain")
    tracemalloc.start()
    try:
        count = sum(1 for _ in results.records(services, job))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert count == 30_000
    assert peak_bytes < len(body) / 2


def test_a_job_that_nobody_knows_exits_with_2(run_rmbg, services):
    for command in ("status", "watch", "results", "failures", "cancel", "retry", "verify"):
        assert "nobody-knows" in complaint(run_rmbg(command, "nobody-knows"))
    with pytest.raises(UnknownJob):
        next(results.records(services, "nobody-knows"))


@pytest.mark.parametrize(
    ("output", "linked"), [("Save", True), ("Hide/Save", False), ("Hide", False)]
)
def test_links_are_signed_only_for_pictures_that_are_shown(client, hand, services, output, linked):
    job = client.submit(["a.jpg", "bad.jpg"], image_output=output)
    hand.run(job)

    [good, bad] = map(results.linker(services, job), results.records(services, job))

    assert (bad["cutout_url"], bad["mask_url"]) == (None, None)
    for url in (good["cutout_url"], good["mask_url"]):
        assert (url is not None) is linked


def test_a_link_reads_the_picture_without_credentials_for_an_hour(client, hand, run_rmbg):
    job = client.submit(["a.jpg"])
    hand.run(job)

    [record] = json_lines(run_rmbg("results", job, "--links"))

    assert "Expires=3600" in record["cutout_url"]
    with urllib.request.urlopen(record["cutout_url"]) as answer:
        assert answer.read() == b"png"
    assert "cutout_url" not in json_lines(run_rmbg("results", job))[0]


def test_no_links_for_a_job_whose_parameters_are_forgotten(job, hand, run_rmbg, service_settings):
    hand.run(job)
    forget(service_settings)

    assert "may be shown" in complaint(run_rmbg("results", job, "--links"))


def test_a_reader_that_has_had_enough_is_no_error(job, hand, service_env):
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
