"""Figures of a GPU from a stand-in for NVML."""

from types import SimpleNamespace

import pytest

from worker.monitoring.gpu import GpuFigures, load_nvml

UUID = "GPU-8a56a4bc"
ALL = {
    "memory_used_bytes": 3 * 2**30,
    "memory_bytes": 80 * 2**30,
    "utilisation_ratio": 0.97,
    "temperature_celsius": 61.0,
}


class NvmlError(Exception):
    pass


class FakeNvml:
    """One GPU, which fails calls whose names are in `failing`."""

    NVMLError = NvmlError

    def __init__(self):
        self.failing = set()
        self.looked_up = []

    def nvmlInit(self):  # noqa: N802
        self._enter("init")

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802 - NVML's
        self._enter("handle")
        self.looked_up.append(uuid)
        return uuid

    def nvmlDeviceGetMemoryInfo(self, handle):  # noqa: N802
        self._enter("memory", handle)
        return SimpleNamespace(used=3 * 2**30, total=80 * 2**30)

    def nvmlDeviceGetUtilizationRates(self, handle):  # noqa: N802
        self._enter("utilisation", handle)
        return SimpleNamespace(gpu=97)

    def nvmlDeviceGetTemperature(self, handle, sensor):  # noqa: N802
        self._enter("temperature", handle)
        assert sensor == 0
        return 61

    def _enter(self, call, handle=UUID):
        assert handle == UUID
        if call in self.failing:
            raise NvmlError(call)


@pytest.fixture
def nvml():
    return FakeNvml()


def test_the_figures_are_those_of_the_device_with_the_uuid(nvml):
    figures = GpuFigures(nvml)

    assert figures.read(UUID) == figures.read(UUID) == ALL
    assert nvml.looked_up == [UUID]


@pytest.mark.parametrize("call", ["memory", "utilisation", "temperature"])
def test_what_the_device_does_not_report_is_left_out(nvml, call):
    nvml.failing.add(call)

    found = GpuFigures(nvml).read(UUID)

    assert found == {name: value for name, value in ALL.items() if not name.startswith(call)}


def test_an_unknown_device_has_no_figures_until_the_driver_finds_it(nvml):
    nvml.failing.add("handle")
    figures = GpuFigures(nvml)
    assert figures.read(UUID) == {}

    nvml.failing.clear()

    assert figures.read(UUID) == ALL


def test_a_driver_that_answers_is_used(nvml):
    assert load_nvml(lambda: nvml) is nvml


def test_a_machine_without_the_package_has_no_figures():
    def find():
        raise ModuleNotFoundError("No module named 'pynvml'")

    assert load_nvml(find) is None


def test_a_machine_without_a_driver_has_no_figures(nvml):
    nvml.failing.add("init")

    assert load_nvml(lambda: nvml) is None
