"""Build ICC profiles (version 2) for files that describe their colours in another way."""

import struct
from collections.abc import Mapping
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Chromaticity: TypeAlias = tuple[float, float]

D50: Final[Floats] = np.array([0.9642, 1.0, 0.8249])
"""White of the profile connection space, in XYZ."""
_BRADFORD: Final[Floats] = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_SIXTEEN_BITS: Final = 65_535
_XYZ_UNIT: Final = 32_768
"""How a table of 16 bits encodes the value 1."""


def rgb_profile(
    primaries: tuple[Chromaticity, Chromaticity, Chromaticity], white: Chromaticity, curve: Floats
) -> bytes:
    """Return the profile of an RGB space.

    Args:
        primaries: Of red, green and blue.
        white: White point.
        curve: Linear light, 0 to 1, of levels at equal distances.
    """
    columns = np.array([_xyz_of(each) for each in primaries]).T
    white_xyz = _xyz_of(white)
    to_xyz = columns * np.linalg.solve(columns, white_xyz)
    cones = np.diag((_BRADFORD @ D50) / (_BRADFORD @ white_xyz))
    matrix = np.linalg.inv(_BRADFORD) @ cones @ _BRADFORD @ to_xyz
    levels = np.round(curve * _SIXTEEN_BITS).astype(">u2")
    tags = {
        name: _xyz_tag(matrix[:, n]) for n, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))
    } | dict.fromkeys(
        (b"rTRC", b"gTRC", b"bTRC"), struct.pack(">4s4xI", b"curv", len(levels)) + levels.tobytes()
    )
    return _profile(b"mntr", b"RGB ", tags)


def cmyk_profile(coverages: Floats, table: Floats) -> bytes:
    """Return the profile of a press.

    Args:
        coverages: (4, 256): share of the paper that each level of an ink covers, 0 to 1.
        table: (n, n, n, n, 3): XYZ relative to the paper for coverages at equal distances.
    """
    head = struct.pack(">4s4xBBBx", b"mft2", 4, 3, len(table))
    identity = struct.pack(">9i", *(np.eye(3).ravel() * _SIXTEEN_BITS + 0.5).astype(int))
    inputs = np.round(coverages * _SIXTEEN_BITS).astype(">u2").tobytes()
    colours = np.round(np.clip(table, 0, 1.99) * _XYZ_UNIT).astype(">u2").tobytes()
    outputs = np.array([0, _SIXTEEN_BITS] * 3, ">u2").tobytes()
    sizes = struct.pack(">HH", coverages.shape[1], 2)
    return _profile(
        b"prtr", b"CMYK", {b"A2B0": head + identity + sizes + inputs + colours + outputs}
    )


def _xyz_of(chromaticity: Chromaticity) -> Floats:
    x, y = chromaticity
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _profile(kind: bytes, space: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    name = b"rmbg\0"
    tags = {
        b"desc": struct.pack(">4s4xI", b"desc", len(name)) + name + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": _xyz_tag(D50),
        **tags,
    }
    directory, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        directory += struct.pack(">4sII", tag, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(
        ">I4s4s4s4s4s12s4s28x",
        *(start + len(body), b"rmbg", b"\2\x10\0\0", kind, space, b"XYZ ", bytes(12), b"acsp"),
    )
    illuminant = _xyz_tag(D50)[8:]
    return (head + illuminant).ljust(128, b"\0") + struct.pack(">I", len(tags)) + directory + body


def _xyz_tag(values: Floats) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *np.round(values * 65_536).astype(int))
