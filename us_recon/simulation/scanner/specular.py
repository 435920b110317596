"""Echoes of reflecting surfaces: a coherent part that needs the right angle, and a rough one.

The coherent echo falls as a power of the incidence cosine, because a tilted mirror sends its echo
past the aperture; the rough part scatters into all directions and carries speckle.
"""

import numpy as np
from jaxtyping import Complex64, Float32, Float64, Int

from us_recon.geometry.rigid import transform_points
from us_recon.simulation.noise import hash_cells, smooth_noise, uniform_of
from us_recon.simulation.scanner.compression import Compression
from us_recon.simulation.scanner.propagation import (
    IN_FRONT_SAMPLES,
    Propagation,
    incidence_cosine,
    resize,
)
from us_recon.simulation.scene import Interface

PATCH_MM = 4.0
ROUGH_CELL_MM = 0.25


def surface_echoes(
    paths: Propagation,
    interfaces: tuple[Interface, ...],
    compression: Compression,
    mirror: float,
    seed: int,
) -> Complex64[np.ndarray, "beams samples"]:
    """Return the echoes of all interfaces before the blur, weakened by what lies in front.

    Args:
        paths: Level sets along the beams.
        interfaces: Reflectivity, exponent and roughness of each.
        compression: Deformation in front of the probe: patterns move with the tissue.
        mirror: Amplitude of the echo of a perfect mirror at normal incidence.
        seed: Pattern of patches and roughness, fixed in the scene.
    """
    beam = compression.beam
    geometry = beam.geometry
    shape = (geometry.beam_count, geometry.sample_count)
    cells, echoes = [], []
    for number, interface in enumerate(interfaces):
        level_sets = paths.level_sets_mm[number]
        if level_sets.min() > 0 or level_sets.max() < 0:
            continue
        found = [_crossings(resize(level_set, shape)) for level_set in level_sets]
        planes = np.repeat(np.arange(len(found)), [len(beams) for beams, _, _ in found])
        beams, samples, fraction = (np.concatenate(column) for column in zip(*found, strict=True))
        points_mm = _points_in_scene(paths, compression, beams, samples + fraction, planes)
        cosines = incidence_cosine(level_sets, beam)
        cosine = cosines[
            beams * cosines.shape[0] // shape[0], samples * cosines.shape[1] // shape[1]
        ]
        echo = _echo(interface, cosine, points_mm, seed + 31 * number)
        echo *= np.float32(mirror) * paths.plane_weights[planes]
        echo *= paths.transmission[beams, np.maximum(samples - IN_FRONT_SAMPLES, 0)]
        first = beams * shape[1] + samples
        cells += [first, first + 1]
        echoes += [echo * (1.0 - fraction), echo * fraction]
    if not cells:
        return np.zeros(shape, dtype=np.complex64)
    return sum_into_beams(np.concatenate(cells), np.concatenate(echoes), shape)


def _crossings(
    level_set: Float32[np.ndarray, "beams samples"],
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """Return beam, sample before, and fraction to the next sample of every zero crossing."""
    negative = np.signbit(level_set)
    changed = np.flatnonzero(negative[:, 1:] != negative[:, :-1])
    beams, samples = np.divmod(changed, level_set.shape[1] - 1)
    front, behind = level_set[beams, samples], level_set[beams, samples + 1]
    return beams, samples, (front / (front - behind)).astype(np.float32)


def _points_in_scene(
    paths: Propagation,
    compression: Compression,
    beams: Int[np.ndarray, " n"],
    samples: Float64[np.ndarray, " n"] | Float32[np.ndarray, " n"],
    planes: Int[np.ndarray, " n"],
) -> Float32[np.ndarray, "n 3"]:
    geometry = compression.beam.geometry
    depth_mm = samples[:, None] * geometry.sample_step_mm
    points = np.empty((beams.size, 3))
    points[:, :2] = geometry.beam_origins_mm[beams] + depth_mm * geometry.beam_directions[beams]
    points[:, 2] = paths.plane_offsets_mm[planes]
    tissue_mm = compression.tissue_mm(points)
    return transform_points(paths.T_scene_transducer, tissue_mm).astype(np.float32)


def _echo(
    interface: Interface,
    cosine: Float32[np.ndarray, " n"],
    points_mm: Float32[np.ndarray, "n 3"],
    seed: int,
) -> Complex64[np.ndarray, " n"]:
    patch_db = interface.patchiness_db * smooth_noise(points_mm, PATCH_MM, seed)
    strength = interface.reflectivity * 10.0 ** (patch_db / 20.0)
    cell = np.ascontiguousarray(np.floor(points_mm.T / ROUGH_CELL_MM), dtype=np.int32)
    rayleigh = np.sqrt(-np.log(uniform_of(hash_cells(cell, seed + 1))))
    phase = 2.0 * np.pi * uniform_of(hash_cells(cell, seed + 2))
    rough = interface.roughness * cosine * rayleigh * np.exp(1j * phase)
    return (strength * (cosine**interface.exponent + rough)).astype(np.complex64)


def sum_into_beams(
    cells: Int[np.ndarray, " n"],
    echoes: Complex64[np.ndarray, " n"],
    shape: tuple[int, int],
) -> Complex64[np.ndarray, "beams samples"]:
    """Add up echoes in the beam-space cells (flat indices) that they fall in."""
    total = np.empty(shape[0] * shape[1], dtype=np.complex64)
    total.real = np.bincount(cells, weights=echoes.real, minlength=total.size)
    total.imag = np.bincount(cells, weights=echoes.imag, minlength=total.size)
    return total.reshape(shape)
