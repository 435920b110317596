"""What a beam meets, looked up at its samples: fields on voxels, interpolated trilinearly.

Beyond the voxel centres nothing is made up: the impedance stays as it is at the border, so that
there is no echo, and all else fades to 0 within one voxel. Hence the look-up is continuous
everywhere and its gradients hold at the border too.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from us_recon.acoustics import field_kernels as kernels
from us_recon.acoustics.constants import constant, on_device
from us_recon.acoustics.propagation import is_compiled_for
from us_recon.acoustics.volume import AcousticVolume
from us_recon.compiled import in_threads


@dataclass(frozen=True, eq=False)
class BeamFields:
    """What lies along beams; see `AcousticVolume` for the units.

    Attributes:
        impedance_mrayl: Impedance.
        attenuation_db_cm_mhz: Attenuation.
        scatter: Backscatter.
        inside: How much of it is known.
        steepest: Gradient of the impedance, MRayl/mm, along the axes of the volume's space: across
            interfaces.
    """

    impedance_mrayl: Float[Tensor, "poses beams samples"]
    attenuation_db_cm_mhz: Float[Tensor, "poses beams samples"]
    scatter: Float[Tensor, "poses beams samples"]
    inside: Float[Tensor, "poses beams samples"]
    steepest: Float[Tensor, "3 poses beams samples"]


def pack(volume: AcousticVolume) -> Float[Tensor, "i j k 8"]:
    """Return the fields of all voxels, those of one voxel side by side. Gradients flow.

    Seven fields, and 0 to fill a vector. Kept with the volume unless that needs gradients.
    """
    kept: Tensor | None = volume.__dict__.get("_packed")
    if kept is not None:
        return kept
    given = (volume.impedance_mrayl, volume.attenuation_db_cm_mhz, volume.scatter, volume.inside)
    if any(field.requires_grad for field in given):
        return _packed(volume)
    with torch.inference_mode(mode=False), torch.no_grad():  # what is kept may meet gradients later
        kept = volume.__dict__["_packed"] = _packed(volume)
    return kept


def _packed(volume: AcousticVolume) -> Float[Tensor, "i j k 8"]:
    inside = volume.inside
    fading = [volume.attenuation_db_cm_mhz, volume.scatter, torch.ones_like(inside)]
    fading += list(gradient_per_mm(volume).unbind(-1))
    fields = [volume.impedance_mrayl, *(field * inside for field in fading)]
    return torch.stack([*fields, torch.zeros_like(inside)], dim=-1)


def gradient_per_mm(volume: AcousticVolume) -> Float[Tensor, "i j k 3"]:
    """Return the gradient of the impedance in MRayl/mm, by central differences. Gradients flow."""
    by_index = torch.stack(torch.gradient(volume.impedance_mrayl), dim=-1)
    return by_index @ index_of_space(volume)[:3, :3]


def index_of_space(volume: AcousticVolume) -> Float[Tensor, "4 4"]:
    """Return the affine from millimetres to voxels, of the volume's type and device; kept."""
    kept: Tensor | None = volume.__dict__.get("_index_of_space")
    if kept is None:
        like = volume.impedance_mrayl
        kept = volume.__dict__["_index_of_space"] = on_device(
            volume.T_index_space, like.dtype, like.device
        )
    return kept


def look_up(
    packed: Float[Tensor, "i j k 8"],
    plane_mm: Float[Tensor, "beams samples 2"],
    T_index_transducer: Float[Tensor, "poses 4 4"],
) -> BeamFields:
    """Interpolate all fields at the samples of all poses.

    Gradients flow to the transforms and to the voxels, once.

    Args:
        packed: From `pack`.
        plane_mm: Samples (x, y) in the transducer frame.
        T_index_transducer: Affines from there to voxels.
    """
    if is_compiled_for(packed):
        affine = T_index_transducer[:, :3].contiguous()
        values: Tensor = _LookUp.apply(packed, plane_mm, affine)  # type: ignore[no-untyped-call]
    else:
        values = look_up_torch(packed, points_of(plane_mm, T_index_transducer))
    impedance, attenuation, scatter, inside = values[:4].unbind(0)
    return BeamFields(impedance, attenuation, scatter, inside, steepest=values[4:])


def points_of(
    plane_mm: Float[Tensor, "beams samples 2"], T: Float[Tensor, "poses 4 4"]
) -> Float[Tensor, "poses beams samples 3"]:
    """Return where affines take the samples of the image plane.

    By sums of products: a GPU may be set to multiply matrices in 11 bits, some 0.1 mm.
    """
    axes = T[:, None, None, :3]
    return axes[..., 3] + axes[..., 0] * plane_mm[..., :1] + axes[..., 1] * plane_mm[..., 1:]


def look_up_torch(
    packed: Float[Tensor, "i j k 8"], index: Float[Tensor, "*samples 3"]
) -> Float[Tensor, "7 ..."]:
    """Interpolate at voxel indices in plain PyTorch, on any device: the compiled pass's twin."""
    high = constant(tuple(packed.shape[:3]), index.dtype, index.device) - 1.0
    # On the border itself the slopes of both sides are halved, as `torch.maximum` does it.
    zero = torch.zeros_like(high)
    held = torch.minimum(torch.maximum(index, zero), high)
    fields = packed[..., : kernels.FIELDS].movedim(-1, 0)
    here, nudge = held.detach(), 8.0 * torch.finfo(index.dtype).eps * max(packed.shape)
    # Both cells that meet at a voxel's centre, so that the slopes of both sides count alike there;
    # well inside of them, as the grid's own scale rounds.
    halves = []
    for cell in (here.floor(), here.ceil() - 1.0):
        low = cell.clamp(min=0.0).minimum(high - 1.0)
        place = here.maximum(low + nudge).minimum(low + (1.0 - nudge))
        halves.append(interpolated(fields, held + (place - here)))
    values = 0.5 * (halves[0] + halves[1])
    beyond = torch.maximum(-index, zero) + torch.maximum(index - high, zero)
    x, y, z = (1.0 - beyond).clamp(min=0.0).unbind(-1)
    return torch.cat([values[:1], values[1:] * (x * y * z)])


def interpolated(
    fields: Float[Tensor, "c i j k"], index: Float[Tensor, "*samples 3"]
) -> Float[Tensor, "c ..."]:
    """Interpolate trilinearly at indices within the grid. Gradients flow, to both.

    They are found without a look at the numbers, for which the host would have to wait.
    """
    per_index = [2.0 / (count - 1) for count in fields.shape[1:]]
    scale = constant(tuple(per_index), index.dtype, index.device)
    grid = (index * scale - 1.0).flip(-1).reshape(1, -1, 1, 1, 3)
    found = F.grid_sample(fields[None], grid, padding_mode="border", align_corners=True)
    return found.reshape(len(fields), *index.shape[:-1])


class _LookUp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, packed: Tensor, plane: Tensor, affine: Tensor
    ) -> Tensor:
        ctx.save_for_backward(packed, plane, affine)
        beams, samples, _ = plane.shape
        values = packed.new_empty(kernels.FIELDS, len(affine), beams, samples)
        arrays = [tensor.detach().numpy() for tensor in (packed, plane, affine, values)]
        in_threads(len(affine) * beams, lambda low, high: kernels.look_up(*arrays, low, high))
        return values

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, pull: Tensor
    ) -> tuple[Tensor | None, None, Tensor]:
        packed, plane, affine = ctx.saved_tensors  # type: ignore[attr-defined]
        beams = len(plane)
        # One sum for each beam, so that the result does not depend on the number of threads.
        by_beam = torch.zeros(len(affine), beams, 3, 3, dtype=torch.float64)
        pull = torch.nn.functional.pad(pull.movedim(0, -1), (0, 1)).contiguous()
        arrays = [tensor.numpy() for tensor in (packed, plane, affine, pull, by_beam)]
        in_threads(
            len(affine) * beams, lambda low, high: kernels.look_up_backward(*arrays, low, high)
        )
        by_affine = affine_slope(by_beam, affine)
        if not ctx.needs_input_grad[0]:  # type: ignore[attr-defined]
            return None, None, by_affine
        by_voxel = torch.zeros_like(packed)
        kernels.spread(by_voxel.numpy(), *arrays[1:4])
        return by_voxel, None, by_affine


def affine_slope(
    by_beam: Float[Tensor, "poses beams 3 3"], affine: Float[Tensor, "poses 3 4"]
) -> Float[Tensor, "poses 3 4"]:
    """Return the gradient by affines from sums over beams of ``slope x (x, y, 1)``."""
    total = by_beam.sum(dim=1).to(affine.dtype)
    return torch.stack([total[..., 0], total[..., 1], torch.zeros_like(total[..., 0]),
                        total[..., 2]], dim=-1)  # fmt: skip
