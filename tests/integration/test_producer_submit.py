"""`rmbg submit` against real servers: create a job, join a job, refuse a submission."""

import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
import redis
from support.command import RMBG, complaint, environment, rmbg
from support.producing import json_lines
from support.servers import raw_s3

from producer.submission.options import JobOptions
from producer.submission.sources import KeySource
from producer.submission.submit import plan, submit
from shared.broker.app import depths, make_app
from shared.errors import RedisUnavailable
from shared.job.manifest import CHUNK_KEYS, MAX_REDIS_KEYS, unpack
from shared.job.options import PictureOptions
from shared.jobstore.store import JobStore

pytestmark = pytest.mark.integration


@pytest.fixture
def upload(service_settings, bucket):
    """Upload small objects to the test's bucket."""
    client = raw_s3(service_settings)

    def put(*keys):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: client.put_object(Bucket=bucket, Key=key, Body=b"x"), keys))

    return put


@pytest.fixture
def store(service_settings):
    jobs = JobStore.connect(service_settings.store_url)
    yield jobs
    jobs.close()


def keys_of(store, job_id):
    return unpack(store.queries.manifest_chunk(job_id, 0))


def test_keys_from_standard_input_keep_their_order_and_repetitions(submitted, store):
    job_id = submitted("b.jpg", "a.jpg", "b.jpg")

    assert keys_of(store, job_id) == ["b.jpg", "a.jpg", "b.jpg"]
    assert store.queries.status(job_id).total == 3


def test_keys_are_read_from_a_file(run_rmbg, store, tmp_path):
    (tmp_path / "keys.txt").write_text("a.jpg\n\nb.jpg\n")

    done = run_rmbg("submit", "--keys", tmp_path / "keys.txt")

    assert keys_of(store, done.stdout.decode().strip()) == ["a.jpg", "b.jpg"]


def test_keys_are_read_from_a_pipe(service_env, store, bucket):
    """Once: what is hashed and staged is what the pipe sent."""
    env = environment(dict(service_env) | {"RMBG_INPUT_BUCKETS": bucket})
    script = f"{RMBG} submit --keys <(printf 'a.jpg\\nb.jpg\\na.jpg\\n')"

    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, check=True)

    assert keys_of(store, done.stdout.decode().strip()) == ["a.jpg", "b.jpg", "a.jpg"]


def test_a_line_that_is_not_utf_8_fails_alone(run_rmbg, hand):
    """The hand worker fails "bad" keys; a worker fails this one with `InvalidKey`."""
    done = run_rmbg("submit", stdin=b"a.jpg\nbad-\xe9t\xe9.jpg\n")
    job = done.stdout.decode().strip()

    status = hand.run(job)

    assert b"that are not UTF-8: 1 (line 2: bad-\\xe9t\\xe9.jpg)" in done.stderr
    assert (status.done, status.failed) == (1, 1)
    assert rb"bad-\udce9t\udce9.jpg" in run_rmbg("failures", job).stdout


def test_urls_of_objects_choose_the_bucket(run_rmbg, service_env, store, bucket):
    env = dict(service_env) | {"RMBG_INPUT_BUCKETS": f"other-one,{bucket}"}

    done = rmbg("submit", stdin=f"s3://{bucket}/a.jpg\nb.jpg\n".encode(), env=env)
    line = complaint(rmbg("submit", stdin=b"s3://private/a.jpg\n", env=env))

    assert keys_of(store, done.stdout.decode().strip()) == ["a.jpg", "b.jpg"]
    assert line.startswith("bucket 'private' is not in RMBG_INPUT_BUCKETS; allowed: other-one")


def test_a_line_that_is_probably_no_key_is_reported_beside_the_job(run_rmbg):
    done = run_rmbg("submit", stdin=b"https://shop.example/a.jpg\n")

    assert done.returncode == 0
    assert b"warning: lines of standard input that are probably no keys: 1" in done.stderr


def test_a_prefix_submits_only_its_images(run_rmbg, store, upload, bucket):
    upload("shop/b.PNG", "shop/a.jpg", "shop/readme.txt", "shop/sub/c.webp", "other/d.jpg")

    done = run_rmbg("submit", "--prefix", f"s3://{bucket}/shop/")

    assert keys_of(store, done.stdout.decode().strip()) == [
        "shop/a.jpg",
        "shop/b.PNG",
        "shop/sub/c.webp",
    ]
    assert done.stderr.decode() == "1 other file ignored: shop/readme.txt\n"


def test_a_prefix_skips_files_that_systems_create_beside_images(run_rmbg, store, upload, bucket):
    """Unless the prefix itself is in such a folder: then they are what the user wants."""
    upload("a.jpg", "._a.jpg", "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", "__MACOSX/._a.jpg")

    done = run_rmbg("submit", "--prefix", f"s3://{bucket}/")
    inside = run_rmbg("submit", "--prefix", f"s3://{bucket}/@eaDir/")

    assert keys_of(store, done.stdout.decode().strip()) == ["a.jpg"]
    assert keys_of(store, inside.stdout.decode().strip()) == ["@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg"]


def test_a_prefix_is_listed_over_several_pages(run_rmbg, store, upload, bucket):
    upload(*(f"p/{n:04}.jpg" for n in range(1050)))

    done = run_rmbg("submit", "--prefix", f"s3://{bucket}/p/")

    job_id = done.stdout.decode().strip()
    assert store.queries.status(job_id).total == 1050
    assert unpack(store.queries.manifest_chunk(job_id, 2))[-1] == "p/1049.jpg"


def test_a_prefix_skips_outputs_and_job_documents(run_rmbg, store, upload, bucket):
    upload(
        "shop/a.jpg",
        "shop/out/2025/cutout/shop/a.jpg.png",
        "shop/out/2025/mask/shop/a.jpg.png",
        "_jobs/x/thumbnail.png",
        "_preview/2025-01-01/x/easyPreview/cutout/a.jpg.png",
    )

    done = run_rmbg("submit", "--prefix", f"s3://{bucket}/", "--save-prefix", "shop/out/%year%")

    assert keys_of(store, done.stdout.decode().strip()) == ["shop/a.jpg"]


def test_a_prefix_without_images_creates_no_job_and_reports_the_listing(
    run_rmbg, store, upload, bucket
):
    upload("shop/readme.txt", "shop/ComfyUI/cutout/a.jpg.png")

    done = run_rmbg("submit", "--prefix", f"s3://{bucket}/shop/", "--save-prefix", "shop/ComfyUI")

    assert complaint(done) == (
        f"no images under s3://{bucket}/shop/; objects listed: 2 "
        "(outputs or job documents: 1, 1 other file: shop/readme.txt)"
    )
    assert store.queries.jobs() == []


def test_empty_standard_input_creates_no_job(run_rmbg, store, service_settings):
    assert complaint(run_rmbg("submit", stdin=b"\n\n")).startswith(
        "no image keys in standard input"
    )
    assert store.queries.jobs() == []
    with redis.Redis.from_url(service_settings.store_url) as client:
        assert client.keys("rmbg:staged:*") == []


def test_submit_publishes_the_first_tickets(submitted, service_settings):
    """A fleet scaled to zero starts when it sees a message."""
    submitted(*(f"{n}.jpg" for n in range(40)))

    with make_app(service_settings.broker_url) as app:
        assert depths(app)["rmbg.bulk"] == 3


def test_keys_after_the_first_million_are_stored_in_the_bucket(client, services):
    """The same submission again joins the job and leaves no keys of its own."""
    total = 1_000_448 + 700
    keys = [f"{n:07}.jpg" for n in range(total)]
    bucket = services.settings.output_bucket

    job = client.submit(iter(keys))
    again = client.submit(iter(keys))

    assert again == job
    assert services.jobs.queries.status(job).total == total
    assert unpack(services.jobs.queries.manifest_chunk(job, 1953))[-1] == "1000447.jpg"
    assert services.jobs.queries.manifest_chunk(job, 1954) is None
    stored = [found.key for found in services.objects.list(bucket, "_jobs/")]
    assert [name.rpartition("/")[2] for name in stored] == ["0001954.json.z", "0001955.json.z"]
    bodies = [services.objects.get(bucket, name).data for name in stored]
    assert [len(unpack(body)) for body in bodies] == [512, 188]
    assert unpack(bodies[1])[-1] == keys[-1]


def test_an_interactive_job_uses_its_own_queue(submitted, service_settings):
    submitted("a.jpg", args=("--priority", "interactive"))

    with make_app(service_settings.broker_url) as app:
        assert depths(app)["rmbg.interactive"] == 1


def test_an_interactive_job_with_too_many_images_is_refused(run_rmbg, store):
    keys = "".join(f"{n}.jpg\n" for n in range(65)).encode()

    line = complaint(run_rmbg("submit", "--priority", "interactive", stdin=keys))

    assert line.startswith("an interactive job has at most 64 images")
    assert store.queries.jobs() == []


def test_the_same_submission_again_joins_the_running_job(run_rmbg, submitted, store):
    first = submitted("a.jpg", "b.jpg")

    done = run_rmbg("submit", stdin=b"a.jpg\nb.jpg\n")

    assert done.stdout.decode().strip() == first
    assert b"joined" in done.stderr
    assert len(store.queries.jobs()) == 1


@pytest.mark.parametrize(
    ("keys", "options"),
    [
        (["b.jpg", "a.jpg"], {}),
        (["a.jpg"], {}),
        (["a.jpgb.jpg"], {}),
        (["a.jpg", "b.jpg"], {"save_prefix": "x"}),
        (["a.jpg", "b.jpg"], {"rem_mode": "isnet-general-use"}),
        (["a.jpg", "b.jpg"], {"pictures": PictureOptions(edges="seed")}),
        (["a.jpg", "b.jpg"], {"existing": "keep"}),
    ],
)
def test_other_keys_or_options_create_another_job(client, keys, options):
    assert client.submit(["a.jpg", "b.jpg"]) != client.submit(keys, **options)


def test_a_job_id_cannot_be_used_for_other_keys(submitted, run_rmbg, store):
    args = ("--job-id", "spring-2026")
    assert submitted("a.jpg", args=args) == "spring-2026"
    assert submitted("a.jpg", args=args) == "spring-2026"

    line = complaint(run_rmbg("submit", *args, stdin=b"b.jpg\n"))

    assert "spring-2026" in line
    assert keys_of(store, "spring-2026") == ["a.jpg"]


class UnreliableSubmissions:
    """The submissions of a job store, which lose the answer to `submit`.

    With *retries*, the client sends the submission again, as redis-py may; otherwise it fails.
    """

    def __init__(self, submissions, *, retries):
        self._submissions = submissions
        self._retries = retries

    def submit(self, submission):
        self._submissions.submit(submission)
        if not self._retries:
            raise RedisUnavailable("the answer was lost")
        return self._submissions.submit(submission)

    def __getattr__(self, name):
        return getattr(self._submissions, name)


@pytest.mark.parametrize("retries", [True, False])
def test_a_job_keeps_its_keys_in_the_bucket_if_the_answer_is_lost(services, retries):
    """The job exists and reads its keys, whether the client retries or gives up."""
    jobs, total = services.jobs, MAX_REDIS_KEYS + CHUNK_KEYS
    jobs.submissions = UnreliableSubmissions(jobs.submissions, retries=retries)
    keys = KeySource(f"{n:07}.jpg" for n in range(total))
    expected = nullcontext() if retries else pytest.raises(RedisUnavailable)

    with expected:
        submit(services, keys, plan(services, JobOptions()))

    [job] = jobs.queries.jobs()
    assert job.total == total
    stored = services.objects.list(services.settings.output_bucket, "_jobs/")
    assert [found.key.rpartition("/")[2] for found in stored] == ["0001954.json.z"]


def test_every_option_is_stored_in_the_job_document(run_rmbg, store, tmp_path):
    (tmp_path / "prompt.json").write_text('{"3": {"class_type": "LoadImage"}}')
    (tmp_path / "extra.json").write_text('{"workflow": {"nodes": []}}')

    done = run_rmbg(
        "submit",
        *("--rem-mode", "isnet-general-use", "--save-prefix", "a/%year%", "--image-output"),
        *("Hide/Save", "--existing", "keep", "--priority", "interactive", "--job-id", "j"),
        *("--edges", "estimate", "--stretch", "seed", "--alpha", "ignore", "--truncated"),
        *("accept", "--png", "small", "--route-review", "review"),
        *("--prompt", tmp_path / "prompt.json", "--extra-pnginfo", tmp_path / "extra.json"),
        stdin=b"a.jpg\n",
    )

    assert done.returncode == 0, done
    spec = store.queries.spec("j")
    assert re.fullmatch(r"a/20\d\d", spec.save_prefix)
    assert (spec.rem_mode, spec.image_output, spec.existing, spec.priority) == (
        *("isnet-general-use", "Hide/Save", "keep", "interactive"),
    )
    options = spec.options
    assert (options.edges, options.stretch, options.alpha, options.truncated, options.png) == (
        *("estimate", "seed", "ignore", "accept", "small"),
    )
    assert spec.review_prefix == "review"
    assert spec.prompt == {"3": {"class_type": "LoadImage"}}
    assert spec.extra_pnginfo == {"workflow": {"nodes": []}}
    assert spec.weights_sha256.startswith("60920e99")


@pytest.mark.parametrize(
    ("previews", "count", "stride"), [(None, 4001, 3), ("sample", 3, 1), ("all", 4001, 1)]
)
def test_the_stride_of_previews_is_stored_in_the_job_document(
    run_rmbg, store, previews, count, stride
):
    """Every worker must select the same items, whichever range it processes."""
    args = ("--previews", previews) if previews else ()
    keys = "".join(f"{n}.jpg\n" for n in range(count)).encode()

    assert run_rmbg("submit", "--job-id", "j", *args, stdin=keys).returncode == 0

    spec = store.queries.spec("j")
    assert (spec.previews, spec.preview_every) == (previews or "sample", stride)


def test_the_choice_of_previews_does_not_make_another_job(client, store):
    first = client.submit(["a.jpg"])

    assert client.submit(["a.jpg"], previews="none") == first
    assert store.queries.spec(first).previews == "sample"
    assert store.queries.spec(client.submit(["b.jpg"], previews="none")).preview_every == 0


def test_comfyui_numbers_continue_after_listed_and_reserved_ones(client, store, upload):
    upload("out/shot_00007_.png", "out/shot_mask_00009_.png", "out/shotgun_00050_.png")

    jobs = [
        client.submit(keys, naming="comfyui", save_prefix="out/shot")
        for keys in (["a.jpg", "b.jpg"], ["c.jpg"])
    ]
    first, second = (store.queries.spec(job).counter_base for job in jobs)

    assert (first, second) == (10, 12)


def test_a_prefix_skips_outputs_with_comfyui_names(run_rmbg, store, upload, bucket):
    upload("a.jpg", "ComfyUI_00001_.png", "ComfyUI_mask_00001_.png")

    done = run_rmbg("submit", "--prefix", f"s3://{bucket}/", "--naming", "comfyui")

    assert keys_of(store, done.stdout.decode().strip()) == ["a.jpg"]


def test_a_missing_output_bucket_is_reported_before_keys_are_staged(service_env, store):
    env = dict(service_env) | {"RMBG_OUTPUT_BUCKET": "not-there"}

    line = complaint(rmbg("submit", stdin=b"a.jpg\n", env=env), 3)

    assert "not-there" in line
    assert env["RMBG_S3_ENDPOINT"] in line
    assert store.queries.jobs() == []


def test_a_missing_input_bucket_is_reported(service_env):
    env = dict(service_env) | {"RMBG_INPUT_BUCKETS": "not-there"}

    assert "not-there" in complaint(rmbg("submit", stdin=b"a.jpg\n", env=env), 3)


def test_the_error_for_wrong_credentials_does_not_show_them(service_env):
    env = dict(service_env) | {"RMBG_S3_SECRET_ACCESS_KEY": "wrong-secret"}

    line = complaint(rmbg("submit", stdin=b"a.jpg\n", env=env), 3)

    assert "RMBG_S3_ACCESS_KEY_ID" in line
    assert env["RMBG_S3_ENDPOINT"] in line
    assert "wrong-secret" not in line
    assert env["RMBG_S3_ACCESS_KEY_ID"] not in line


def test_an_unreachable_s3_server_is_reported(service_env):
    env = dict(service_env) | {"RMBG_S3_ENDPOINT": "http://127.0.0.1:9"}

    line = complaint(rmbg("submit", stdin=b"a.jpg\n", env=env), 3)

    assert "http://127.0.0.1:9" in line
    assert "RMBG_S3_ENDPOINT" in line


def test_redis_near_its_memory_limit_accepts_no_job(run_rmbg, store, service_settings):
    with redis.Redis.from_url(service_settings.store_url) as client:
        used_bytes = client.info("memory")["used_memory"]
        client.config_set("maxmemory", used_bytes * 9 // 8)
        try:
            line = complaint(run_rmbg("submit", stdin=b"a.jpg\n"), 3)
        finally:
            client.config_set("maxmemory", 0)

    assert "Redis" in line
    assert store.queries.jobs() == []


def test_status_json_prints_one_object_with_all_fields(client, run_rmbg):
    job_id = client.submit(["a.jpg", "b.jpg"])

    [status] = json_lines(run_rmbg("status", job_id, "--json"))

    assert status["job_id"] == job_id
    assert status["state"] == "running"
    assert status["waiting_for"] == "no worker"
    assert (status["total"], status["done"], status["failed"]) == (2, 0, 0)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", status["created_at"])
    assert [status[name] for name in ("finished_at", "images_per_s", "eta_s")] == [None] * 3
    assert json.dumps(status)


def test_jobs_are_listed_newest_first(client, run_rmbg):
    first, second = client.submit(["a.jpg"]), client.submit(["b.jpg"])

    listed = json_lines(run_rmbg("jobs", "--json"))

    assert [job["job_id"] for job in listed] == [second, first]
    assert second in run_rmbg("jobs").stdout.decode().splitlines()[0]
