"""Gain, time gain, attenuation, edges and noise of a device, by gradients through the renderer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64
from torch import Tensor

from us_recon.acoustics.constants import probe_tensors
from us_recon.acoustics.device_bounds import within_bounds
from us_recon.acoustics.echoes import echoes
from us_recon.acoustics.fields import BeamFields, look_up, pack
from us_recon.acoustics.fit_settings import DeviceFitSettings
from us_recon.acoustics.measured_levels import Cells, mean_level_db
from us_recon.acoustics.optics import make_optics
from us_recon.acoustics.renderer import displayed, received, turned
from us_recon.acoustics.settings import DeviceParameters, RenderSettings, device_parameters
from us_recon.acoustics.volume import AcousticVolume
from us_recon.geometry.rigid import invert_rigid
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry

LEAST_VALID = 0.5
"""Share of a cell that must say something for the cell to count."""

_INDEPENDENT_CELLS = 300.0  # worth of all cells: where the model errs, neighbours err alike
_WIDE_DB = 1000.0  # a dynamic range in which nothing is clipped
_GAIN_DB = 10.0  # per unit of the optimiser's variables, so that all are of like size


@dataclass(frozen=True, eq=False)
class Scene:
    """What lies along the beams of the frames; it does not depend on the device."""

    fields: BeamFields
    poses: Float[Tensor, "frames 4 4"]
    directions: Float[Tensor, "frames beams 3"]
    probe: ProbeGeometry


def look_at(
    frames: Sequence[TrackedFrame],
    volume: AcousticVolume,
    T_world_volume: Float64[np.ndarray, "4 4"],
) -> Scene:
    """Look the volume up along the beams of frames, once, in double precision."""
    probe, T_volume_world = frames[0].geometry, invert_rigid(T_world_volume)
    packed = pack(volume)
    poses = torch.from_numpy(
        np.stack([T_volume_world @ each.T_world_transducer for each in frames])
    )
    T_index = torch.from_numpy(volume.T_index_space.copy()) @ poses
    with torch.no_grad():
        plane_mm = probe_tensors(probe, packed.dtype, packed.device).plane_mm
        found = look_up(packed, plane_mm, T_index.to(packed))
    doubled = BeamFields(**{name: value.double().cpu() for name, value in vars(found).items()})
    beams = probe_tensors(probe, poses.dtype, poses.device).directions
    return Scene(doubled, poses, turned(beams, poses), probe)


def level_db(
    scene: Scene, settings: RenderSettings, device: DeviceParameters
) -> Float[Tensor, "frames beams samples"]:
    """Return the expected level below white in dB, without clipping and without speckle."""
    plain = replace(settings, speckle=False)
    edges, scatter, _ = echoes(scene.fields, scene.directions, scene.probe, plain, device)
    optics = make_optics(device, scene.probe, plain)
    signal = received(edges, scatter, scene.poses, scene.probe, plain, device, optics)
    # Shifted to the middle of a range so wide that nothing is clipped.
    wide = replace(
        device,
        dynamic_range_db=torch.full_like(device.dynamic_range_db, _WIDE_DB),
        gain_db=device.gain_db - _WIDE_DB / 2.0,
    )
    return (displayed(signal, scene.probe, wide) - 0.5) * _WIDE_DB


def with_levels(
    scene: Scene,
    brightness: Float[Tensor, "frames beams samples"],
    valid: Float[Tensor, "frames beams samples"],
    cells: Cells,
    settings: RenderSettings,
    fit: DeviceFitSettings,
) -> RenderSettings:
    """Return settings with gain, time gain, attenuation, edges and noise fitted (L-BFGS)."""
    range_db = settings.dynamic_range_db
    measured = mean_level_db((brightness - 1.0) * range_db, valid, cells)
    counted = (valid_share(valid, cells) > LEAST_VALID).double()
    white, black = measured > -0.5, measured < 1.0 - range_db
    basis = slider_basis(len(settings.tgc_sliders_db))
    start = device_parameters(settings, scene.probe.centre_frequency_mhz, torch.float64)
    unknowns = torch.zeros(5 + len(basis), dtype=torch.float64, requires_grad=True)

    def residuals() -> Float[Tensor, "frames rows columns"]:
        expected = mean_level_db(
            level_db(scene, settings, moved(start, unknowns, basis)), valid, cells
        )
        # Where the screen is white or black, the tissue may be more so.
        expected = torch.where(white, expected.clamp(max=0.0), expected)
        return torch.where(black, expected.clamp(min=-range_db), expected) - measured

    with torch.no_grad():
        unknowns[0] = -residuals()[counted > 0].median() / _GAIN_DB
    deviations = torch.tensor(
        [1e3, 1e3, fit.attenuation_deviation if fit.fit_attenuation else 1e-6]
        + [fit.level_deviation_db / _GAIN_DB] * 2
        + [fit.slider_deviation_db / _GAIN_DB] * len(basis),
        dtype=torch.float64,
    )
    optimiser = torch.optim.LBFGS(
        [unknowns], max_iter=fit.iterations, tolerance_change=1e-10, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        off = residuals() * counted
        robust = F.huber_loss(off, torch.zeros_like(off), reduction="sum", delta=fit.outlier_db)
        prior = 0.5 * ((unknowns / deviations) ** 2).sum()
        total = robust / fit.outlier_db**2 / counted.sum() + prior / _INDEPENDENT_CELLS
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    found = moved(start, unknowns.detach(), basis)
    return within_bounds(
        replace(
            settings,
            gain_db=float(found.gain_db),
            tgc_db_cm=float(found.tgc_db_cm),
            tgc_sliders_db=tuple(round(each, 3) for each in found.tgc_sliders_db.tolist()),
            attenuation_scale=float(found.attenuation_scale),
            edge_db=float(found.edge_db),
            noise_db=float(found.noise_db),
        )
    )


def moved(
    start: DeviceParameters, by: Float[Tensor, " unknowns"], basis: Float[Tensor, "k sliders"]
) -> DeviceParameters:
    """Return the device a step away; gradients flow to the step."""
    return replace(
        start,
        gain_db=start.gain_db + _GAIN_DB * by[0],
        tgc_db_cm=start.tgc_db_cm + by[1],
        attenuation_scale=start.attenuation_scale * torch.exp(by[2]),
        edge_db=start.edge_db + _GAIN_DB * by[3],
        noise_db=start.noise_db + _GAIN_DB * by[4],
        tgc_sliders_db=start.tgc_sliders_db + _GAIN_DB * by[5:] @ basis,
    )


def slider_basis(count: int) -> Float[Tensor, "k sliders"]:
    """Return the shapes of the sliders that are neither a gain nor a slope, orthonormal."""
    depth = torch.linspace(-1.0, 1.0, count, dtype=torch.float64)
    powers = torch.stack([depth**order for order in range(count)], dim=-1)
    return torch.linalg.qr(powers)[0].T[2:]


def valid_share(valid: Float[Tensor, "frames beams samples"], cells: Cells) -> Tensor:
    """Return the share of every cell that is valid."""
    return F.avg_pool2d(valid, (cells.beams, cells.samples))
