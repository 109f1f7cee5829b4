"""How many bytes an image's record takes: a job of a million images has as many of them."""

import pytest

from shared.job.record import ItemRecord, OutputFacts

KEY = "catalogue/2026/0123/product-0123456.jpg"
PASSED = OutputFacts(
    bytes=377_345, width=2000, height=2000, format="jpg", verdict="ok", upscaled=1.131
)
FAILED = OutputFacts(
    bytes=377_345,
    width=2000,
    height=2000,
    format="jpg",
    verdict="review",
    failed={"white_background": ("312, 201, 0.4", True), "fill": (0.42, "0.85 1")},
    fixes=("quality 85",),
)


def line_bytes(outputs, facts=PASSED):
    """Return the size of a line of `results.jsonl`."""
    record = ItemRecord(
        index=123_456,
        image_key=KEY,
        state="done",
        cutout_key=f"out/cutout/{KEY}.png",
        mask_key=f"out/mask/{KEY}.png",
        width=2000,
        height=2000,
        device="cuda:0",
        sizes={"mask": 27_419, "cutout": 1_529_110},
        qc={
            "coverage": 0.5315,
            "box": [10, 10, 1400, 1300],
            "touches": [],
            "soft": 0.0121,
            "parts": 1,
            "holes": 0,
            "uncertainty": 0.0194,
            "low": 0.0,
            "high": 0.9964,
            "verdict": "ok",
        },
        model="isnet-general-use",
        weights_sha256="b6" * 32,
        outputs={f"output-{n:02}": facts for n in range(outputs)},
    )
    return len(record.to_json().encode())


@pytest.mark.parametrize(("outputs", "most"), [(0, 700), (1, 800), (5, 1_200), (16, 2_200)])
def test_a_record_with_outputs_that_pass_takes_few_bytes(outputs, most):
    assert 0.9 * most < line_bytes(outputs) <= most


def test_an_output_that_passes_adds_at_most_95_bytes_and_one_that_fails_200():
    assert line_bytes(16) - line_bytes(0) <= 16 * 95
    assert line_bytes(16, FAILED) - line_bytes(0) <= 16 * 200
