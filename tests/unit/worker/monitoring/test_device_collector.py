"""The device and the figures of the GPU, as Prometheus gets them."""

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry
from support.stand_ins import stand_in_model

from worker.inference import Hardware, ModelCache
from worker.monitoring.device_collector import DeviceCollector

ABOUT = {"worker_id": "w", "device": "auto"}
UUID = "GPU-8a56a4bc"


class Figures:
    def read(self, uuid):
        return {"temperature_celsius": 61.0} if uuid == UUID else {}


def model_on(hardware):
    model = stand_in_model()
    model.segmenter.device, model.segmenter.hardware = "cuda:0", hardware
    return replace(model, name="m")


def registry(models, gpu=None):
    made = CollectorRegistry()
    made.register(DeviceCollector(about=ABOUT, models=models, gpu=gpu))
    return made.get_sample_value


@pytest.fixture
def models():
    return ModelCache(lambda _name: model_on(Hardware("NVIDIA H100 80GB HBM3", UUID)))


def test_the_device_is_named_once_a_model_is_loaded(models):
    value = registry(models)
    assert value("rmbg_worker_info", {**ABOUT, "device_name": ""}) == 1

    models.get("m")

    labels = {**ABOUT, "device": "cuda:0", "device_name": "NVIDIA H100 80GB HBM3"}
    assert value("rmbg_worker_info", labels) == 1


def test_the_figures_are_those_of_the_gpu_in_use(models):
    value = registry(models, Figures())
    assert value("rmbg_gpu_temperature_celsius") is None

    models.get("m")

    assert value("rmbg_gpu_temperature_celsius") == 61


def test_without_nvml_there_are_no_figures(models):
    models.get("m")

    assert registry(models)("rmbg_gpu_temperature_celsius") is None


def test_a_cpu_has_no_figures():
    models = ModelCache(lambda _name: model_on(Hardware("EPYC")))
    models.get("m")

    assert registry(models, Figures())("rmbg_gpu_temperature_celsius") is None
