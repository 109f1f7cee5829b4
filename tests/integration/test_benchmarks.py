"""The benchmarks run: a few items each, without assertions on time."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image
from support.weights import isnet_weights

from benchmarks import memory, network, output_items, report, saturation, scale, stages, whole
from benchmarks.baseline import seed
from benchmarks.products import jpeg, product, write_products
from worker.inference.architectures.isnet.tensors import load_state_dict
from worker.inference.segmenter import Segmenter

pytestmark = pytest.mark.integration


def test_product_images_are_reproducible_and_differ_from_each_other(tmp_path):
    first = [path.read_bytes() for path in write_products(tmp_path / "a", 2, 64)]
    again = [path.read_bytes() for path in write_products(tmp_path / "b", 2, 64)]
    assert first == again
    assert first[0] != first[1]


def test_scale_counts_every_item_once(tmp_path):
    (run,) = scale.measure([(2, 80)], tmp_path, warm_up=80)
    assert run.exact
    assert run.items == 80
    assert 0 < run.device_busy <= 1
    assert 1 <= run.slots_full <= 16
    # Each ticket of 16 items needs some commands.
    assert run.commands > 0.1
    assert run.commands_with_scripts > run.commands


def test_memory_is_sampled_until_the_last_image(tmp_path):
    found = memory.measure(tmp_path, items=30)
    assert found["peak_mib"] > 20
    assert max(found["rss_mib"]) == 30


def test_a_fast_device_behind_a_slow_store_is_measured_with_both_defaults():
    found = saturation.measure(warm_up_s=0.2, seconds=0.5)
    assert {kind: one["max_items"] for kind, one in found.items()} == {"cpu": 48, "cuda": 400}
    assert all(one["images_per_s"] > 0 for one in found.values())
    assert saturation.table(found).count("\n") == 3


def test_each_case_of_outputs_is_measured():
    mask = np.zeros((256, 256), np.uint8)
    mask[64:192, 64:192] = 255

    found = output_items.cpu_ms([(jpeg(product(1, 256)), mask)], 1)

    assert set(found["one_more_output_ms"]) == {each.name for each in output_items.FIVE} | {
        "shadow"
    }
    assert set(found["render_stage_ms"]) == set(output_items.CASES)
    assert all(ms > 0 for ms in found["render_stage_ms"].values())


def test_the_network_needs_319_gflop_per_image():
    assert round(network.flop_an_image() / 1e9) == 319


@pytest.mark.weights
def test_the_seed_loop_and_the_worker_return_the_same_mask(tmp_path):
    """Their order of arithmetic differs, and with it a mask by at most one level."""
    image = product(1, 256)
    source, target = tmp_path / "a.jpg", tmp_path / "a.png"
    source.write_bytes(jpeg(image))
    seed(isnet_weights(), "cpu")(source, target)
    with Image.open(source) as file:
        decoded = np.array(file.convert("RGB"))
    segmenter = Segmenter.load(isnet_weights(), device="cpu", precision="fp32")
    (output,) = segmenter.forward([segmenter.prepare(decoded)])
    expected = segmenter.finish(output, 256, 256, stretch="seed").mask
    with Image.open(target) as file:
        found = np.array(file)[..., 3]
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
    assert expected.max() == 255


@pytest.mark.weights
def test_the_weights_for_rembg_are_the_same_in_fp32(tmp_path):
    copy = whole.fp32_copy(isnet_weights(), tmp_path / "full.onnx")
    session = onnxruntime.InferenceSession(str(copy), providers=["CPUExecutionProvider"])
    assert session.get_outputs()[0].type == "tensor(float)"
    kinds = {tensor.data_type for tensor in onnx.load(copy).graph.initializer}
    assert onnx.TensorProto.FLOAT16 not in kinds
    ours, theirs = load_state_dict(isnet_weights()), load_state_dict(copy)
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in ours)


@pytest.mark.weights
def test_stages_and_network_are_measured_and_written_to_the_page(tmp_path):
    facts = {
        "at": "2026-01-02T03:04:05+00:00",
        "commit": "abc",
        "changed_since_commit": False,
        "machine": {"cpu": "some", "cores": 2, "memory_gib": 8.0, "gpu": None},
        "load_before": 0.1,
        "python": "3.11",
        "versions": {"torch": "2"},
    }
    found = {
        "stages": stages.measure(
            isnet_weights(), tmp_path, device="cpu", images=1, rounds=1, side_px=96
        ),
        "network": network.measure(isnet_weights(), device="cpu", rounds=1, batches=(1,)),
    }
    for name, result in found.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"facts": facts, "result": result}))
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.write_page(report.load(tmp_path), page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| decode |" in text
    assert "| fp32 |" in text


def test_a_page_without_markers_is_not_overwritten(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("by hand\n")
    with pytest.raises(ValueError, match="markers"):
        report.write_page({}, page)
    assert page.read_text() == "by hand\n"
