"""Whether a loaded model is tried on a blank image."""

import pytest
import torch

from shared.errors import DeviceLost
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
