"""`examples/http.sh`: each route of the API with curl."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest
from PIL import Image
from support.pictures import encoded, photo
from support.workers import WorkerProcess

pytestmark = pytest.mark.integration
MODES = {"cutout.png": "RGBA", "amazon.jpg": "RGB", "mask.png": "L", "job-cutout.png": "RGBA"}
"""Images that the script writes."""
SCRIPT = Path(__file__).parents[3] / "examples" / "http.sh"


@pytest.fixture
def worker(service_env):
    """A real worker with a stand-in network."""
    process = WorkerProcess(service_env).wait_ready()
    yield process
    process.close()


def test_each_route_is_called(address, new_key, worker, tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded(photo(64, 48), "JPEG"))

    done = subprocess.run(
        ["sh", str(SCRIPT), address, new_key(), "a.jpg"],
        cwd=tmp_path,
        env={"PATH": f"{Path(sys.executable).parent}:{os.defpath}"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    for name, mode in MODES.items():
        with Image.open(tmp_path / name) as picture:
            assert picture.mode == mode
    with zipfile.ZipFile(tmp_path / "job.zip") as archive:
        assert archive.testzip() is None
    assert "event: done" in done.stdout
    assert '"state":"accepted"' in done.stdout or '"state":"done"' in done.stdout


def test_no_route_is_left_out(address):
    script = SCRIPT.read_text()
    for path in httpx.get(f"{address}/openapi.json").json()["paths"]:
        called = re.sub(r"\{(\w+_id|index|name)\}", "[^/ ]+", path)
        is_upload = path == "/v1/uploads/{upload_id}"  # its address is in the answer
        assert is_upload or re.search(rf"\$url{called}[\"? ]", script), path
