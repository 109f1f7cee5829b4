"""`rmbg submit` against real servers: what becomes a job, what joins one, what is refused."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from support.command import complaint, rmbg
from support.producing import json_lines
from support.servers import raw_s3

from producer.submission.options import JobOptions
from producer.submission.sources import KeySource
from producer.submission.submit import plan, submit
from shared.broker.app import depths, make_app
from shared.errors import RedisUnavailable
from shared.job.manifest import CHUNK_KEYS, unpack
from shared.job.spec import PictureOptions
from shared.jobstore.connection import Connection
from shared.jobstore.rules import Rules
from shared.jobstore.store import JobStore

pytestmark = pytest.mark.integration


@pytest.fixture
def upload(service_settings, bucket):
    """Put small objects at keys of the test's bucket."""
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


def test_keys_from_standard_input_become_one_job_in_their_order(submitted, store):
    job_id = submitted("b.jpg", "a.jpg", "b.jpg")

    assert keys_of(store, job_id) == ["b.jpg", "a.jpg", "b.jpg"]
    assert store.queries.status(job_id).total == 3


def test_keys_from_a_file(run_rmbg, store, tmp_path):
    (tmp_path / "keys.txt").write_text("a.jpg\n\nb.jpg\n")

    done = run_rmbg("submit", "--keys", tmp_path / "keys.txt")

    assert keys_of(store, done.stdout.decode().strip()) == ["a.jpg", "b.jpg"]


def test_a_prefix_gives_its_pictures_in_order_and_nothing_else(run_rmbg, store, upload, bucket):
    upload("shop/b.PNG", "shop/a.jpg", "shop/readme.txt", "shop/sub/c.webp", "other/d.jpg")

    done = run_rmbg("submit", "--prefix", f"s3://{bucket}/shop/")

    assert keys_of(store, done.stdout.decode().strip()) == [
        "shop/a.jpg",
        "shop/b.PNG",
        "shop/sub/c.webp",
    ]


def test_a_listing_of_many_pages_is_walked_to_its_end(run_rmbg, store, upload, bucket):
    upload(*(f"p/{n:04}.jpg" for n in range(1050)))

    done = run_rmbg("submit", "--prefix", f"s3://{bucket}/p/")

    job_id = done.stdout.decode().strip()
    assert store.queries.status(job_id).total == 1050
    assert unpack(store.queries.manifest_chunk(job_id, 2))[-1] == "p/1049.jpg"


def test_a_listing_skips_the_jobs_own_outputs_and_documents(run_rmbg, store, upload, bucket):
    upload(
        "shop/a.jpg",
        "shop/out/2025/cutout/shop/a.jpg.png",
        "shop/out/2025/mask/shop/a.jpg.png",
        "_jobs/x/thumbnail.png",
        "_preview/2025-01-01/x/easyPreview/cutout/a.jpg.png",
    )

    done = run_rmbg("submit", "--prefix", f"s3://{bucket}/", "--save-prefix", "shop/out/%year%")

    assert keys_of(store, done.stdout.decode().strip()) == ["shop/a.jpg"]


def test_no_pictures_make_no_job_and_say_what_was_listed(run_rmbg, store, upload, bucket):
    upload("shop/readme.txt", "shop/ComfyUI/cutout/a.jpg.png")

    done = run_rmbg("submit", "--prefix", f"s3://{bucket}/shop/", "--save-prefix", "shop/ComfyUI")

    assert complaint(done) == (
        f"no pictures under s3://{bucket}/shop/: 2 objects listed, 1 of them not pictures by "
        "extension, 1 outputs or job documents"
    )
    assert store.queries.jobs() == []


def test_no_keys_on_standard_input_make_no_job(run_rmbg, store, service_settings):
    assert complaint(run_rmbg("submit", stdin=b"\n\n")).startswith("no keys in standard input")
    assert store.queries.jobs() == []
    with redis.Redis.from_url(service_settings.store_url) as client:
        assert client.keys("rmbg:staged:*") == []


def test_the_first_tickets_are_in_the_queue_when_submit_returns(submitted, service_settings):
    """So a fleet scaled to zero has a message to wake up for."""
    submitted(*(f"{n}.jpg" for n in range(40)))

    with make_app(service_settings.broker_url) as app:
        assert depths(app)["rmbg.bulk"] == 3


def test_a_manifest_of_over_a_million_keys_goes_on_in_the_bucket(client, services):
    """The first million stay in Redis; a repetition joins, and leaves nothing of its own."""
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


def test_an_interactive_job_takes_its_own_lane(submitted, service_settings):
    submitted("a.jpg", args=("--priority", "interactive"))

    with make_app(service_settings.broker_url) as app:
        assert depths(app)["rmbg.interactive"] == 1


def test_an_interactive_job_of_too_many_images_is_refused(run_rmbg, store):
    keys = "".join(f"{n}.jpg\n" for n in range(65)).encode()

    line = complaint(run_rmbg("submit", "--priority", "interactive", stdin=keys))

    assert line.startswith("an interactive job has at most 64 images")
    assert store.queries.jobs() == []


def test_the_same_submission_again_joins_the_job(run_rmbg, submitted, store):
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
def test_other_keys_or_parameters_are_another_job(client, keys, options):
    assert client.submit(["a.jpg", "b.jpg"]) != client.submit(keys, **options)


def test_a_given_id_means_its_job(submitted, run_rmbg, store):
    args = ("--job-id", "spring-2026")
    assert submitted("a.jpg", args=args) == "spring-2026"
    assert submitted("a.jpg", args=args) == "spring-2026"

    line = complaint(run_rmbg("submit", *args, stdin=b"b.jpg\n"))

    assert "spring-2026" in line
    assert "other keys or parameters" in line
    assert keys_of(store, "spring-2026") == ["a.jpg"]


class ForgetfulConnection(Connection):
    """Loses the replies to the next `lost` submissions; with *sends_again*, it sends again."""

    lost = 1
    sends_again = False

    def run(self, script, *rows, **args):
        answer = super().run(script, *rows, **args)
        if script != "submit" or not self.lost:
            return answer
        self.lost -= 1
        if self.sends_again:
            return super().run(script, *rows, **args)
        raise RedisUnavailable("the answer got lost")


@pytest.fixture
def large(services, service_settings, monkeypatch):
    """Submits what counts as large here: its second chunk of keys lies in the bucket."""
    monkeypatch.setattr("producer.submission.manifest.CHUNKS_IN_REDIS", 1)
    connection = ForgetfulConnection.connect(service_settings.store_url)
    services.jobs = JobStore(connection, rules=Rules(keys_in_redis=CHUNK_KEYS))
    keys = KeySource([f"{n}.jpg" for n in range(2 * CHUNK_KEYS)])
    yield lambda: submit(services, keys, plan(services, JobOptions()))
    services.jobs.close()


def chunks_in_bucket(services, bucket):
    return [
        found.key for found in services.objects.list(bucket, "_jobs/") if "manifest" in found.key
    ]


@pytest.mark.parametrize("sends_again", [True, False])
def test_a_large_job_keeps_its_keys_when_the_answer_got_lost(large, services, bucket, sends_again):
    """Whether the client asks again by itself or gives up: the job is there, and needs them."""
    services.jobs.connection.sends_again = sends_again
    if sends_again:
        assert large().created
    else:
        with pytest.raises(RedisUnavailable):
            large()

    assert [job.total for job in services.jobs.queries.jobs()] == [2 * CHUNK_KEYS]
    assert len(chunks_in_bucket(services, bucket)) == 1


def test_a_large_submission_that_joins_leaves_no_keys_of_its_own(large, services, bucket):
    services.jobs.connection.lost = 0
    first, twin = large(), large()

    assert (first.created, twin.created, twin.job_id) == (True, False, first.job_id)
    assert len(chunks_in_bucket(services, bucket)) == 1


def test_every_option_reaches_the_job(run_rmbg, store, tmp_path):
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


def test_comfyui_numbers_go_on_above_what_is_listed_and_what_was_reserved(client, store, upload):
    upload("out/shot_00007_.png", "out/shot_mask_00009_.png", "out/shotgun_00050_.png")

    jobs = [
        client.submit(keys, naming="comfyui", save_prefix="out/shot")
        for keys in (["a.jpg", "b.jpg"], ["c.jpg"])
    ]
    first, second = (store.queries.spec(job).counter_base for job in jobs)

    assert (first, second) == (10, 12)


def test_what_comfyui_names_the_listing_skips(run_rmbg, store, upload, bucket):
    upload("a.jpg", "ComfyUI_00001_.png", "ComfyUI_mask_00001_.png")

    done = run_rmbg("submit", "--prefix", f"s3://{bucket}/", "--naming", "comfyui")

    assert keys_of(store, done.stdout.decode().strip()) == ["a.jpg"]


def test_a_missing_bucket_is_told_before_anything_is_staged(service_env, store):
    env = dict(service_env) | {"RMBG_OUTPUT_BUCKET": "not-there"}

    line = complaint(rmbg("submit", stdin=b"a.jpg\n", env=env), 3)

    assert "bucket not-there" in line
    assert env["RMBG_S3_ENDPOINT"] in line
    assert store.queries.jobs() == []


def test_a_missing_input_bucket_is_told(service_env):
    env = dict(service_env) | {"RMBG_INPUT_BUCKETS": "not-there"}

    assert "not-there" in complaint(rmbg("submit", stdin=b"a.jpg\n", env=env), 3)


def test_wrong_credentials_are_told_without_showing_any(service_env):
    env = dict(service_env) | {"RMBG_S3_SECRET_ACCESS_KEY": "wrong-secret"}

    line = complaint(rmbg("submit", stdin=b"a.jpg\n", env=env), 3)

    assert "RMBG_S3_ACCESS_KEY_ID" in line
    assert env["RMBG_S3_ENDPOINT"] in line
    assert "wrong-secret" not in line
    assert env["RMBG_S3_ACCESS_KEY_ID"] not in line


def test_s3_down_is_told_in_time(service_env):
    env = dict(service_env) | {"RMBG_S3_ENDPOINT": "http://127.0.0.1:9"}

    line = complaint(rmbg("submit", stdin=b"a.jpg\n", env=env), 3)

    assert "http://127.0.0.1:9" in line
    assert "RMBG_S3_ENDPOINT" in line


def test_redis_near_its_limit_takes_no_job(run_rmbg, store, service_settings):
    with redis.Redis.from_url(service_settings.store_url) as client:
        used_bytes = client.info("memory")["used_memory"]
        client.config_set("maxmemory", used_bytes * 9 // 8)
        try:
            line = complaint(run_rmbg("submit", stdin=b"a.jpg\n"), 3)
        finally:
            client.config_set("maxmemory", 0)

    assert "try again when others have ended" in line
    assert store.queries.jobs() == []


def test_status_json_is_exactly_one_object_with_the_contract_s_fields(client, run_rmbg):
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
