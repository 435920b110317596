"""The look-up of tissue along beams: by hand, against its twin, and beyond the border."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from us_recon.acoustics.fields import gradient_per_mm, look_up, look_up_torch, pack, points_of
from us_recon.acoustics.volume import AcousticVolume
from us_recon.errors import InputError


def ramp() -> AcousticVolume:
    """Impedance 1 + i, attenuation j, backscatter k on 3 x 4 x 5 voxels of 1 mm."""
    i, j, k = (
        torch.from_numpy(axis.astype(float))
        for axis in np.meshgrid(*[np.arange(n) for n in (3, 4, 5)], indexing="ij")
    )
    return AcousticVolume(1.0 + i, j, k, torch.ones(3, 4, 5, dtype=torch.float64), np.eye(4))


def at(volume: AcousticVolume, *point: float) -> list[float]:
    """Impedance, attenuation, backscatter and inside at one voxel position."""
    T = torch.eye(4, dtype=torch.float64)
    T[:3, 3] = torch.tensor(point)
    fields = look_up(pack(volume), torch.zeros(2, 2, 2, dtype=torch.float64), T[None])
    return [
        round(field[0, 0, 0].item(), 9)
        for field in (
            fields.impedance_mrayl,
            fields.attenuation_db_cm_mhz,
            fields.scatter,
            fields.inside,
        )
    ]


def test_between_voxels_it_is_linear() -> None:
    assert at(ramp(), 0.25, 1.5, 3.75) == [1.25, 1.5, 3.75, 1.0]


def test_beyond_the_border_the_impedance_holds_and_the_rest_fades() -> None:
    # 0.25 voxels beyond the last of 5: backscatter 4 and all others times 0.75.
    assert at(ramp(), 1.0, 2.0, 4.25) == [2.0, 1.5, 3.0, 0.75]
    # Half a voxel before the first on two axes: what fades is times 0.25; impedance 1 at i = 0.
    assert at(ramp(), -0.5, -0.5, 4.0) == [1.0, 0.0, 1.0, 0.25]
    assert at(ramp(), 1.0, 2.0, 5.5) == [2.0, 0.0, 0.0, 0.0]
    assert at(ramp(), 1.0, 2.0, -1e9) == [2.0, 0.0, 0.0, 0.0]


def test_the_gradient_of_a_ramp_is_given_in_the_axes_of_space() -> None:
    # dZ/di = 1 per voxel; i runs along -y, 2 mm a voxel.
    T = np.array([[0.0, 1, 0, 0], [-2, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    gradient = gradient_per_mm(replace(ramp(), T_space_index=T))
    torch.testing.assert_close(gradient[1, 2, 2], torch.tensor([0.0, -0.5, 0.0]).double())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_compiled_pass_equals_its_twin(
    mottled: AcousticVolume, oblique: torch.Tensor, dtype: torch.dtype
) -> None:
    packed = pack(mottled.to(dtype=dtype)).clone().requires_grad_()
    rng = np.random.default_rng(6)
    plane = torch.from_numpy(rng.uniform(-20.0, 35.0, (9, 40, 2))).to(dtype)
    T = torch.as_tensor(mottled.T_index_space) @ torch.stack([oblique, oblique @ oblique])
    T = T.to(dtype).requires_grad_()
    pull = torch.from_numpy(rng.standard_normal((7, 2, 9, 40))).to(dtype)
    fields = look_up(packed, plane, T)
    scalars = [fields.impedance_mrayl, fields.attenuation_db_cm_mhz, fields.scatter, fields.inside]
    fast = torch.cat([torch.stack(scalars), fields.steepest])
    twin = look_up_torch(packed, points_of(plane, T))
    assert (fields.inside == 0).any() and (fields.inside == 1).any()
    tight = dtype == torch.float64
    torch.testing.assert_close(fast, twin, atol=1e-10 if tight else 2e-4, rtol=1e-9)
    slopes = [torch.autograd.grad((v * pull).sum(), (packed, T)) for v in (fast, twin)]
    if tight:
        torch.testing.assert_close(slopes[0][0], slopes[1][0], atol=1e-10, rtol=1e-8)
        torch.testing.assert_close(slopes[0][1], slopes[1][1], atol=1e-8, rtol=1e-8)
    else:
        scale = slopes[1][1].abs().max()
        torch.testing.assert_close(slopes[0][1] / scale, slopes[1][1] / scale, atol=1e-4, rtol=0)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("at", [0.0, 3.0, -0.4, -1.5, "far end", "beyond it"])
def test_the_twin_is_the_same_on_voxels_and_at_the_border(
    mottled: AcousticVolume, axis: int, at: float | str
) -> None:
    """Where cells meet the slopes of both count; a plane of samples lies across each axis."""
    packed = pack(mottled)
    last = packed.shape[axis] - 1.0
    place = {"far end": last, "beyond it": last + 0.4}.get(at, at) if isinstance(at, str) else at
    first, second = (other for other in range(3) if other != axis)
    T = torch.zeros(1, 4, 4, dtype=torch.float64)
    T[0, first, 0] = T[0, second, 1] = T[0, 3, 3] = 1.0
    T[0, axis, 3] = place
    T.requires_grad_()
    rows, columns = torch.meshgrid(torch.arange(1.0, 10.0), torch.arange(2.0, 9.0), indexing="ij")
    plane = torch.stack([rows, columns], dim=-1).double()
    pull = torch.from_numpy(np.random.default_rng(3).standard_normal((7, 1, 9, 7)))
    fields = look_up(packed, plane, T)
    scalars = [fields.impedance_mrayl, fields.attenuation_db_cm_mhz, fields.scatter, fields.inside]
    fast = torch.cat([torch.stack(scalars), fields.steepest])
    twin = look_up_torch(packed, points_of(plane, T))
    torch.testing.assert_close(fast, twin, atol=1e-10, rtol=1e-9)
    slopes = [torch.autograd.grad((v * pull).sum(), T)[0][:, :3] for v in (fast, twin)]
    torch.testing.assert_close(*slopes, atol=1e-8, rtol=1e-8)


def test_the_result_does_not_depend_on_the_number_of_threads(
    mottled: AcousticVolume, oblique: torch.Tensor
) -> None:
    packed, plane = pack(mottled), torch.rand(70, 30, 2, dtype=torch.float64) * 20.0
    T = (torch.as_tensor(mottled.T_index_space) @ oblique)[None].requires_grad_()
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        fields = look_up(packed, plane, T)
        found.append((fields.scatter, torch.autograd.grad(fields.scatter.sum(), T)[0]))
    torch.set_num_threads(1)
    for one, two in zip(*found, strict=True):
        assert torch.equal(one, two)


def test_the_packed_fields_are_kept_unless_they_need_gradients(
    layered: Callable[..., AcousticVolume],
) -> None:
    volume = layered()
    assert pack(volume) is pack(volume)
    learned = replace(volume, scatter=volume.scatter.clone().requires_grad_())
    assert pack(learned) is not pack(learned)
    assert pack(learned).requires_grad


def test_a_volume_that_makes_no_sense_is_refused(layered: Callable[..., AcousticVolume]) -> None:
    volume = layered()
    with pytest.raises(InputError, match="least impedance is -1"):
        replace(volume, impedance_mrayl=-volume.impedance_mrayl / 1.6)
    with pytest.raises(InputError, match="determinant"):
        replace(volume, T_space_index=np.diag([1.0, 1.0, 0.0, 1.0]))
