"""Tests of the choice of a CUDA device, with facts as a driver and torch report them."""

import pytest
import torch

from shared.errors import ConfigError, DeviceFull, DeviceLost, DeviceMissing, DeviceUnsupported
from worker.inference.cuda_support import CudaFacts
from worker.inference.devices import pick_device

CUDA_13 = ("sm_75", "sm_80", "sm_90", "sm_100", "sm_120", "compute_120")


def facts(
    *,
    driver=(13, 0),
    devices=1,
    capability=(9, 0),
    architectures=CUDA_13,
    built_for="13.0",
    error=None,
):
    def capability_of(number):
        assert 0 <= number < devices
        if error is not None:
            raise error
        return capability

    return lambda: CudaFacts(
        torch="2.13.0",
        built_for=built_for,
        architectures=architectures,
        driver=driver,
        devices=devices,
        capability=capability_of,
    )


@pytest.mark.parametrize("name", ["auto", "cuda", "cuda:1"])
def test_a_driver_that_is_too_old_is_an_error_that_names_versions_and_remedy(name):
    with pytest.raises(DeviceUnsupported) as caught:
        pick_device(name, facts(driver=(12, 4), devices=0))

    assert isinstance(caught.value, ConfigError)  # exit code 2
    for part in ("CUDA 12.4", "torch 2.13.0", "CUDA 13.0", "install", "RMBG_DEVICE=cpu"):
        assert part in str(caught.value)


def test_the_cpu_needs_no_driver():
    def never():
        raise AssertionError("asked for CUDA")

    assert pick_device("cpu", never) == torch.device("cpu")


@pytest.mark.parametrize(
    "found",
    [
        facts(driver=None, devices=0),
        facts(driver=(12, 4), devices=0, built_for=None, architectures=()),
        facts(driver=(13, 0), devices=0),
    ],
    ids=["no driver", "torch without CUDA", "no visible device"],
)
def test_auto_is_the_cpu_where_nothing_is_too_old(found):
    assert pick_device("auto", found) == torch.device("cpu")


def test_an_older_driver_of_the_same_major_version_is_used():
    found = facts(driver=(12, 2), built_for="12.8")

    assert pick_device("auto", found) == torch.device("cuda", 0)


def test_a_device_that_is_not_there_is_missing():
    with pytest.raises(DeviceMissing, match="sees 2 CUDA devices"):
        pick_device("cuda:2", facts(devices=2))


@pytest.mark.parametrize("name", ["auto", "cuda:0"])
def test_a_device_without_code_is_an_error_that_names_versions_and_remedy(name):
    with pytest.raises(DeviceUnsupported) as caught:
        pick_device(name, facts(capability=(7, 0)))

    for part in ("cuda:0", "7.0", "torch 2.13.0", "driver for CUDA 13.0", "sm_75", "install"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("architectures", "capability", "runs"),
    [
        (["sm_80"], (8, 0), True),
        (["sm_80"], (8, 6), True),
        (["sm_86"], (8, 0), False),
        (["sm_80"], (9, 0), False),
        (["sm_80", "compute_80"], (9, 0), True),
        (["compute_90"], (8, 0), False),
        (["sm_90a"], (9, 0), True),
        (["sm_100a"], (10, 3), False),
        (["sm_100f"], (10, 3), True),
        (["compute_100f"], (12, 0), False),
        (["sm_120"], (12, 0), True),
        (["gfx90a"], (9, 0), True),
    ],
)
def test_code_runs_on_later_minor_versions_and_ptx_on_all_later_ones(
    architectures, capability, runs
):
    found = facts(architectures=architectures, capability=capability)
    if runs:
        assert pick_device("auto", found).type == "cuda"
    else:
        with pytest.raises(DeviceUnsupported):
            pick_device("auto", found)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.cuda.DeferredCudaCallError("CUDA call failed lazily"), DeviceLost),
        (RuntimeError("CUDA error: unspecified launch failure"), DeviceLost),
        (torch.OutOfMemoryError("CUDA out of memory"), DeviceFull),
    ],
)
def test_an_error_of_torch_while_cuda_starts_is_a_fault_of_the_device(error, expected):
    with pytest.raises(expected):
        pick_device("auto", facts(error=error))


def test_the_facts_of_this_machine_can_be_read():
    found = CudaFacts.read()

    assert found.torch == torch.__version__
    assert found.devices == (torch.cuda.device_count() if torch.cuda.is_available() else 0)
