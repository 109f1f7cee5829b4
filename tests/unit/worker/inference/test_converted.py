"""Converted weights beside the download: equal masks, damage, folders that cannot be written."""

import hashlib
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.photographs import photograph

from shared.errors import WeightsInvalid
from worker.inference import Loader, converted
from worker.inference.architectures.isnet.network import Network
from worker.inference.segmenter import Segmenter
from worker.settings import WorkerSettings

LOAD = """
import sys
from pathlib import Path
sys.path[:] = sys.argv[2:]
from worker.inference.architectures import load_network
import torch
load_network("isnet", Path(sys.argv[1]), torch.float32, fuse_for='cpu')
print("onnx" in sys.modules)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A file in the published format, with random weights and batch norm."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("source") / "model.pth"
    torch.save(Network().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def sha256(source):
    return hashlib.sha256(source.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def intact(source, sha256, tmp_path_factory):
    """The content of a converted file."""
    return converted.make(source, sha256, "isnet", tmp_path_factory.mktemp("home")).read_bytes()


@pytest.fixture
def kept(intact, sha256, tmp_path):
    """An intact converted file in the cache below `tmp_path`."""
    path = tmp_path / "weights" / f"{sha256}-isnet-v1.safetensors"
    path.parent.mkdir()
    path.write_bytes(intact)
    return path


def output_of(segmenter):
    (output,) = segmenter.forward([segmenter.prepare(photograph("astronaut"))])
    return output.numpy()


def test_converted_weights_give_equal_masks(source, kept):
    direct = Segmenter.load(source, device="cpu", precision="fp32")
    cached = Segmenter.load(kept, device="cpu", precision="fp32")

    assert np.array_equal(output_of(direct), output_of(cached))


def test_the_next_start_uses_the_converted_file_without_the_source(tmp_path, source, sha256):
    path = converted.make(source, sha256, "isnet", tmp_path)

    assert path == tmp_path / "weights" / f"{sha256}-isnet-v1.safetensors"
    assert converted.find(sha256, "isnet", tmp_path) == path
    assert converted.make(tmp_path / "gone.pth", sha256, "isnet", tmp_path) == path
    assert path.stat().st_mode == source.stat().st_mode  # other users of the cache may read it
    assert converted.find("0" * 64, "isnet", tmp_path) is None


def one_bit(body):
    return body[:-1000] + bytes([body[-1000] ^ 1]) + body[-999:]


@pytest.mark.parametrize(
    "damage",
    [one_bit, lambda body: body[:-500], lambda body: body[:4], lambda _: b"", lambda _: b"\0" * 99],
    ids=["one bit", "truncated", "header truncated", "empty", "zeros"],
)
def test_a_damaged_file_is_made_again(kept, source, damage, tmp_path, caplog):
    intact, sha256 = kept.read_bytes(), kept.name[:64]
    kept.write_bytes(damage(intact))

    assert converted.find(sha256, "isnet", tmp_path) is None
    assert converted.make(source, sha256, "isnet", tmp_path) == kept
    assert kept.read_bytes() == intact
    assert [r.message for r in caplog.records] == ["converted weights are damaged"]


def test_a_file_with_another_network_is_made_again(kept, source, sha256, tmp_path):
    """Its own structure is intact, but its checksum is missing or that of other tensors."""
    intact = load_file(kept)
    save_file({"conv_in.weight": torch.zeros(3)}, kept)

    assert converted.make(source, sha256, "isnet", tmp_path) == kept
    assert load_file(kept).keys() == intact.keys()


def test_an_interrupted_conversion_is_made_again(tmp_path, source, sha256):
    part = tmp_path / "weights" / f".{sha256}-isnet-v1.safetensors.part"
    part.parent.mkdir()
    part.write_bytes(b"half")
    path = converted.make(source, sha256, "isnet", tmp_path)

    assert converted.find(sha256, "isnet", tmp_path) == path
    assert not part.exists()


def test_several_at_once_leave_one_intact_file(tmp_path, source, sha256):
    def make(_):
        return converted.make(source, sha256, "isnet", tmp_path)

    with ThreadPoolExecutor(3) as threads:
        paths = set(threads.map(make, range(3)))

    assert paths == {converted.find(sha256, "isnet", tmp_path)}
    assert [p.name for p in paths] == [p.name for p in tmp_path.glob("weights/[!.]*")]


def test_a_home_that_cannot_be_written_serves_from_the_source(tmp_path, source, sha256, caplog):
    home = tmp_path / "file"
    home.write_bytes(b"")
    with caplog.at_level(logging.INFO):
        assert converted.make(source, sha256, "isnet", home) == source
    assert [r.message for r in caplog.records] == ["converted weights not stored"]


def test_a_source_of_another_network_is_refused_and_leaves_nothing(tmp_path):
    source = tmp_path / "model.pth"
    torch.save({"x": torch.zeros(1)}, source)
    with pytest.raises(WeightsInvalid, match="weights of another network"):
        converted.make(source, "0" * 64, "isnet", tmp_path)
    assert not list(tmp_path.glob("weights/[!.]*"))


def test_safetensors_are_used_as_they_are(tmp_path):
    source = tmp_path / "model.safetensors"

    assert converted.make(source, "0" * 64, "isnet", tmp_path) == source
    assert not (tmp_path / "weights").exists()


def test_records_name_the_source_whether_it_was_converted_before_or_not(tmp_path, source, sha256):
    settings = WorkerSettings.from_env(
        {
            "RMBG_HOME": str(tmp_path),
            "RMBG_WEIGHTS": str(source),
            "RMBG_MODELS": "isnet-general-use",
            "RMBG_DEVICE": "cpu",
            "RMBG_MEASURE": "0",
        }
    )
    load = Loader(settings, warm_up=False).load
    found = [load("isnet-general-use").segmenter.weights_sha256 for _ in range(2)]

    assert found == [sha256, sha256]
    assert converted.find(sha256, "isnet", tmp_path)


def test_a_start_from_converted_weights_does_not_import_onnx(kept):
    ended = subprocess.run(
        [sys.executable, "-c", LOAD, str(kept), *sys.path],
        capture_output=True,
        text=True,
        check=True,
    )

    assert ended.stdout == "False\n"
