"""Noise that is a fixed function of position and seed: the same tissue from every view."""

import numpy as np
from jaxtyping import Float32, Int32, UInt32
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from us_recon.compiled import compiled


def smooth_noise(
    points_mm: Float32[np.ndarray, "n 3"],
    cell_mm: float | tuple[float, float, float],
    seed: int,
) -> Float32[np.ndarray, " n"]:
    """Return noise of zero mean and unit variance that varies over `cell_mm`.

    Values at the corners of a cubic lattice are hashed and interpolated (value noise; Perlin,
    SIGGRAPH 1985, describes the family). Cost grows with the box around the points.

    Args:
        points_mm: Where to evaluate.
        cell_mm: Lattice constant, one for all axes or one each; along inf nothing varies.
        seed: Another seed gives an independent field.
    """
    if len(points_mm) == 0:
        return np.zeros(0, dtype=np.float32)
    scaled = points_mm / np.asarray(cell_mm, dtype=np.float32)
    floor = np.floor(scaled)
    first = floor.min(axis=0).astype(np.int32)
    shape = floor.max(axis=0).astype(np.int32) - first + 2
    scaled -= floor
    floor += scaled * scaled * (3.0 - 2.0 * scaled)
    corners = np.indices(shape, dtype=np.int32).reshape(3, -1) + first[:, None]
    lattice = uniform_of(hash_cells(corners, seed)).reshape(shape)
    values = map_coordinates(lattice, (floor - first).T, order=1, mode="nearest")
    # A uniform variable has variance 1/12; the cubic blend keeps 26/35 of it along each axis.
    return ((values - 0.5) * np.float32(np.sqrt(12.0 * (35.0 / 26.0) ** 3))).astype(np.float32)


def uniform_of(bits: UInt32[np.ndarray, "*n"]) -> Float32[np.ndarray, "*n"]:
    """Map hashed bits to (0, 1)."""
    top = (bits >> np.uint32(8)).astype(np.float32)
    return (top + np.float32(0.5)) * np.float32(2.0**-24)


def hash_cells(cells: Int32[np.ndarray, "3 n"], seed: int) -> UInt32[np.ndarray, " n"]:
    """Return 32 well mixed bits for each integer cell, given by its three coordinates."""
    bits = np.empty(cells.shape[1], dtype=np.uint32)
    _hash(cells.view(np.uint32), np.uint32(seed * 0x85EBCA6B % 2**32), bits)
    return bits


def mix(x: UInt32[np.ndarray, " n"]) -> UInt32[np.ndarray, " n"]:
    """Scramble 32 bits (finaliser of MurmurHash3, public domain)."""
    mixed = np.empty_like(x)
    _mix_each(x, mixed)
    return mixed


@compiled
def _mixed(x: np.uint32) -> np.uint32:
    # The compiler widens what it multiplies: only the lower 32 bits count.
    x = np.uint32(x ^ (x >> np.uint32(16)))
    x = np.uint32(x * np.uint32(0x85EBCA6B))
    x = np.uint32(x ^ (x >> np.uint32(13)))
    x = np.uint32(x * np.uint32(0xC2B2AE35))
    return np.uint32(x ^ (x >> np.uint32(16)))


@compiled
def _mix_each(x: NDArray[np.uint32], mixed: NDArray[np.uint32]) -> None:
    for n in range(x.size):
        mixed[n] = _mixed(x[n])


@compiled
def _hash(cells: NDArray[np.uint32], offset: np.uint32, bits: NDArray[np.uint32]) -> None:
    for n in range(bits.size):
        bit = _mixed(np.uint32(cells[0, n] * np.uint32(0x8DA6B343) + offset))
        bit = _mixed(np.uint32(bit ^ np.uint32(cells[1, n] * np.uint32(0xD8163841))))
        bits[n] = _mixed(np.uint32(bit ^ np.uint32(cells[2, n] * np.uint32(0xCB1AB31F))))
