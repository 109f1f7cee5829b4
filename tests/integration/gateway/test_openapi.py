"""The OpenAPI document against the real gateway: schemathesis with valid and invalid requests."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from support.workers import WorkerProcess

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
ST = str(Path(sys.executable).with_name("st"))
CONFIG = str(Path(__file__).with_name("schemathesis.toml"))
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "3")  # noqa: TID251 - `make openapi` sets it
PHASES = "examples,coverage,stateful"
FREE_FORM = {"getFile", "getArchive", "removeBackground", "listenToJob", "putUpload"}
"""Operations whose answers are no JSON, or not only."""


@pytest.fixture
def worker(service_env):
    """A real worker with a stand-in network."""
    process = WorkerProcess(service_env).wait_ready()
    yield process
    process.close()


def test_the_gateway_does_what_its_document_says(address, new_key, worker, tmp_path):
    key = new_key(rate_per_minute=60_000)
    phases = PHASES if EXAMPLES == "3" else f"{PHASES},fuzzing"
    done = subprocess.run(
        [
            *(ST, "--config-file", CONFIG, "run", f"{address}/openapi.json", "--no-color"),
            *("-H", f"Authorization: Bearer {key}", "-n", EXAMPLES, "--mode", "all"),
            *("--phases", phases, "--seed", "1"),
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": os.defpath, "LC_ALL": "C.UTF-8"},
    )

    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "Tested: 15" in done.stdout, done.stdout


def test_no_answer_has_a_free_form_schema(address):
    document = httpx.get(f"{address}/openapi.json").json()
    for path in document["paths"].values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                if not status.startswith("2") or operation["operationId"] in FREE_FORM:
                    continue
                schema = answer["content"]["application/json"]["schema"]
                assert "$ref" in schema or "$ref" in schema.get("items", {}), json.dumps(schema)
