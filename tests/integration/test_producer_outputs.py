"""What producers say about outputs: collisions with running jobs, and their checks."""

import json

import pytest
from support.pictures import encoded, photo
from support.producing import json_lines
from support.workers import MODEL, WorkerProcess

from shared.errors import InvalidOption
from shared.recipes import Recipe

pytestmark = pytest.mark.integration

SHOP = Recipe(
    name="shop",
    format="jpg",
    size="64x64",
    background="white",
    checks={"must": {"min_side_px": 99}},
)
WAIT_S = 120


@pytest.fixture
def checked(service_env, client, object_store, bucket):
    """A job of two images whose output fails a check; return its ID."""
    for n in range(2):
        data = encoded(photo(60 + n, 40, seed=n), "JPEG")
        object_store.put(bucket, f"{n}.jpg", data, content_type="image/jpeg")
    worker = WorkerProcess(service_env).wait_ready()
    job = client.submit(["0.jpg", "1.jpg"], rem_mode=MODEL, outputs=[SHOP, "cutout"])
    client.wait(job, WAIT_S)
    worker.close()
    return job


def test_failed_checks_are_counted(checked, run_rmbg):
    done = run_rmbg("failures", checked, "--checks")
    assert done.stdout.decode() == "2\tshop\tmin_side_px\t0.jpg\n"

    assert json_lines(run_rmbg("failures", checked, "--checks", "--json")) == [
        {"output": "shop", "check": "min_side_px", "images": 2, "first": "0.jpg"}
    ]
    assert run_rmbg("failures", checked).stdout == b""


def test_all_checks_are_made_again_from_the_bytes_in_the_bucket(
    checked, run_rmbg, object_store, bucket
):
    records = json_lines(run_rmbg("results", checked, "--checks", "all"))

    assert [each["index"] for each in records] == [0, 1]
    [(key, findings)] = records[0]["checks"]["shop"].items()
    [finding] = [each for each in findings if each["check"] == "min_side_px"]
    assert (finding["state"], finding["limit"]) == ("failed", "99x99")
    plain = json_lines(run_rmbg("results", checked))
    assert [json.dumps({**each, "checks": None}) for each in plain] == [
        json.dumps({**each, "checks": None}) for each in records
    ]

    object_store.put(bucket, key, b"damaged", content_type="image/jpeg")
    [damaged, _] = json_lines(run_rmbg("results", checked, "--checks", "all"))
    assert [each["check"] for each in damaged["checks"]["shop"][key]] == ["readable"]


def test_checks_and_links_go_together(checked, run_rmbg):
    [first, _] = json_lines(run_rmbg("results", checked, "--checks", "all", "--links"))

    assert first["cutout_url"].startswith("http")
    assert first["checks"]["shop"]


def test_a_running_job_with_the_same_prefix_and_output_is_named(client, run_rmbg):
    running = client.submit(["a.jpg"], save_prefix="out")

    def submit(*args):
        return run_rmbg("submit", *args, stdin=b"b.jpg")

    same = submit("--save-prefix", "out", "--output", "cutout")
    assert same.returncode == 0
    assert f"warning: job {running} is running and writes mask, cutout below out" in (
        same.stderr.decode()
    )
    assert b"warning" not in submit("--save-prefix", "out2").stderr
    client.cancel(running)
    assert b"warning" not in submit("--save-prefix", "out", "--priority", "interactive").stderr


def test_a_submission_that_joins_a_job_is_not_warned_of_it(client, run_rmbg):
    client.submit(["a.jpg"], save_prefix="out")

    again = run_rmbg("submit", "--save-prefix", "out", stdin=b"a.jpg")

    assert b"joined" in again.stderr
    assert b"warning" not in again.stderr


@pytest.mark.parametrize(
    ("prefix", "other", "meets"),
    [
        ("a", "a_mask", True),
        ("a_mask", "a", True),
        ("shop/a", "shop/a_mask", True),
        ("a", "b", False),
        ("a", "a_x", False),
        ("a", "a", False),
    ],
)
def test_comfyui_prefixes_that_meet_are_refused(prefix, other, meets, client):
    client.submit(["a.jpg"], naming="comfyui", save_prefix=prefix)

    if not meets:
        assert client.submit(["b.jpg"], naming="comfyui", save_prefix=other)
        return
    with pytest.raises(InvalidOption, match="would meet those of the running job"):
        client.submit(["b.jpg"], naming="comfyui", save_prefix=other)


def test_comfyui_outputs_of_recipes_and_widths_meet_as_well(client):
    wide = Recipe(name="x", widths=(8, 16))
    client.submit(["a.jpg"], naming="comfyui", save_prefix="a", outputs=[wide])

    for other in ("a_x-w8", "held/a_x-w16") if wide.on_review == "hold" else ("a_x-w8",):
        with pytest.raises(InvalidOption, match="would meet"):
            client.submit(["b.jpg"], naming="comfyui", save_prefix=other)
    assert client.submit(["b.jpg"], naming="comfyui", save_prefix="a_x-w9")
