"""Which models are loaded and refused, and whether one is tried on a blank image."""

import pytest
import torch
from support.onnx_models import made_model

from shared.errors import DeviceLost, LicenceRefused
from worker.inference import Loader
from worker.inference.architectures.isnet.network import Network
from worker.settings import WorkerSettings

MODEL = "isnet-general-use"


@pytest.fixture
def load(tmp_path):
    """Load weights that give no finite number, as those of a faulty device."""
    network = Network(norm=False)
    torch.nn.init.constant_(network.side1.weight, torch.nan)
    torch.save(network.state_dict(), tmp_path / "model.pth")

    def load(measure):
        variables = {
            "RMBG_HOME": str(tmp_path / "home"),
            "RMBG_WEIGHTS": str(tmp_path / "model.pth"),
            "RMBG_MODELS": MODEL,
            "RMBG_DEVICE": "cpu",
            "RMBG_PRECISION": "fp32",
            "RMBG_MEASURE": measure,
        }
        return Loader(WorkerSettings.from_env(variables)).load(MODEL)

    return load


def test_a_worker_tries_a_blank_image(load):
    with pytest.raises(DeviceLost):
        load("1")


def test_a_cpu_without_measurements_does_not(load):
    assert load("0").segmenter.device == "cpu"


def test_cutouts_of_a_model_are_made_where_its_segmenter_decides(load):
    model = load("0")

    assert model.compose == model.segmenter.compose


@pytest.fixture
def onnx_settings(tmp_path):
    path = made_model(tmp_path / "u2net.onnx", 320)

    def settings(**variables):
        given = {
            "RMBG_HOME": str(tmp_path / "home"),
            "RMBG_WEIGHTS": str(path),
            "RMBG_MODELS": "u2net",
            "RMBG_DEVICE": "cpu",
            "RMBG_OFFLINE": "1",
        }
        return WorkerSettings.from_env(given | variables)

    return settings


def test_a_model_in_onnx_is_loaded_and_tried(onnx_settings):
    model = Loader(onnx_settings()).load("u2net")

    assert (model.name, model.segmenter.device, model.segmenter.batch_size) == ("u2net", "cpu", 1)
    assert model.licence.startswith("Apache-2.0")


def test_a_model_by_another_name_is_the_same_model(onnx_settings):
    settings = onnx_settings(RMBG_MODELS="RMBG-2.0,isnet-general-use")

    assert settings.models == ("bria-rmbg", "isnet-general-use")


def test_models_that_are_known_by_an_md5_are_refused_if_settings_are_strict(onnx_settings):
    strict = Loader(onnx_settings(RMBG_MODELS_STRICT="1"))
    reason = "its weights are known by an MD5 only, and RMBG_MODELS_STRICT=1"

    assert strict.refused()["silueta"] == reason
    with pytest.raises(LicenceRefused, match=f"silueta: {reason}"):
        strict.load("silueta")
    assert "MD5" not in Loader(onnx_settings()).refused()["silueta"]


def test_a_worker_refuses_the_models_that_it_has_no_weights_for(onnx_settings):
    refused = Loader(onnx_settings()).refused()

    assert "u2net" not in refused
    assert refused["u2netp"] == "its weights are not in RMBG_HOME, and RMBG_OFFLINE=1"
