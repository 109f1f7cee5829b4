"""Synthetic colour profiles: ICC version 2, matrix, grey and CMYK table."""

from __future__ import annotations

import itertools
import struct

import numpy as np

D50 = np.array([0.9642, 1.0, 0.8249])
D65_XY = (0.3127, 0.3290)
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
DISPLAY_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def rgb_profile(primaries, *, gamma: float | None = None) -> bytes:
    """Return a matrix profile with the curve of *gamma*, or of sRGB if None."""
    matrix = to_d50(primaries)
    curve = _gamma_curve(gamma) if gamma else _srgb_curve()
    tags = {name: _xyz(matrix[:, n]) for n, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def grey_profile(*, gamma: float) -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _gamma_curve(gamma)})


def cmyk_profile(corners) -> bytes:
    """Return a printer profile.

    Args:
        corners: Maps ink (c, m, y, k), each 0 or 1, to Lab; values between are interpolated.
    """
    table = bytearray()
    for ink in itertools.product((0, 1), repeat=4):
        lightness, a, b = corners(*ink)
        table += bytes([round(lightness * 2.55), round(a) + 128, round(b) + 128])
    # The paper is not white, but relative colorimetric maps it to white.
    paper = _xyz(D50 * (0.9, 0.88, 0.7))
    identity = struct.pack(">9i", *(65536 * (n % 4 == 0) for n in range(9)))
    ramp = bytes(range(256))
    body = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + bytes(table) + ramp * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"wtpt": paper, b"A2B0": body})


def to_d50(primaries) -> np.ndarray:
    """Return the matrix from linear RGB to XYZ, adapted to D50 (Bradford)."""
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]).T
    x, y = D65_XY
    white = np.array([x / y, 1.0, (1 - x - y) / y])
    to_xyz = columns * np.linalg.solve(columns, white)
    cones = np.diag((BRADFORD @ D50) / (BRADFORD @ white))
    return np.linalg.inv(BRADFORD) @ cones @ BRADFORD @ to_xyz


def srgb_of_xyz(xyz) -> np.ndarray:
    """Return the clipped sRGB levels, 0 to 255, of XYZ under D50."""
    linear = np.clip(np.linalg.solve(to_d50(SRGB), np.asarray(xyz)), 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def srgb_of_lab(lightness: float, a: float, b: float) -> np.ndarray:
    f = np.array([(lightness + 16) / 116 + a / 500, (lightness + 16) / 116, 0.0])
    f[2] = f[1] - b / 200
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * D50
    return srgb_of_xyz(xyz)


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    name = b"synthetic\0"
    description = struct.pack(">4s4xI", b"desc", len(name)) + name + bytes(78)
    tags = {
        b"desc": description,
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": _xyz(D50),
        **tags,
    }
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        table += struct.pack(">4sII", tag, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(
        ">I4s4s4s4s4s12s4s4s28s12s",
        start + len(body),
        b"none",
        b"\x02\x10\0\0",
        kind,
        space,
        connection,
        bytes(12),
        b"acsp",
        b"none",
        bytes(28),
        struct.pack(">3i", *(round(v * 65536) for v in D50)),
    )
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _xyz(values) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *(round(v * 65536) for v in values))


def _gamma_curve(gamma: float) -> bytes:
    return struct.pack(">4s4xIH2x", b"curv", 1, round(gamma * 256))


def _srgb_curve() -> bytes:
    x = np.linspace(0, 1, 1024)
    y = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    return struct.pack(">4s4xI1024H", b"curv", 1024, *np.round(y * 65535).astype(int))
