"""Echoes along beams: what interfaces and scatterers send back of a pulse, and what gets through.

After DiffUS: Differentiable Ultrasound Rendering from Volumetric Imaging (2025): impedance sampled
along every beam, reflection and transmission at each step. On the CPU one compiled pass looks up
and traces a beam while it is in cache, its gradient another; elsewhere it is plain PyTorch.
"""

from math import log

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from us_recon.acoustics import echo_kernels as kernels
from us_recon.acoustics.field_kernels import spread
from us_recon.acoustics.fields import BeamFields, affine_slope, look_up
from us_recon.acoustics.propagation import Convention, coupled, is_compiled_for, left_over
from us_recon.acoustics.settings import DeviceParameters, EchoMode, RenderSettings
from us_recon.compiled import in_threads
from us_recon.imaging.probe import ProbeGeometry

DB_PER_NEPER = 20.0 / log(10.0)


def trace(
    packed: Float[Tensor, "i j k 8"],
    plane_mm: Float[Tensor, "beams samples 2"],
    T_index_transducer: Float[Tensor, "poses 4 4"],
    directions: Float[Tensor, "poses beams 3"],
    probe: ProbeGeometry,
    settings: RenderSettings,
    device: DeviceParameters,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return edges, backscatter, transmission and how much is known, at every sample.

    Gradients flow, once, to the fields, the transforms, the directions and the device.

    Args:
        packed: From `us_recon.acoustics.fields.pack`.
        plane_mm: Samples (x, y) in the transducer frame.
        T_index_transducer: Affines from there to voxels.
        directions: Unit vectors along the beams in the axes of the volume's space.
        probe: Beams and samples.
        settings: How interfaces echo.
        device: Levels, frequency, attenuation and roughness.

    Returns:
        Four (poses, beams, samples), as in `us_recon.acoustics.renderer.Rendering`.
    """
    if not is_compiled_for(packed):
        fields = look_up(packed, plane_mm, T_index_transducer)
        return *echoes(fields, directions, probe, settings, device), fields.inside
    affine, numbers = T_index_transducer[:, :3].contiguous(), _numbers(probe, device)
    found: tuple[Tensor, Tensor, Tensor, Tensor] = _Trace.apply(  # type: ignore[no-untyped-call]
        packed, plane_mm, affine, directions.contiguous(), numbers, _mode(settings)
    )
    return found


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
    level = torch.exp(device.edge_db / DB_PER_NEPER)
    if settings.echoes == EchoMode.COUPLED:
        # The coupled system holds reflection and transmission; the attenuation is apart.
        rho = coupled(R[..., :-1].contiguous(), settings.convention)
        edges = level * left_over(absorbed) * rho
    else:
        edges = level * passed * R * facets(fields.steepest, directions, device)
    scatter = torch.exp(device.scatter_db / DB_PER_NEPER) * passed * fields.scatter
    return edges, scatter, passed


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
    return fields.attenuation_db_cm_mhz * loss_per_step(step_mm, device)


def loss_per_step(step_mm: float, device: DeviceParameters) -> Float[Tensor, ""]:
    """Return what a step costs there and back, in neper, where tissue costs 1 dB/cm/MHz."""
    return device.attenuation_scale * device.frequency_mhz * (2.0 * 0.1 * step_mm / DB_PER_NEPER)


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
    tangent_squared = (x * x + y * y + z * z + kernels.TINY) / (along * along + kernels.TINY) - 1.0
    slope = torch.tan(torch.deg2rad(device.roughness_deg))
    return torch.exp(-(tangent_squared / (slope * slope)).clamp(max=kernels.DARKEST))


def _numbers(probe: ProbeGeometry, device: DeviceParameters) -> Float[Tensor, "4"]:
    """Return the device as the compiled passes take it. Gradients flow."""
    slope = torch.tan(torch.deg2rad(device.roughness_deg))
    return torch.stack(
        [
            torch.exp(device.edge_db / DB_PER_NEPER),
            torch.exp(device.scatter_db / DB_PER_NEPER),
            loss_per_step(probe.sample_step_mm, device),
            1.0 / (slope * slope),
        ]
    )


def _mode(settings: RenderSettings) -> int:
    if settings.echoes == EchoMode.PRIMARY:
        return kernels.PRIMARY
    physical = settings.convention == Convention.PHYSICAL
    return kernels.PHYSICAL if physical else kernels.PUBLISHED


class _Trace(torch.autograd.Function):
    """Keeps no more than the poses: the way back looks the fields up again."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        packed: Tensor,
        plane: Tensor,
        affine: Tensor,
        directions: Tensor,
        numbers: Tensor,
        mode: int,
    ) -> tuple[Tensor, ...]:
        inputs = (packed, plane, affine, directions, numbers)
        ctx.save_for_backward(*inputs)
        ctx.set_materialize_grads(False)
        ctx.mode = mode  # type: ignore[attr-defined]
        shape = (len(affine), *plane.shape[:2])
        found = tuple(packed.new_empty(shape) for _ in range(4))
        given = [tensor.detach().numpy() for tensor in inputs]
        filled = [tensor.numpy() for tensor in found]
        in_threads(
            shape[0] * shape[1],
            lambda low, high: kernels.trace(*given, mode, *filled, low, high),
        )
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *pulls: Tensor | None
    ) -> tuple[Tensor | None, None, Tensor, Tensor, Tensor, None]:
        inputs = ctx.saved_tensors  # type: ignore[attr-defined]
        packed, plane, affine, directions, numbers = inputs
        shape = (len(affine), *plane.shape[:2])
        none = packed.new_empty(0, 0, 0)
        asked = [none if pull is None else pull.contiguous() for pull in pulls]
        asked[:2] = [each if len(each) else packed.new_zeros(shape) for each in asked[:2]]
        # One sum for each beam, so that the result does not depend on the number of threads.
        sums = [packed.new_empty(*shape[:2], *each, dtype=torch.float64)
                for each in ((3, 3), (3,), (kernels.NUMBERS,))]  # fmt: skip
        for_voxels = ctx.needs_input_grad[0]  # type: ignore[attr-defined]
        by_field = packed.new_empty(*(shape if for_voxels else (0, 0, 0)), packed.shape[3])
        given = [tensor.numpy() for tensor in inputs]
        others = [tensor.numpy() for tensor in (*asked, *sums, by_field)]
        mode = ctx.mode  # type: ignore[attr-defined]
        in_threads(
            shape[0] * shape[1],
            lambda low, high: kernels.trace_backward(*given, mode, *others, low, high),
        )
        by_voxel = torch.zeros_like(packed) if for_voxels else None
        if by_voxel is not None:
            spread(by_voxel.numpy(), *given[1:3], by_field.numpy())
        by_numbers = sums[2].sum(dim=(0, 1)).to(numbers)
        by_directions, by_affine = sums[1].to(directions), affine_slope(sums[0], affine)
        return by_voxel, None, by_affine, by_directions, by_numbers, None
