"""A reference implementation of the original node, to compare the product with.

It shares no code with the product: torch for the bilinear resize, the ONNX file in ONNX Runtime
for the network, numpy for the rest.
"""

from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F  # noqa: N812  (torch's own spelling)


@cache
def _session(weights: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(weights), providers=["CPUExecutionProvider"])


def reference_output(image: np.ndarray, weights: Path) -> np.ndarray:
    """Return the first side output for `(H, W, 3)` uint8: `(1024, 1024)` float32, 0 to 1."""
    planes = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1).unsqueeze(0)
    resized = F.interpolate(planes, size=(1024, 1024), mode="bilinear", align_corners=False)
    truncated = resized.numpy().astype(np.uint8)
    normalised = (truncated.astype(np.float32) / 255 - 0.5) / 1.0
    session = _session(weights)
    first = session.get_outputs()[0].name
    (output,) = session.run([first], {session.get_inputs()[0].name: normalised})
    return output[0, 0]


def reference_mask(output: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the node's mask `(height, width)` uint8 for one output."""
    square = torch.from_numpy(output)[None, None]
    sized = F.interpolate(square, size=(height, width), mode="bilinear", align_corners=False)
    values = sized[0, 0].numpy()
    stretched = (values - values.min()) / (values.max() - values.min())
    return (stretched * 255).astype(np.uint8)
