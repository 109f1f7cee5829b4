"""Engines equal the plain network, are kept and found again, and compiled anew when they must be.

The compiler here is torch's export itself, which runs the program that TensorRT would compile.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from importlib.metadata import PackageNotFoundError, version

import pytest
import torch
from torch import nn

from shared.errors import InvalidOption
from worker.inference.architectures.isnet.network import Network, lower
from worker.inference.engines import FOLDER, Engine, Engines, NetworkKey
from worker.inference.forward import Forward
from worker.inference.tensorrt import TensorRt

SIDE_PX = 64
KEY = NetworkKey("0123456789abcdef", "isnet", "NVIDIA H100")
CPU = torch.device("cpu")


class Exports:
    """A compiler that keeps the exported program as it is."""

    install = "pip install exports"

    def __init__(self, version="exports 1", error=None):
        self.version = version
        self.compiled = 0
        self._error = error

    def compile(self, program, like):
        self.compiled += 1
        if self._error is not None:
            raise self._error
        self.program = program
        return program.module()

    def save(self, engine, like, path):
        torch.export.save(self.program, path)

    def load(self, path):
        return torch.export.load(path).module()


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 1, 3, padding=1), nn.Sigmoid()).eval()


def images(count, side_px=SIDE_PX):
    return torch.rand((count, 3, side_px, side_px), generator=torch.manual_seed(count)) - 0.5


def spread(network):
    """Scale random weights, whose outputs would all be alike, so that they range from 0 to 1."""
    with torch.no_grad():
        logit = torch.logit(network(images(1)))
        network.side1.weight *= 3 / logit.std()
        network.side1.bias.sub_(logit.mean()).mul_(3 / logit.std())
    return network


def build(network, home, compiler=None, key=KEY, dtype=torch.float32):
    """Build an engine as another process would; return it and its compiler."""
    compiler = compiler or Exports()
    like = images(1).to(dtype)
    return Engines(home, compiler).build(lower(network, dtype), key, like), compiler


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_engine_of_is_net_equals_the_plain_network(tmp_path, dtype):
    """For any number of images, also after it was kept and loaded, in the pass of a worker."""
    torch.manual_seed(0)
    network = spread(Network(norm=False).eval())
    build(network, tmp_path, dtype=dtype)
    engine, compiler = build(network, tmp_path, dtype=dtype)
    assert compiler.compiled == 0

    prepared = list((255 * (images(5) + 0.5)).to(torch.uint8))
    plain = Forward(network, device=CPU, dtype=dtype)
    run = Forward(engine, device=CPU, dtype=dtype)
    expected = plain(prepared)

    assert float(torch.stack(expected).std()) > 0.1
    for count in (1, 2, 3, 5):
        for found, output in zip(run(prepared[:count]), expected, strict=False):
            assert float((found - output).abs().max()) <= (1e-5 if dtype == torch.float32 else 0.01)


def test_batches_are_padded_to_the_next_size_and_split_above_the_greatest():
    sizes = []

    def run(x):
        sizes.append(len(x))
        assert x.is_contiguous()
        return x[:, :1] * 2

    engine = Engine(run, sizes=(1, 2, 4))

    for count in (1, 2, 3, 4, 7):
        x = images(count).contiguous(memory_format=torch.channels_last)
        assert torch.equal(engine(x), x[:, :1] * 2)
    assert sizes == [1, 2, 4, 4, 4, 4]


def test_an_engine_is_compiled_once_and_loaded_by_later_starts(tmp_path, network):
    _, first = build(network, tmp_path)
    engine, second = build(network, tmp_path)

    assert (first.compiled, second.compiled) == (1, 0)
    torch.testing.assert_close(engine(images(3)), network(images(3)))


@pytest.mark.parametrize(
    "other",
    [
        {"key": NetworkKey("fedcba", KEY.architecture, KEY.device)},
        {"key": NetworkKey(KEY.weights_sha256, "other", KEY.device)},
        {"key": NetworkKey(KEY.weights_sha256, KEY.architecture, "NVIDIA L4")},
        {"dtype": torch.bfloat16},
        {"compiler": Exports("exports 2")},
    ],
    ids=["weights", "architecture", "device", "precision", "version of the compiler"],
)
def test_an_engine_for_something_else_is_not_used(tmp_path, network, other):
    build(network, tmp_path)

    _, compiler = build(network, tmp_path, **other)

    assert compiler.compiled == 1
    assert len(list((tmp_path / FOLDER).glob("*.pt2"))) == 2


def _flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "one bit": _flip_a_byte,
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "no checksum": lambda path: path.with_name(f"{path.name}.sha256").unlink(),
    "others may write it": lambda path: path.chmod(0o666),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_engine_is_compiled_again(tmp_path, network, damage, caplog):
    build(network, tmp_path)
    [path] = (tmp_path / FOLDER).glob("*.pt2")
    damage(path)

    engine, compiler = build(network, tmp_path)

    assert compiler.compiled == 1
    assert "engine not loaded but compiled again" in caplog.messages
    torch.testing.assert_close(engine(images(1)), network(images(1)))
    assert build(network, tmp_path)[1].compiled == 0


def test_an_engine_that_the_installed_libraries_cannot_load_is_compiled_again(tmp_path, network):
    class Other(Exports):
        def load(self, path):
            raise RuntimeError("made by another driver")

    build(network, tmp_path)

    assert build(network, tmp_path, Other())[1].compiled == 1


def test_a_folder_that_cannot_be_written_compiles_at_every_start(tmp_path, network, caplog):
    home = tmp_path / "file"
    home.write_text("")

    engine, compiler = build(network, home)

    assert compiler.compiled == 1
    assert "engine not stored; every start compiles" in caplog.messages
    torch.testing.assert_close(engine(images(2)), network(images(2)))


def test_processes_that_start_together_compile_once(tmp_path, network):
    entered, go_on = threading.Event(), threading.Event()

    class Slow(Exports):
        def compile(self, program, like):
            entered.set()
            assert go_on.wait(30)
            return super().compile(program, like)

    slow, second = Slow(), Exports()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(build, network, tmp_path, slow)
        assert entered.wait(30)
        other = pool.submit(build, deepcopy(network), tmp_path, second)
        go_on.set()
        first.result(60)
        other.result(60)

    assert (slow.compiled, second.compiled) == (1, 0)


def test_a_compiler_that_is_not_installed_is_refused_with_what_to_install(tmp_path, network):
    missing = Exports(version=None)

    assert Engines(tmp_path, missing).missing == "it is not installed: pip install exports"
    with pytest.raises(InvalidOption, match=r"RMBG_BACKEND=tensorrt .* pip install exports"):
        build(network, tmp_path, missing)
    assert missing.compiled == 0


def test_a_network_that_cannot_be_compiled_is_refused_with_the_cause(tmp_path, network):
    failing = Exports(error=ValueError("no converter"))

    with pytest.raises(InvalidOption, match=r"ValueError: no converter\); use another back end"):
        build(network, tmp_path, failing)


def test_tensorrt_says_whether_it_is_installed():
    try:
        expected = version("torch-tensorrt")
    except PackageNotFoundError:
        assert TensorRt().version is None
        assert "rmbg-queue[tensorrt]" in Engines(None, TensorRt()).missing
    else:
        assert expected in TensorRt().version
