"""Open a model in ONNX Runtime on the wanted device, or refuse: never on another device."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from shared.errors import DeviceUnsupported, WeightsInvalid

if TYPE_CHECKING:
    import onnxruntime as ort

logger = logging.getLogger(__name__)

PROVIDERS: Final = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""Execution providers by type of device."""
HEAVY: Final = frozenset({"Conv", "ConvTranspose", "FusedConv", "Gemm", "MatMul", "NhwcFusedConv"})
"""Operators that take nearly all of the time of a network. All of them must be on the device."""
_RECORD: Final = "session.record_ep_graph_assignment_info"
_ERRORS_ONLY: Final = 3


def open_session(path: Path, device: torch.device, *, threads: int) -> "ort.InferenceSession":
    """Return a session of the model in *path* on *device*.

    ONNX Runtime itself only warns if a provider is missing, and runs on the CPU.

    Args:
        path: An ONNX file.
        device: The device that must run the network.
        threads: Threads of one pass on a CPU.

    Raises:
        DeviceUnsupported: If ONNX Runtime is not installed or cannot use the device.
        WeightsInvalid: If the file is not a model that ONNX Runtime reads.
    """
    runtime = _runtime()
    provider = PROVIDERS[device.type]
    if provider not in runtime.get_available_providers():
        raise DeviceUnsupported(
            f"this build of ONNX Runtime {runtime.__version__} has no {provider}:"
            " install rmbg-queue[onnx-gpu] instead of rmbg-queue[onnx]"
        )
    given = {"device_id": device.index or 0} if device.type == "cuda" else {}
    try:
        session = runtime.InferenceSession(
            str(path), _options(runtime, device, threads), providers=[(provider, given)]
        )
    except Exception as err:  # its errors have no common class
        raise WeightsInvalid(f"{path.name}: ONNX Runtime does not load it: {err}") from err
    session.disable_fallback()
    check_placement(session, provider)
    return session


def check_placement(session: "ort.InferenceSession", provider: str) -> None:
    """Check that *provider* runs every heavy operator of the network.

    Raises:
        DeviceUnsupported: If another one runs some of them; names their number and the provider.
    """
    found = session.get_providers()[0]
    if found != provider:
        raise DeviceUnsupported(f"ONNX Runtime chose {found} and not {provider}")
    elsewhere = heavy_operators_elsewhere(session.get_provider_graph_assignment_info(), provider)
    if elsewhere:
        counted = ", ".join(f"{count} by {name}" for name, count in sorted(elsewhere.items()))
        raise DeviceUnsupported(
            f"ONNX Runtime runs heavy operators of the network elsewhere than {provider}: {counted}"
        )


def heavy_operators_elsewhere(subgraphs: list[Any], provider: str) -> dict[str, int]:
    """Return how many heavy operators each other provider than *provider* runs."""
    found: dict[str, int] = {}
    for subgraph in subgraphs:
        count = sum(node.op_type in HEAVY for node in subgraph.get_nodes())
        if count and subgraph.ep_name != provider:
            found[subgraph.ep_name] = found.get(subgraph.ep_name, 0) + count
    return found


def _runtime() -> Any:  # noqa: ANN401 - a module
    try:
        import onnxruntime  # noqa: PLC0415 - optional
    except ImportError as err:
        raise DeviceUnsupported(
            "ONNX Runtime is not installed: install rmbg-queue[onnx], or rmbg-queue[onnx-gpu]"
        ) from err
    return onnxruntime


def _options(runtime: Any, device: torch.device, threads: int) -> "ort.SessionOptions":  # noqa: ANN401 - a module
    options: ort.SessionOptions = runtime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads
    options.add_session_config_entry(_RECORD, "1")
    if device.type == "cpu":
        # The arena keeps the memory of the largest pass: 3 of 10 GB with BiRefNet at 1024 pixels.
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
    return options
