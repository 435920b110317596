"""The expected image: levels worked out by hand, gradients against differences, bad input."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from us_recon.acoustics.propagation import primary_echoes
from us_recon.acoustics.renderer import render
from us_recon.acoustics.settings import DeviceParameters, RenderSettings, device_parameters
from us_recon.acoustics.volume import AcousticVolume
from us_recon.errors import InputError
from us_recon.geometry.se3_torch import exp_se3
from us_recon.imaging.probe import ProbeGeometry

Layered = Callable[..., AcousticVolume]
HERE = torch.eye(4, dtype=torch.float64)
# Coupled echoes are as large as reflections themselves: less gain keeps them below white.
VARIANTS: dict[str, dict[str, Any]] = {
    "primary": {"gain_db": 30.0},
    "speckle": {"gain_db": 30.0, "speckle": True},
    "coupled": {"gain_db": -10.0, "echoes": "coupled"},
    "published": {"gain_db": -10.0, "echoes": "coupled", "convention": "published"},
    "repeats": {"gain_db": 30.0, "face_reflection": 0.3},
}


def level_db(rendering: Tensor, settings: RenderSettings) -> Tensor:
    """Level at the receiver: the display undone."""
    return (rendering - 1.0) * settings.dynamic_range_db - settings.gain_db


# --- Levels ---------------------------------------------------------------------------------------


def test_attenuation_darkens_by_two_ways_of_db_per_cm_and_mhz(
    layered: Layered, linear: ProbeGeometry
) -> None:
    settings = RenderSettings(
        frequency_mhz=4.0, scatter_db=-40.0, gain_db=20.0, compensation_db_cm_mhz=0.0
    )
    image = render(layered(attenuation=0.5, scatter=1.0), HERE, linear, settings).brightness[0]
    levels = level_db(image[16], settings)
    depths_mm = torch.from_numpy(linear.sample_depths_mm)
    near, far = torch.argmin((depths_mm - 5).abs()), torch.argmin((depths_mm - 20).abs())
    apart_cm = 0.1 * (depths_mm[far] - depths_mm[near]).item()
    # 0.5 dB/cm/MHz at 4 MHz, there and back: 4 dB per cm of depth.
    assert (levels[near] - levels[far]).item() == pytest.approx(4.0 * apart_cm, rel=1e-3)


def test_backscatter_and_gain_set_the_brightness(layered: Layered, linear: ProbeGeometry) -> None:
    settings = RenderSettings(
        scatter_db=-50.0, gain_db=30.0, dynamic_range_db=60.0, compensation_db_cm_mhz=0.0
    )
    image = render(layered(scatter=2.0), HERE, linear, settings).brightness[0]
    # Twice the amplitude of grey matter: -50 + 6.02 + 30 = -13.98 dB of 60 below white.
    assert image[16, 60].item() == pytest.approx(1.0 - 13.98 / 60.0, abs=1e-3)


def test_time_gain_is_a_slope_and_sliders(layered: Layered, linear: ProbeGeometry) -> None:
    plain = RenderSettings(scatter_db=-50.0, gain_db=20.0, compensation_db_cm_mhz=0.0)
    sliders = (0.0, 0.0, 7.0, 0.0)
    raised = replace(
        plain,
        frequency_mhz=4.0,
        compensation_db_cm_mhz=0.1,
        tgc_db_cm=1.2,
        tgc_sliders_db=sliders,
    )
    volume = layered(scatter=1.0)
    images = [render(volume, HERE, linear, one).brightness[0, 16] for one in (plain, raised)]
    difference_db = (images[1] - images[0]) * plain.dynamic_range_db
    depths_cm = 0.1 * linear.sample_depths_mm
    knots = np.linspace(0.0, linear.depth_mm / 10.0, 4)
    # 1.2 dB/cm, and 0.1 dB/cm/MHz there and back at 4 MHz.
    expected = 2.0 * depths_cm + np.interp(depths_cm, knots, sliders)
    np.testing.assert_allclose(difference_db[10:-10], expected[10:-10], atol=1e-6)


def test_bone_casts_a_shadow_and_water_does_not(layered: Layered, linear: ProbeGeometry) -> None:
    settings = RenderSettings(scatter_db=-30.0, noise_db=-150.0, gain_db=0.0)
    bone = layered(impedance=(1.6, 6.4), scatter=1.0)
    behind = render(bone, HERE, linear, settings).transmission[0, 16, -1].item()
    # (6.4 - 1.6) / 8 = 0.6 in one step would pass 1 - 0.36; the voxels make a ramp of it, which
    # passes more: the product of 1 - R^2 over the samples of the ramp.
    depths = np.clip((linear.sample_depths_mm - 9.5) / 0.5, 0.0, 1.0)
    Z = 1.6 + 4.8 * depths
    R = (Z[1:] - Z[:-1]) / (Z[1:] + Z[:-1])
    assert behind == pytest.approx(np.prod(1.0 - R**2), rel=1e-9)
    assert render(layered(scatter=1.0), HERE, linear, settings).transmission.min() == 1.0


def test_without_attenuation_the_edges_are_the_primary_echoes(
    mottled: AcousticVolume, linear: ProbeGeometry, oblique: Tensor
) -> None:
    settings = RenderSettings(roughness_deg=80.0)
    clear = replace(mottled, attenuation_db_cm_mhz=torch.zeros_like(mottled.scatter))
    found = render(clear, oblique, linear, settings)
    passed = primary_echoes(reflections_at(clear, linear, oblique))
    # Facets of 80 degrees take next to nothing away, except from edges along the beam.
    share = (found.edges[..., :-1] / passed).flatten()[passed.flatten().abs() > 1e-3]
    assert (share <= 1.0 + 1e-9).all() and (share >= 0.0).all()
    assert share.median() > 0.9 and share.quantile(0.9) > 0.99


def reflections_at(volume: AcousticVolume, probe: ProbeGeometry, T: Tensor) -> Tensor:
    """Reflections along the beams, looked up by SciPy."""
    points = np.pad(probe.beam_points_mm, ((0, 0), (0, 0), (0, 1))) @ T[:3, :3].numpy().T
    points += T[:3, 3].numpy()
    index = np.moveaxis(
        points @ volume.T_index_space[:3, :3].T + volume.T_index_space[:3, 3], -1, 0
    )
    Z, inside = (
        map_coordinates(field.numpy(), index, order=1, mode="nearest")
        for field in (volume.impedance_mrayl, volume.inside)
    )
    R = (Z[:, 1:] - Z[:, :-1]) / (Z[:, 1:] + Z[:, :-1]) * inside[:, 1:] * inside[:, :-1]
    return torch.from_numpy(R)[None]


def test_an_oblique_edge_is_fainter_and_a_rough_one_less_so(
    layered: Layered, linear: ProbeGeometry
) -> None:
    volume = layered(impedance=(1.6, 1.7))
    tilt = exp_se3(torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, np.radians(20.0)], dtype=torch.float64))
    peaks = {}
    for roughness_deg in (15.0, 45.0):
        settings = RenderSettings(roughness_deg=roughness_deg)
        for name, T in (("across", HERE), ("tilted", tilt)):
            edges = render(volume, T, linear, settings).edges[0, 16]
            peaks[name, roughness_deg] = edges.abs().sum().item()
    tan = np.tan(np.radians([20.0, 15.0, 45.0]))
    for roughness_deg, slope in ((15.0, tan[1]), (45.0, tan[2])):
        lost = peaks["tilted", roughness_deg] / peaks["across", roughness_deg]
        assert lost == pytest.approx(np.exp(-((tan[0] / slope) ** 2)), rel=0.15)


def test_speckle_is_fully_developed_and_keeps_the_level(layered: Layered) -> None:
    probe = ProbeGeometry.linear(24.0, 25.0, 96, 100, beam_count=160, sample_count=400)
    settings = RenderSettings(
        speckle=True, scatter_db=-20.0, noise_db=-150.0, gain_db=0.0, dynamic_range_db=140.0,
        beam_mm=0.9, focus_mm=15.0, spread_mm=1000.0, compensation_db_cm_mhz=0.0,
    )  # fmt: skip
    volume = layered(scatter=1.0)
    poses = torch.stack(
        [exp_se3(torch.tensor([0.0, 0.0, z, 0.0, 0.0, 0.0]).double()) for z in (-8.0, 0.3, 7.0)]
    )
    part = (slice(None), slice(12, -12), slice(20, -20))
    amplitude = 10.0 ** (level_db(render(volume, poses, probe, settings).brightness, settings) / 20)
    amplitude = amplitude[part]
    # Rayleigh: mean / standard deviation = sqrt(pi / (4 - pi)) = 1.913.
    assert (amplitude.mean() / amplitude.std()).item() == pytest.approx(1.913, rel=0.05)
    even = replace(settings, speckle=False)
    level = 10.0 ** (level_db(render(volume, HERE, probe, even).brightness, even) / 20)[part].mean()
    power_db = 10.0 * torch.log10((amplitude**2).mean() / level**2).item()
    assert abs(power_db) < 1.5


def test_speckle_stays_with_the_tissue(mottled: AcousticVolume, linear: ProbeGeometry) -> None:
    settings = RenderSettings(speckle=True, scatter_db=-30.0, gain_db=0.0, edge_db=-100.0)
    pitch = linear.width_mm / linear.beam_count
    aside = exp_se3(torch.tensor([pitch, 0.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64))
    one, two = (render(mottled, T, linear, settings).brightness[0] for T in (HERE, aside))
    # Moved by one beam, the image moves by one beam; the blur differs at the sides alone.
    torch.testing.assert_close(one[6:-5], two[5:-6], atol=1e-9, rtol=0)
    again = render(mottled, HERE, linear, settings).brightness[0]
    assert torch.equal(one, again)
    other = render(mottled, HERE, linear, replace(settings, seed=1)).brightness[0]
    assert (one - other).abs().mean() > 0.01


# --- What is not known ----------------------------------------------------------------------------


def test_outside_there_is_neither_tissue_nor_edge(layered: Layered, linear: ProbeGeometry) -> None:
    down = torch.tensor([0.0, 20.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    found = render(layered(2.0, 0.5, 1.0), exp_se3(down), linear)
    # The volume ends at 32 mm, 12 below the face.
    depths = linear.sample_depths_mm
    assert (found.inside[0, 16, depths < 11.9] == 1).all()
    beyond = depths > 12.6
    for field in (found.inside, found.scatter, found.edges):
        assert (field[0, 16, beyond] == 0).all()
    assert (found.edges.abs() < 1e-9).all()
    away = exp_se3(torch.tensor([0.0, -500.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64))
    assert (render(layered(2.0, 0.5, 1.0), away, linear).inside == 0).all()


# --- Gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", list(VARIANTS))
@pytest.mark.parametrize("place", ["inside", "border", "aligned"])
def test_pose_gradients_agree_with_central_differences(
    mottled: AcousticVolume, probe: ProbeGeometry, oblique: Tensor, variant: str, place: str
) -> None:
    settings = RenderSettings(**VARIANTS[variant])
    start = {"inside": oblique, "border": oblique.clone(), "aligned": HERE}[place]
    if place == "border":
        start[:3, 3] += torch.tensor([9.0, 16.0, 6.0])
    pull = smooth_pull(probe)

    def loss(twist: Tensor) -> Tensor:
        image = render(mottled, exp_se3(twist) @ start, probe, settings)
        return (image.brightness[0] * pull).sum()

    twist = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(twist), twist)
    step = 1e-7
    differences = torch.stack(
        [
            (loss(step * unit) - loss(-step * unit)).detach() / (2.0 * step)
            for unit in torch.eye(6, dtype=torch.float64)
        ]
    )
    for part in (slice(0, 3), slice(3, 6)):  # per mm, and per radian
        scale = differences[part].abs().max()
        assert scale > 1e-3
        torch.testing.assert_close(slope[part], differences[part], atol=1e-3 * scale, rtol=1e-3)


@pytest.mark.parametrize("name", [field.name for field in fields(DeviceParameters)])
def test_device_gradients_agree_with_central_differences(
    mottled: AcousticVolume, linear: ProbeGeometry, oblique: Tensor, name: str
) -> None:
    settings = RenderSettings(speckle=True, gain_db=40.0, face_reflection=0.3)
    device = device_parameters(settings, 5.0, torch.float64)
    pull = smooth_pull(linear)

    def loss(value: Tensor) -> Tensor:
        changed = replace(device, **{name: value})
        return (render(mottled, oblique, linear, settings, changed).brightness[0] * pull).sum()

    value = getattr(device, name).clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(value), value)
    units = torch.eye(value.numel(), dtype=torch.float64).reshape(-1, *value.shape)
    step = 1e-5
    differences = torch.stack(
        [(loss(value + step * unit) - loss(value - step * unit)).detach() for unit in units]
    ).reshape(value.shape) / (2.0 * step)
    scale = differences.abs().max()
    assert scale > 1e-6
    torch.testing.assert_close(slope, differences, atol=1e-3 * scale, rtol=1e-3)


@pytest.mark.parametrize("name", ["impedance_mrayl", "attenuation_db_cm_mhz", "scatter"])
def test_tissue_gradients_agree_with_central_differences(
    mottled: AcousticVolume, linear: ProbeGeometry, oblique: Tensor, name: str
) -> None:
    settings, pull = RenderSettings(gain_db=40.0), smooth_pull(linear)
    base = getattr(mottled, name)
    change = torch.from_numpy(np.random.default_rng(1).standard_normal(base.shape))

    def loss(value: Tensor) -> Tensor:
        image = render(replace(mottled, **{name: value}), oblique, linear, settings)
        return (image.brightness[0] * pull).sum()

    value = base.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(value), value)
    step = 1e-6
    difference = (loss(base + step * change) - loss(base - step * change)) / (2.0 * step)
    assert abs(difference) > 1e-3
    torch.testing.assert_close((slope * change).sum(), difference, atol=0, rtol=1e-3)


def test_a_pose_is_recovered_by_following_the_gradient(
    mottled: AcousticVolume, linear: ProbeGeometry, oblique: Tensor
) -> None:
    settings = RenderSettings(gain_db=40.0, pulse_mm=1.0, beam_mm=2.0)
    steps = torch.linspace(-4.0, 4.0, 3, dtype=torch.float64)
    poses = torch.stack([exp_se3(torch.tensor([0, 0, z, 0, 0.1 * z, 0])) @ oblique for z in steps])
    measured = render(mottled, poses, linear, settings).brightness
    off = torch.tensor([0.5, -0.4, 0.3, 0.01, -0.015, 0.01], dtype=torch.float64)
    twist = off.clone().requires_grad_()
    solver = torch.optim.LBFGS([twist], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        expected = render(mottled, exp_se3(twist) @ poses, linear, settings).brightness
        total = ((expected - measured) ** 2).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    before = loss().item()
    solver.step(loss)
    assert loss().item() < 1e-3 * before
    assert (exp_se3(twist.detach())[:3, 3]).norm() < 0.05


# --- Types, devices, batches, bad input -----------------------------------------------------------


def test_single_precision_agrees_with_double(
    mottled: AcousticVolume, probe: ProbeGeometry, oblique: Tensor
) -> None:
    for variant in VARIANTS.values():
        settings = RenderSettings(**variant)
        double = render(mottled, oblique, probe, settings).brightness
        single = render(mottled.to(dtype=torch.float32), oblique.float(), probe, settings)
        assert single.brightness.dtype == torch.float32
        torch.testing.assert_close(single.brightness.double(), double, atol=5e-3, rtol=0)


def test_a_batch_is_the_poses_one_by_one(
    mottled: AcousticVolume, linear: ProbeGeometry, oblique: Tensor
) -> None:
    settings = RenderSettings(speckle=True, gain_db=40.0)
    poses = torch.stack([HERE, oblique, oblique @ oblique])
    together = render(mottled, poses, linear, settings).brightness
    for pose, image in zip(poses, together, strict=True):
        alone = render(mottled, pose, linear, settings).brightness[0]
        torch.testing.assert_close(image, alone, atol=1e-12, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("variant", list(VARIANTS))
def test_cuda_agrees_with_the_cpu(
    mottled: AcousticVolume, linear: ProbeGeometry, oblique: Tensor, variant: str
) -> None:
    settings = RenderSettings(**VARIANTS[variant])
    slopes, images = [], []
    for device in ("cpu", "cuda"):
        pose = oblique.to(device).requires_grad_()
        image = render(mottled.to(device), pose, linear, settings).brightness
        images.append(image.detach().cpu())
        slopes.append(torch.autograd.grad(image.sum(), pose)[0].cpu())
    torch.testing.assert_close(*images, atol=1e-9, rtol=0)
    torch.testing.assert_close(*slopes, atol=1e-7, rtol=1e-6)


def test_the_compiled_passes_equal_plain_pytorch(
    mottled: AcousticVolume, probe: ProbeGeometry, oblique: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU runs, run on the CPU."""
    modules = ("echoes", "fields", "point_spread", "propagation", "speckle")
    for variant in VARIANTS.values():
        settings = RenderSettings(**variant)
        images, slopes = [], []
        for compiled in (True, False):
            with monkeypatch.context() as patch:
                if not compiled:
                    for module in modules:
                        patch.setattr(
                            f"us_recon.acoustics.{module}.is_compiled_for", lambda _: False
                        )
                pose = oblique.clone().requires_grad_()
                image = render(mottled, pose, probe, settings).brightness
                images.append(image.detach())
                slopes.append(torch.autograd.grad(image.sum(), pose)[0])
        torch.testing.assert_close(*images, atol=1e-9, rtol=0)
        torch.testing.assert_close(*slopes, atol=1e-7, rtol=1e-6)


def test_poses_that_do_not_fit_are_refused(mottled: AcousticVolume, linear: ProbeGeometry) -> None:
    with pytest.raises(InputError, match=r"torch.float32 .* expected the same"):
        render(mottled, torch.eye(4), linear)
    broken = HERE.clone()
    broken[0, 3] = float("nan")
    with pytest.raises(InputError, match="not finite"):
        render(mottled, broken, linear)


def smooth_pull(probe: ProbeGeometry) -> Tensor:
    """Weights of a loss: different everywhere, as those of a comparison of images are."""
    rows = torch.linspace(0.0, 7.0, probe.beam_count, dtype=torch.float64)
    columns = torch.linspace(0.0, 11.0, probe.sample_count, dtype=torch.float64)
    return torch.sin(rows)[:, None] + torch.cos(columns)[None, :]
