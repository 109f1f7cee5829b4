"""Published clients of remove.bg, unmodified, as child processes.

Their address is fixed: a proxy with an authority of its own leads it to the gateway.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image
from support.connect_proxy import ConnectProxy

pytestmark = pytest.mark.integration
HOST = "api.remove.bg"
SUPPORT = Path(__file__).parents[3] / "support"
NODE_MODULES = Path(__file__).parents[4] / "out" / "fronts" / "node_modules"
"""Where `make fronts` installs the npm package."""


@pytest.fixture
def proxy(lab, tmp_path):
    """A proxy that leads the clients to the gateway."""
    with ConnectProxy(urlsplit(lab).port, HOST, folder=tmp_path) as running:
        yield running


@pytest.fixture
def run(proxy, tmp_path, image):
    """Run a program beside the file `a.jpg`; return what it printed."""
    (tmp_path / "a.jpg").write_bytes(image)

    def call(*args, **env):
        return subprocess.run(
            args,
            cwd=tmp_path,
            env={
                "HTTPS_PROXY": proxy.url,
                "REQUESTS_CA_BUNDLE": str(proxy.certificate),
                "HOME": str(tmp_path),
                "PATH": os.defpath,
            }
            | env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return call


def picture(path):
    with Image.open(path) as opened:
        return opened.format, opened.mode, opened.size


@pytest.mark.usefixtures("worker")
def test_remove_bg_api(run, key, proxy, tmp_path):
    program = """
import sys
from remove_bg_api import RemoveBg
remover = RemoveBg(sys.argv[1])
before = remover.account.balance()
remover.remove_bg_file("a.jpg", out_path="out.png", size="full", raw=False)
data = remover.remove_bg_bytes(open("a.jpg", "rb").read(), size="preview", data={"crop": "true"})
open("crop.png", "wb").write(data)
print(before - remover.account.balance())
"""
    done = run(sys.executable, "-c", program, key)

    assert done.returncode == 0, done.stderr
    assert done.stdout == "0\n"
    assert picture(tmp_path / "out.png") == ("PNG", "RGBA", (1200, 900))
    assert picture(tmp_path / "crop.png")[:2] == ("PNG", "RGBA")
    assert set(proxy.asked) == {f"{HOST}:443"}


def test_remove_bg_api_with_a_wrong_key(run):
    program = "from remove_bg_api import RemoveBg; RemoveBg('wrong')"

    assert "Authentication failed" in run(sys.executable, "-c", program).stderr


@pytest.mark.usefixtures("worker")
def test_removebg(run, key, tmp_path):
    program = """
import base64, sys
from removebg import RemoveBg
remover = RemoveBg(sys.argv[1], "error.log")
remover.remove_background_from_img_file("a.jpg", bg_color="red")
text = base64.b64encode(open("a.jpg", "rb").read())
remover.remove_background_from_base64_img(text, size="full", new_file_name="b.png")
"""
    done = run(sys.executable, "-c", program, key)

    assert done.returncode == 0, done.stderr
    assert picture(tmp_path / "a.jpg_no_bg.png")[:2] == ("JPEG", "RGB")
    assert picture(tmp_path / "b.png") == ("PNG", "RGBA", (1200, 900))


@pytest.mark.usefixtures("worker")
def test_removebg_cli(run, key, tmp_path):
    program = "import sys, removebg_cli; sys.exit(removebg_cli.main())"
    arguments = ("a.jpg", "-o", "out.png", "--crop")
    done = run(sys.executable, "-c", program, *arguments, REMOVE_BG_API_KEY=key)

    assert done.returncode == 0, done.stdout + done.stderr
    assert picture(tmp_path / "out.png")[:2] == ("PNG", "RGBA")


@pytest.mark.usefixtures("worker")
@pytest.mark.skipif(not NODE_MODULES.exists(), reason="run `make fronts`, which needs npm")
def test_the_npm_package(run, key, proxy, tmp_path):
    def call(text, fields):
        return run(
            shutil.which("node"),
            str(SUPPORT / "removebg.js"),
            text,
            "a.jpg",
            "out.png",
            json.dumps(fields),
            NODE_PATH=str(NODE_MODULES),
            NODE_OPTIONS=f"--require {SUPPORT / 'redirect_tls.js'}",
            NODE_EXTRA_CA_CERTS=str(proxy.certificate),
            TEST_TLS_PORT=str(proxy.tls_port),
        )

    done = call(key, {"size": "full", "crop": True, "scale": "80%"})
    assert done.returncode == 0, done.stderr
    for each in json.loads(done.stdout):
        assert (each["creditsCharged"], each["detectedType"]) == ("0", "other")
        assert int(each["resultWidth"]) > 0
        assert int(each["rateLimitRemaining"]) > 0
    assert picture(tmp_path / "out.png") == picture(tmp_path / "out.png.json.png")

    refused = call("wrong", {})
    assert json.loads(refused.stderr)[0]["code"] == "auth_failed"
