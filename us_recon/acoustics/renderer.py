"""The ultrasound image to expect of an acoustic volume at a pose, differentiable throughout.

After DiffUS: Differentiable Ultrasound Rendering from Volumetric Imaging (2025): impedance sampled
along every beam, reflection and transmission at each step, then the device. Everything happens in
beam space; scan conversion is for display alone.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from us_recon.acoustics.constants import constant, probe_tensors
from us_recon.acoustics.display import Signal, compressed
from us_recon.acoustics.echoes import DB_PER_NEPER, trace
from us_recon.acoustics.fields import index_of_space, pack
from us_recon.acoustics.optics import Optics, make_optics
from us_recon.acoustics.point_spread import blur_across, blur_along
from us_recon.acoustics.repeats import with_repeats
from us_recon.acoustics.settings import (
    DeviceParameters,
    RenderSettings,
    device_parameters,
)
from us_recon.acoustics.speckle import scattered
from us_recon.acoustics.volume import AcousticVolume
from us_recon.errors import InputError
from us_recon.imaging.probe import ProbeGeometry


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
        device, optics = _as_set(settings, probe, poses.dtype, poses.device)
    else:
        optics = make_optics(device, probe, settings)
    beams = probe_tensors(probe, poses.dtype, poses.device)
    directions = turned(beams.directions, poses)
    T_index_transducer = index_of_space(acoustic_volume) @ poses
    edges, scatter, transmission, inside = trace(
        packed, beams.plane_mm, T_index_transducer, directions, probe, settings, device
    )
    signal = received(edges, scatter, poses, probe, settings, device, optics)
    brightness = displayed(signal, probe, device)
    return Rendering(brightness, inside, edges, scatter, transmission)


@lru_cache(maxsize=8)
def _as_set(
    settings: RenderSettings, probe: ProbeGeometry, dtype: torch.dtype, where: torch.device
) -> tuple[DeviceParameters, Optics]:
    """Return a device as the settings have it, and its optics, made once."""
    with torch.inference_mode(mode=False), torch.no_grad():
        device = device_parameters(settings, probe.centre_frequency_mhz, dtype)
        optics = make_optics(device, probe, settings)
        return moved(device, where), moved(optics, where)


def turned(
    directions: Float[Tensor, "beams 2"], T_volume_transducer: Float[Tensor, "poses 4 4"]
) -> Float[Tensor, "poses beams 3"]:
    """Return the beams' directions in the volume's space.

    By sums of products: a matrix product wakes threads of its own, which then wait for the next one
    at the cost of those that trace the beams.
    """
    axes = T_volume_transducer[:, None, :3, :2]
    return directions[:, :1] * axes[..., 0] + directions[:, 1:] * axes[..., 1]


Tensors = TypeVar("Tensors", DeviceParameters, Optics)


def moved(tensors: Tensors, where: torch.device) -> Tensors:
    """Return the same on another device."""
    return replace(tensors, **{name: value.to(where) for name, value in vars(tensors).items()})


def received(
    edges: Float[Tensor, "poses beams samples"],
    scatter: Float[Tensor, "poses beams samples"],
    T_volume_transducer: Float[Tensor, "poses 4 4"],
    probe: ProbeGeometry,
    settings: RenderSettings,
    device: DeviceParameters,
    optics: Optics,
) -> Signal:
    """Return the signal that the array receives, the envelope's parts before its square.

    Interfaces that a pulse covers add up with their signs; scatterers add up at random.
    """
    if settings.face_reflection > 0.0 or device.face_reflection.requires_grad:
        edges = with_repeats(edges, device.face_reflection)
    along, across, floor = optics.along, optics.across, optics.floor
    mirrors = blur_across(blur_along(edges, optics.sharp), across)
    if not settings.speckle:
        return Signal(mirrors, blur_across(blur_along(scatter, along), across), None, floor)
    T_lattice_transducer = lattice_pose(T_volume_transducer, settings.grain_mm)
    plane_mm = probe_tensors(probe, edges.dtype, edges.device).plane_mm
    field = scattered(scatter, plane_mm, T_lattice_transducer, settings.seed)
    brought_back = across * optics.speckle_level
    real, imaginary = (blur_across(blur_along(part, along), brought_back) for part in field)
    return Signal(mirrors, imaginary, real, floor)


def lattice_pose(
    T_volume_transducer: Float[Tensor, "poses 4 4"], grain_mm: float
) -> Float[Tensor, "poses 4 4"]:
    """Return the poses in units of the lattice on which scatterers sit.

    The shift keeps planes of voxels, in which users like to place beams, off the lattice's planes,
    where the gradient jumps.
    """
    shift = torch.zeros_like(T_volume_transducer[0])
    shift[:3, 3] = constant((0.37, 0.61, 0.43), shift.dtype, shift.device)
    return T_volume_transducer / grain_mm + shift


def displayed(
    signal: Signal, probe: ProbeGeometry, device: DeviceParameters
) -> Float[Tensor, "poses beams samples"]:
    """Return brightness after gain, time gain and log compression."""
    like = signal.mirrors
    depths_cm = 0.1 * probe_tensors(probe, like.dtype, like.device).depths_mm
    sliders = F.interpolate(
        device.tgc_sliders_db[None, None], probe.sample_count, mode="linear", align_corners=True
    )[0, 0]
    slope_db_cm = device.tgc_db_cm + 2.0 * device.compensation_db_cm_mhz * device.frequency_mhz
    gain_db = device.gain_db + slope_db_cm * depths_cm + sliders
    per_range = 1.0 / device.dynamic_range_db
    # Amplitude is the square root of power.
    return compressed(signal, 1.0 + gain_db * per_range, 0.5 * DB_PER_NEPER * per_range)


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
