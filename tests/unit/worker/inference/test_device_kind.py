"""The type of device that limits follow, known before a model is loaded."""

import pytest

from worker.inference.device_kind import device_kind


def refuse():
    raise AssertionError("torch was asked, which takes a second to import")


@pytest.mark.parametrize(
    ("name", "kind"), [("cpu", "cpu"), ("cuda", "cuda"), ("cuda:3", "cuda"), ("auto", "cpu")]
)
def test_torch_is_not_asked_where_the_name_or_the_lack_of_a_driver_decides(name, kind, tmp_path):
    assert device_kind(name, drivers=[tmp_path / "nvidiactl"], count=refuse) == kind


@pytest.mark.parametrize(("devices", "kind"), [(0, "cpu"), (1, "cuda"), (8, "cuda")])
def test_with_a_driver_torch_decides(devices, kind, tmp_path):
    assert device_kind("auto", drivers=[tmp_path], count=lambda: devices) == kind
