"""What a worker does and holds at once: a table by device, and settings that win over it."""

import pytest

from worker.engine.limits import Limits, choose_limits, limits_for
from worker.settings import MEGA, MIB, WorkerSettings

GIB = 2**30
CPU = {
    "max_items": 48,
    "budget_px": 150 * MEGA,
    "budget_bytes": 512 * MIB,
    "io_threads": 16,
    "cpu_threads": 16,
    "batch_wait_s": 0.05,
    "max_rss_bytes": 96 * GIB,
}
CUDA = CPU | {
    "max_items": 400,
    "budget_px": 1600 * MEGA,
    "budget_bytes": 4 * GIB,
    "io_threads": 128,
    "batch_wait_s": 0.02,
}
TABLE = [
    ("cpu", 128, 1, CPU),
    ("cpu", 1, 1, CPU | {"max_rss_bytes": 3 * GIB // 4}),
    ("cuda", 128, 1, CUDA),
    (
        "cuda",
        16,
        1,
        CUDA
        | {
            "budget_px": 4 * GIB // 8,
            "budget_bytes": 2 * GIB,
            "max_rss_bytes": 12 * GIB,
        },
    ),
    (
        "cuda",
        128,
        4,
        CUDA
        | {
            "max_items": 100,
            "budget_px": 8 * GIB // 8,
            "io_threads": 32,
            "cpu_threads": 4,
            "max_rss_bytes": 24 * GIB,
        },
    ),
    (
        "cuda",
        1,
        32,
        CUDA
        | {
            "max_items": 96,
            "budget_px": 60 * MEGA,
            "budget_bytes": 256 * MIB,
            "io_threads": 32,
            "cpu_threads": 1,
            "max_rss_bytes": 24 * MIB,
        },
    ),
]


@pytest.mark.parametrize(("kind", "gib", "children", "expected"), TABLE)
def test_defaults_follow_the_device_the_machine_and_the_processes(kind, gib, children, expected):
    found = limits_for(kind, cores=16, memory_bytes=gib * GIB, children=children)

    assert found == Limits(**expected)


@pytest.mark.parametrize("children", range(1, 17))
def test_what_processes_share_is_never_more_than_the_machine_has(children):
    one = limits_for("cuda", cores=16, memory_bytes=128 * GIB, children=children)

    assert children * one.cpu_threads <= 16
    assert children * one.max_rss_bytes <= 96 * GIB
    held_bytes = children * (8 * one.budget_px + one.budget_bytes)
    assert held_bytes <= 48 * GIB


@pytest.mark.parametrize(("kind", "is_enough"), [("cuda", True), ("cpu", False)])
def test_a_store_that_answers_after_30_ms_carries_900_images_per_second(kind, is_enough):
    """A download and two writes for each image, and two batches of 32 beside them."""
    limits = limits_for(kind, cores=16, memory_bytes=128 * GIB)
    downloads, writes = 900 * 0.03, 900 * 0.06

    enough_threads = limits.io_threads >= max(downloads, writes)
    enough_items = limits.max_items >= downloads + writes + 2 * 32
    assert (enough_threads and enough_items) is is_enough


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
@pytest.mark.parametrize(
    ("variable", "value", "name", "read_as"),
    [
        ("RMBG_MAX_ITEMS", "7", "max_items", 7),
        ("RMBG_BUDGET_PX", "1001", "budget_px", 1001),
        ("RMBG_BUDGET_BYTES", "1002", "budget_bytes", 1002),
        ("RMBG_IO_THREADS", "5", "io_threads", 5),
        ("RMBG_CPU_THREADS", "33", "cpu_threads", 33),
        ("RMBG_BATCH_WAIT_S", "0", "batch_wait_s", 0.0),
        ("RMBG_MAX_RSS_BYTES", "1003", "max_rss_bytes", 1003),
    ],
)
def test_a_setting_wins_over_the_default_of_any_device(kind, variable, value, name, read_as):
    limits = choose_limits(WorkerSettings.from_env({variable: value}), kind)

    assert getattr(limits, name) == read_as


@pytest.mark.parametrize("value", ["", "  ", "0"])
def test_a_blank_limit_of_memory_and_zero_mean_the_default(value):
    settings = WorkerSettings.from_env({"RMBG_MAX_RSS_BYTES": value})

    assert choose_limits(settings, "cpu") == choose_limits(WorkerSettings.from_env({}), "cpu")


def test_a_lower_limit_of_memory_lowers_what_is_held_in_it():
    """Otherwise a process would fill its memory within its limits, and leave."""
    settings = WorkerSettings.from_env({"RMBG_MAX_RSS_BYTES": str(3 * GIB)})

    limits = choose_limits(settings, "cuda")

    assert (limits.budget_px, limits.budget_bytes) == (GIB // 8, GIB // 2)
    assert limits.max_rss_bytes == 3 * GIB


def test_processes_share_the_machine():
    alone = choose_limits(WorkerSettings.from_env({}), "cuda")
    shared = choose_limits(WorkerSettings.from_env({"RMBG_PROCESSES": "4"}), "cuda")

    assert (alone.io_threads, shared.io_threads) == (128, 32)
    assert (alone.max_items, shared.max_items) == (400, 100)
    assert shared.max_rss_bytes == alone.max_rss_bytes // 4
    assert shared.cpu_threads == max(1, alone.cpu_threads // 4)


def test_a_limit_of_memory_is_that_of_one_process():
    variables = {"RMBG_MAX_RSS_BYTES": str(GIB)}
    alone = choose_limits(WorkerSettings.from_env(variables), "cuda")
    shared = choose_limits(WorkerSettings.from_env(variables | {"RMBG_PROCESSES": "2"}), "cuda")

    assert (shared.budget_px, shared.budget_bytes) == (alone.budget_px, alone.budget_bytes)
    assert shared.max_rss_bytes == GIB
