"""A worker's settings, from a mapping."""

import pytest

from shared.errors import InvalidOption
from worker.settings import MEGA, MIB, WorkerSettings

HOME = {"HOME": "/home/someone"}


def read(**variables):
    return WorkerSettings.from_env(HOME | variables)


def test_defaults_are_those_of_the_design():
    settings = read()

    assert (settings.device, settings.precision, settings.models) == ("auto", "auto", ("RMBG-1.4",))
    assert (settings.lease_s, settings.stall_s, settings.drain_s) == (30, 300, 25)
    assert (settings.recover_s, settings.lost_s, settings.concurrency) == (1, 60, 3)
    assert (settings.max_pixels, settings.max_bytes) == (100 * MEGA, 100 * MIB)
    by_device = (settings.max_items, settings.budget_px, settings.budget_bytes, settings.io_threads)
    by_device += (settings.cpu_threads, settings.batch_wait_s, settings.batch_size)
    assert set(by_device) == {None}
    assert settings.weights is None


@pytest.mark.parametrize(
    ("variable", "value", "name", "read_as"),
    [
        ("RMBG_DEVICE", "cuda:1", "device", "cuda:1"),
        ("RMBG_PRECISION", "fp16", "precision", "fp16"),
        ("RMBG_MODELS", "isnet-general-use, RMBG-1.4", "models", ("isnet-general-use", "RMBG-1.4")),
        ("RMBG_CONCURRENCY", "5", "concurrency", 5),
        ("RMBG_LEASE_S", "7.5", "lease_s", 7.5),
        ("RMBG_STALL_S", "20", "stall_s", 20.0),
        ("RMBG_RECOVER_S", "0.2", "recover_s", 0.2),
        ("RMBG_LOST_S", "9", "lost_s", 9.0),
        ("RMBG_DRAIN_S", "12", "drain_s", 12.0),
        ("RMBG_BATCH_SIZE", "24", "batch_size", 24),
        ("RMBG_MAX_ITEMS", "9", "max_items", 9),
        ("RMBG_MAX_PIXELS", "1000", "max_pixels", 1000),
        ("RMBG_MAX_BYTES", "1001", "max_bytes", 1001),
        ("RMBG_BUDGET_PX", "1002", "budget_px", 1002),
        ("RMBG_BUDGET_BYTES", "1004", "budget_bytes", 1004),
        ("RMBG_IO_THREADS", "4", "io_threads", 4),
        ("RMBG_CPU_THREADS", "6", "cpu_threads", 6),
        ("RMBG_MAX_RSS_BYTES", "1003", "max_rss_bytes", 1003),
        ("RMBG_BATCH_WAIT_S", "0.5", "batch_wait_s", 0.5),
        ("RMBG_OBJECTS", "boto3", "store_client", "boto3"),
        ("RMBG_KEEP_PREVIEWS_DAYS", "7", "keep_previews_days", 7),
    ],
)
def test_each_variable_has_its_field(variable, value, name, read_as):
    assert getattr(read(**{variable: value}), name) == read_as


def test_own_weights_are_a_path_below_the_home_that_was_given():
    assert str(read(RMBG_WEIGHTS="~/w.onnx").weights) == "/home/someone/w.onnx"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RMBG_PRECISION", "fp8"),
        ("RMBG_CONCURRENCY", "0"),
        ("RMBG_CONCURRENCY", "many"),
        ("RMBG_LEASE_S", "0"),
        ("RMBG_LEASE_S", "nan"),
        ("RMBG_STALL_S", "-1"),
        ("RMBG_DRAIN_S", "inf"),
        ("RMBG_MAX_ITEMS", "0"),
        ("RMBG_BATCH_SIZE", "0"),
        ("RMBG_BATCH_SIZE", "257"),
        ("RMBG_MAX_RSS_BYTES", "-1"),
        ("RMBG_BUDGET_BYTES", "0"),
        ("RMBG_IO_THREADS", "0"),
        ("RMBG_OBJECTS", "minio"),
        ("RMBG_KEEP_PREVIEWS_DAYS", "0"),
        ("RMBG_MODELS", " , "),
        ("RMBG_REDIS_URL", "http://host"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(variable, value):
    with pytest.raises(InvalidOption, match=variable):
        read(**{variable: value})


def test_all_problems_are_told_at_once():
    with pytest.raises(InvalidOption) as caught:
        read(RMBG_LEASE_S="x", RMBG_PRECISION="y", RMBG_S3_ENDPOINT="z", RMBG_MAX_ITEMS="0")

    for name in ("RMBG_LEASE_S", "RMBG_PRECISION", "RMBG_S3_ENDPOINT", "RMBG_MAX_ITEMS"):
        assert name in str(caught.value)


def test_secrets_do_not_show():
    settings = read(
        RMBG_REDIS_URL="redis://:hunter2@host/0",
        RMBG_S3_ACCESS_KEY_ID="key-id",
        RMBG_S3_SECRET_ACCESS_KEY="hunter3",
    )

    for secret in ("hunter2", "hunter3", "key-id"):
        assert secret not in repr(settings)
