"""IS-Net: architecture, folded batch norm and fused blocks."""

import pytest
import torch

from shared.errors import WeightsInvalid
from worker.inference.architectures.isnet.fold import build, fold
from worker.inference.architectures.isnet.fuse import FusedBlock, Halve, fuse
from worker.inference.architectures.isnet.network import Network, Rsu, convolutions


@pytest.fixture(scope="module")
def published():
    """Return a network of the published architecture with random weights and statistics."""
    torch.manual_seed(0)
    network = Network().eval()
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_var", "bn_s1.weight")):
            tensor.uniform_(0.5, 2)
        elif name.endswith(("running_mean", "bn_s1.bias")):
            tensor.uniform_(-0.5, 0.5)
    return network


def test_the_network_has_the_published_number_of_parameters(published):
    assert sum(parameter.numel() for parameter in published.parameters()) == 44_046_790


def test_names_and_shapes_are_the_published_ones(published):
    """A sample of each kind; the widths are those of the paper's table."""
    shapes = {name: tuple(tensor.shape) for name, tensor in published.state_dict().items()}

    assert len(shapes) == 119 * 2 + 112 * 5
    assert shapes["conv_in.weight"] == (64, 3, 3, 3)
    assert shapes["stage1.rebnconvin.conv_s1.weight"] == (64, 64, 3, 3)
    assert shapes["stage1.rebnconv7.conv_s1.weight"] == (32, 32, 3, 3)
    assert shapes["stage1.rebnconv1d.conv_s1.weight"] == (64, 64, 3, 3)
    assert shapes["stage2.rebnconv6.bn_s1.running_mean"] == (32,)
    assert shapes["stage3.rebnconvin.conv_s1.bias"] == (256,)
    assert shapes["stage4.rebnconv3d.conv_s1.weight"] == (128, 256, 3, 3)
    assert shapes["stage6.rebnconv4.bn_s1.num_batches_tracked"] == ()
    assert shapes["stage5d.rebnconvin.conv_s1.weight"] == (512, 1024, 3, 3)
    assert shapes["stage1d.rebnconv2d.conv_s1.weight"] == (16, 32, 3, 3)
    assert [shapes[f"side{n}.weight"][1] for n in range(1, 7)] == [64, 64, 128, 256, 512, 512]


def test_a_saved_state_loads_unchanged_and_strictly(published, tmp_path):
    torch.save(published.state_dict(), tmp_path / "model.pth")
    other = Network()
    other.load_state_dict(torch.load(tmp_path / "model.pth", weights_only=True), strict=True)

    pairs = zip(published.state_dict().values(), other.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_convolutions_are_listed_in_order_of_execution(published):
    """Reading an ONNX export relies on it; side outputs 2 to 6 are not executed."""
    executed = []
    hooks = [
        conv.register_forward_hook(lambda *_args, name=name: executed.append(name))
        for name, conv in convolutions(published).items()
    ]
    with torch.inference_mode():
        published(torch.rand(1, 3, 64, 64) - 0.5)
    for hook in hooks:
        hook.remove()

    listed = list(convolutions(published))
    assert len(listed) == 119
    assert executed == listed[:-5]
    assert listed[-5:] == ["side2", "side3", "side4", "side5", "side6"]


@pytest.mark.parametrize("side_px", [64, 100])
def test_the_output_has_the_size_of_the_input(published, side_px):
    """Also if pooling rounds up."""
    with torch.inference_mode():
        output = published(torch.rand(1, 3, side_px, side_px) - 0.5)

    assert output.shape == (1, 1, side_px, side_px)
    assert 0 <= output.min() < output.max() <= 1


def test_the_receptive_field_of_the_flat_stage_follows_from_its_dilations():
    """A pixel affects others up to 1 + 1 + 2 + 4 + 8 (encoder) + 4 + 2 + 1 (decoder) away."""
    stage = Rsu(4, 1, 4, 1, flat=True, norm=False)
    for parameter in stage.parameters():
        torch.nn.init.uniform_(parameter, 0.01, 0.02)
    plain = torch.zeros(1, 1, 128, 128)
    dotted = plain.clone()
    dotted[0, 0, 64, 64] = 100
    with torch.inference_mode():
        touched = (stage(dotted) != stage(plain))[0, 0].nonzero()

    assert int((touched - 64).abs().max()) == 1 + 1 + 2 + 4 + 8 + 4 + 2 + 1


def test_folding_batch_norm_does_not_change_the_output(published):
    image = torch.rand(1, 3, 128, 128) - 0.5
    with torch.inference_mode():
        unfolded = published(image)
        folded = build(published.state_dict())(image)

    assert unfolded.std() > 0.005
    assert (folded - unfolded).abs().max() < 1e-4


def test_a_folded_state_can_be_built_again(published):
    """Weights from an ONNX export are already folded."""
    folded = fold(published.state_dict())

    assert all(torch.equal(folded[name], t) for name, t in build(folded).state_dict().items())


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda s: s.pop("side1.bias"), "side1.bias is missing"),
        (lambda s: s.pop("stage3.rebnconv2.bn_s1.running_var"), "running_var is missing"),
        (lambda s: s.update(extra=torch.zeros(1)), "extra is unknown"),
        (lambda s: s.update({"side1.bias": torch.zeros(2)}), r"side1.bias is \(2,\), not \(1,\)"),
        (lambda s: s.clear(), "and 235 more"),
    ],
    ids=["missing", "missing norm", "unknown", "shape", "empty"],
)
def test_a_state_of_another_network_is_rejected(published, damage, reason):
    state = dict(published.state_dict())
    damage(state)

    with pytest.raises(WeightsInvalid, match=reason):
        build(state)


def test_fusing_replaces_every_block_and_keeps_the_output(published):
    images = torch.rand(2, 3, 128, 128) - 0.5
    fused = fuse(build(published.state_dict()))
    with torch.inference_mode():
        plain = build(published.state_dict())(images)
        outputs = fused(images)

    blocks = [module for module in fused.modules() if isinstance(module, FusedBlock)]
    assert len(blocks) == 112
    assert plain.std() > 0.005
    assert (outputs - plain).abs().max() < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_halve_equals_max_pooling_and_keeps_channels_last(dtype):
    torch.manual_seed(0)
    maps = torch.randn(2, 24, 32, 64).to(dtype).contiguous(memory_format=torch.channels_last)
    maps[0, 0, 3, 5] = float("nan")

    halved, expected = Halve()(maps), torch.nn.functional.max_pool2d(maps, 2)

    assert torch.equal(halved.nan_to_num(9), expected.nan_to_num(9))
    assert halved.isnan().sum() == 1
    assert halved.is_contiguous(memory_format=torch.channels_last)


def test_without_the_operators_the_network_is_not_fused(published, monkeypatch):
    """They are private to torch, and a later version may remove them."""
    monkeypatch.setattr(torch.ops.mkldnn, "_convolution_pointwise", None)
    network = fuse(build(published.state_dict()))

    assert not any(isinstance(module, FusedBlock) for module in network.modules())
