"""The ultrasound image to expect of an acoustic volume at a pose, differentiable throughout.

After DiffUS: Differentiable Ultrasound Rendering from Volumetric Imaging (2025): impedance sampled
along every beam, reflection and transmission at each step, then the device. Everything happens in
beam space; scan conversion is for display alone.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import log

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from us_recon.acoustics.fields import BeamFields, look_up, pack
from us_recon.acoustics.point_spread import (
    FWHM,
    beam_pitch_mm,
    beam_sigma,
    beam_weights,
    blur_across,
    blur_along,
    pulse_weights,
    speckle_variance,
)
from us_recon.acoustics.propagation import coupled
from us_recon.acoustics.repeats import with_repeats
from us_recon.acoustics.settings import (
    DeviceParameters,
    EchoMode,
    RenderSettings,
    device_parameters,
)
from us_recon.acoustics.speckle import scatterers
from us_recon.acoustics.volume import AcousticVolume
from us_recon.errors import InputError
from us_recon.imaging.probe import ProbeGeometry

_DB = 20.0 / log(10.0)  # dB per neper
_TINY = 1e-12
_DARKEST = 30.0
"""Exponent of the faintest echo, -260 dB: smaller numbers are denormal, and slow."""


@dataclass(frozen=True, eq=False)
class Rendering:
    """Expected images in beam space, and what they are made of.

    Attributes:
        brightness: 0 black to 1 white, as the device shows it.
        inside: How much of the tissue at a sample is known, 0 to 1: where it is 0 nothing is
            expected, and the brightness is that of the device's noise.
        edges: Amplitude of the echoes of interfaces, before blur, gain and compression.
        scatter: Amplitude of the diffuse backscatter, likewise.
        transmission: Amplitude that comes back from a sample relative to none lost on the way.
    """

    brightness: Float[Tensor, "poses beams samples"]
    inside: Float[Tensor, "poses beams samples"]
    edges: Float[Tensor, "poses beams samples"]
    scatter: Float[Tensor, "poses beams samples"]
    transmission: Float[Tensor, "poses beams samples"]


def render(
    acoustic_volume: AcousticVolume,
    T_volume_transducer: Float[Tensor, "*poses 4 4"],
    probe: ProbeGeometry,
    settings: RenderSettings | None = None,
    device: DeviceParameters | None = None,
) -> Rendering:
    """Render the image of every pose.

    Args:
        acoustic_volume: The patient.
        T_volume_transducer: Rigid poses of the array in the volume's millimetres, of the volume's
            type and device; a single one counts as a batch of one.
        probe: Beams and samples.
        settings: How to render.
        device: The settings' numbers as tensors, to fit them; by default those of `settings`.

    Returns:
        The images. Gradients flow, once, to poses, device and the volume's tensors.

    Raises:
        InputError: A pose of another type or device than the volume, or one that is not finite
            (checked on the CPU; on a GPU one would have to wait for it).
    """
    settings = settings or RenderSettings()
    packed = pack(acoustic_volume)
    poses = _checked(T_volume_transducer, packed)
    if device is None:
        device = device_parameters(settings, probe.centre_frequency_mhz, poses.dtype, poses.device)
    plane_mm = image_plane(probe, poses.dtype, poses.device)
    T_index_volume = torch.as_tensor(acoustic_volume.T_index_space).to(poses)
    fields = look_up(packed, plane_mm, T_index_volume @ poses)
    directions = torch.as_tensor(probe.beam_directions).to(poses) @ poses[:, :3, :2].mT
    edges, scatter, transmission = echoes(fields, directions, probe, settings, device)
    envelope = received(edges, scatter, poses, probe, settings, device)
    brightness = displayed(envelope, probe, device)
    return Rendering(brightness, fields.inside, edges, scatter, transmission)


@lru_cache(maxsize=8)
def image_plane(
    probe: ProbeGeometry, dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "beams samples 2"]:
    """Return where the samples of all beams lie (x, y) in the transducer frame, mm."""
    return torch.as_tensor(probe.beam_points_mm).to(device=device, dtype=dtype)


def echoes(
    fields: BeamFields,
    directions: Float[Tensor, "poses beams 3"],
    probe: ProbeGeometry,
    settings: RenderSettings,
    device: DeviceParameters,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return edges, backscatter and transmission at every sample.

    The interface between a sample and the next echoes at the first of them. What is lost on the
    way: ``1 - R^2`` at each interface, there and back, and the attenuation.
    """
    step_mm = probe.sample_step_mm
    R, absorbed = reflections(fields), two_way_loss(fields, step_mm, device)
    passed = left_over(absorbed - torch.log1p(-R * R))
    level = torch.exp(device.edge_db / _DB)
    if settings.echoes == EchoMode.COUPLED:
        # The coupled system holds reflection and transmission; the attenuation is apart.
        rho = coupled(R[..., :-1].contiguous(), settings.convention)
        edges = level * left_over(absorbed) * rho
    else:
        edges = level * passed * R * facets(fields.steepest, directions, device)
    scatter = torch.exp(device.scatter_db / _DB) * passed * fields.scatter
    return edges, scatter, passed


def left_over(
    lost: Float[Tensor, "poses beams samples"],
) -> Float[Tensor, "poses beams samples"]:
    """Return the amplitude that is left at each sample, given the losses of all steps in neper."""
    return torch.exp(-F.pad(torch.cumsum(lost[..., :-1], dim=-1), (1, 0)))


def reflections(fields: BeamFields) -> Float[Tensor, "poses beams samples"]:
    """Return the reflection between each sample and the next; the last is 0.

    Where tissue is unknown on either side there is none.
    """
    here, there = fields.impedance_mrayl[..., :-1], fields.impedance_mrayl[..., 1:]
    known = fields.inside[..., :-1] * fields.inside[..., 1:]
    return F.pad(known * (there - here) / (there + here), (0, 1))


def two_way_loss(
    fields: BeamFields, step_mm: float, device: DeviceParameters
) -> Float[Tensor, "poses beams samples"]:
    """Return the attenuation of each step, there and back, in neper."""
    per_step = device.attenuation_scale * device.frequency_mhz * (2.0 * 0.1 * step_mm / _DB)
    return fields.attenuation_db_cm_mhz * per_step


def facets(
    steepest: Float[Tensor, "3 poses beams samples"],
    directions: Float[Tensor, "poses beams 3"],
    device: DeviceParameters,
) -> Float[Tensor, "poses beams samples"]:
    """Return how much of an interface's echo comes back, 0 to 1, given how oblique it is.

    ``exp(-tan^2 t / m^2)`` for facets of mean slope m (Beckmann, Spizzichino, The Scattering of
    Electromagnetic Waves from Rough Surfaces, 1963); the interface lies across the gradient of the
    impedance.
    """
    x, y, z = steepest.unbind(0)
    to_x, to_y, to_z = directions[..., None, :].unbind(-1)
    along = x * to_x + y * to_y + z * to_z
    tangent_squared = (x * x + y * y + z * z + _TINY) / (along * along + _TINY) - 1.0
    slope = torch.tan(torch.deg2rad(device.roughness_deg))
    return torch.exp(-(tangent_squared / (slope * slope)).clamp(max=_DARKEST))


def received(
    edges: Float[Tensor, "poses beams samples"],
    scatter: Float[Tensor, "poses beams samples"],
    T_volume_transducer: Float[Tensor, "poses 4 4"],
    probe: ProbeGeometry,
    settings: RenderSettings,
    device: DeviceParameters,
) -> Float[Tensor, "poses beams samples"]:
    """Return the envelope that the array receives.

    Interfaces that a pulse covers add up with their signs; scatterers add up at random.
    """
    if settings.face_reflection > 0.0 or device.face_reflection.requires_grad:
        edges = with_repeats(edges, device.face_reflection)
    depths = torch.as_tensor(probe.sample_depths_mm).to(edges)
    along = pulse_weights(device.pulse_mm, probe.sample_step_mm, probe.sample_count // 2)
    across = beam_weights(device, probe, depths)
    # Scaled to a peak of 1: a sharp interface of reflection R is received with amplitude R.
    mirrors = edges * (1.0 / along.max())
    floor = torch.exp(2.0 * device.noise_db / _DB)
    if not settings.speckle:
        mirrors, diffuse = blur_across(blur_along(torch.stack([mirrors, scatter]), along), across)
        return (mirrors * mirrors + diffuse * diffuse + floor).sqrt()
    T_lattice_transducer = lattice_pose(T_volume_transducer, settings.grain_mm)
    plane_mm = image_plane(probe, edges.dtype, edges.device)
    field = scatter * scatterers(plane_mm, T_lattice_transducer, settings.seed)
    images = torch.cat([mirrors[None], field])
    mirrors, real, imaginary = blur_across(blur_along(images, along), across)
    lateral_mm = beam_sigma(device, probe, depths) * beam_pitch_mm(probe, depths)
    level = (
        speckle_variance(device.pulse_mm / FWHM, settings.grain_mm)
        * speckle_variance(lateral_mm, settings.grain_mm)
    ).rsqrt()
    real = mirrors + level * real
    return (real * real + (level * imaginary) ** 2 + floor).sqrt()


def lattice_pose(
    T_volume_transducer: Float[Tensor, "poses 4 4"], grain_mm: float
) -> Float[Tensor, "poses 4 4"]:
    """Return the poses in units of the lattice on which scatterers sit.

    The shift keeps planes of voxels, in which users like to place beams, off the lattice's planes,
    where the gradient jumps.
    """
    shift = torch.zeros_like(T_volume_transducer[0])
    shift[:3, 3] = torch.tensor([0.37, 0.61, 0.43]).to(shift)
    return T_volume_transducer / grain_mm + shift


def displayed(
    envelope: Float[Tensor, "poses beams samples"], probe: ProbeGeometry, device: DeviceParameters
) -> Float[Tensor, "poses beams samples"]:
    """Return brightness after gain, time gain and log compression."""
    depths_cm = torch.as_tensor(0.1 * probe.sample_depths_mm).to(envelope)
    sliders = F.interpolate(
        device.tgc_sliders_db[None, None], probe.sample_count, mode="linear", align_corners=True
    )[0, 0]
    slope_db_cm = device.tgc_db_cm + 2.0 * device.compensation_db_cm_mhz * device.frequency_mhz
    level_db = _DB * torch.log(envelope) + (device.gain_db + slope_db_cm * depths_cm + sliders)
    return (level_db / device.dynamic_range_db + 1.0).clamp(0.0, 1.0)


def _checked(poses: Tensor, packed: Tensor) -> Tensor:
    if poses.shape[-2:] != (4, 4):
        raise InputError(
            f"T_volume_transducer has shape {tuple(poses.shape)}; expected (..., 4, 4)"
        )
    if poses.dtype != packed.dtype or poses.device != packed.device:
        raise InputError(
            f"T_volume_transducer is {poses.dtype} on {poses.device}, the acoustic volume "
            f"{packed.dtype} on {packed.device}; expected the same (see AcousticVolume.to)"
        )
    if poses.device.type == "cpu" and not torch.isfinite(poses).all():
        raise InputError("T_volume_transducer holds numbers that are not finite; drop that pose")
    return poses.reshape(-1, 4, 4)
