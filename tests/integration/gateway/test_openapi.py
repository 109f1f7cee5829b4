"""The OpenAPI document against the real gateway: schemathesis with valid and invalid requests."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from support.pictures import encoded, photo
from support.until import until
from support.workers import WorkerProcess

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]
ST = str(Path(sys.executable).with_name("st"))
CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES")  # noqa: TID251 - `make fuzz-http` sets it
SEED = os.environ.get("SCHEMATHESIS_SEED", "1")  # noqa: TID251 - the same
PHASES = "examples,coverage,stateful"
OPERATIONS = 22
BYTES = ("application/zip", "application/x-ndjson", "text/event-stream", "image/*", "*/*")
"""Media types whose content has no schema of JSON."""


@pytest.fixture
def worker(service_env):
    """A real worker with a stand-in network."""
    process = WorkerProcess(service_env).wait_ready()
    yield process
    process.close()


@pytest.fixture
def known(client_of, new_key, worker):
    """An API key, and by names in `CONFIG` what it has in the gateway."""
    text = new_key(rate_per_minute=60_000)
    client = client_of(text)
    image = encoded(photo(64, 48), "JPEG")
    files = {"files": [{"name": "a.jpg", "bytes": len(image)}] * 2}
    upload, unsent = client.post("/v1/uploads", json=files).json()["uploads"]
    client.put(upload["url"], content=image, headers=upload["headers"]).raise_for_status()
    wanted = {"keys": [upload["key"]], "outputs": ["cutout", "mask", "amazon-main"]}
    job = client.post("/v1/jobs", json=wanted).json()["job_id"]
    until(lambda: client.get(f"/v1/jobs/{job}").json()["state"] == "done")
    unsent_id = unsent["url"].rpartition("/")[2]
    return text, {"DONE_JOB": job, "IMAGE_KEY": upload["key"], "UPLOAD_ID": unsent_id}


def test_the_gateway_does_what_its_document_says(address, known, tmp_path):
    text, values = known
    config = tmp_path / "schemathesis.toml"
    config.write_text(re.sub("|".join(values), lambda name: values[name[0]], CONFIG.read_text()))
    done = subprocess.run(
        [
            *(ST, "--config-file", str(config), "run", f"{address}/openapi.json", "--no-color"),
            *("-H", f"Authorization: Bearer {text}", "-n", EXAMPLES or "3", "--mode", "all"),
            *("--phases", f"{PHASES},fuzzing" if EXAMPLES else PHASES, "--seed", SEED),
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": os.defpath, "LC_ALL": "C.UTF-8"},
    )

    print(done.stdout)  # noqa: T201 - pytest shows it with -s, or when the test fails
    assert done.returncode == 0, done.stderr
    assert f"Tested: {OPERATIONS}\n" in done.stdout


def test_every_answer_says_what_it_holds(address):
    document = httpx.get(f"{address}/openapi.json").json()
    free = [
        f"{operation['operationId']} {status} {media_type}: {where}"
        for path in document["paths"].values()
        for operation in path.values()
        for status, answer in operation["responses"].items()
        for media_type, content in answer.get("content", {}).items()
        if media_type not in BYTES
        for where in free_forms(document, content["schema"])
    ]

    assert free == []


def free_forms(document, schema, where="", seen=()):
    """Yield the parts of a schema that allow anything."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name not in seen:
            found = document["components"]["schemas"][name]
            yield from free_forms(document, found, name, (*seen, name))
        return
    inner = {f"/{n}": each for n, each in enumerate(alternatives(schema))}
    inner |= {f".{name}": each for name, each in schema.get("properties", {}).items()}
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            inner[f" {name}"] = schema[name]
    if not inner and not schema.keys() & {"type", "enum", "const"}:
        yield where
    if not inner and schema.get("type") in ("object", "array"):
        yield where
    for name, each in inner.items():
        yield from free_forms(document, each, where + name, seen)


def alternatives(schema):
    return [
        each for name in ("anyOf", "oneOf", "allOf", "prefixItems") for each in schema.get(name, ())
    ]


def test_an_unknown_method_is_told_all_that_a_path_has(client_of):
    answer = client_of(None).delete("/v1/jobs")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"
    assert answer.json()["type"] == "urn:rmbg-queue:problem:method-not-allowed"
