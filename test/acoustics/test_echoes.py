"""Echoes along beams: the compiled pass against its twin, with all gradients."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from us_recon.acoustics.echoes import trace
from us_recon.acoustics.fields import pack
from us_recon.acoustics.settings import RenderSettings, device_parameters
from us_recon.acoustics.volume import AcousticVolume
from us_recon.imaging.probe import ProbeGeometry

MODES = {
    "primary": RenderSettings(),
    "physical": RenderSettings(echoes="coupled"),
    "published": RenderSettings(echoes="coupled", convention="published"),
}


@pytest.mark.parametrize("mode", list(MODES))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("asked", [2, 4], ids=["echoes", "all"])
def test_the_compiled_pass_equals_its_twin_with_all_gradients(
    mottled: AcousticVolume,
    linear: ProbeGeometry,
    oblique: torch.Tensor,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    dtype: torch.dtype,
    asked: int,
) -> None:
    settings = MODES[mode]
    packed = pack(mottled.to(dtype=dtype)).clone().requires_grad_()
    plane = torch.as_tensor(linear.beam_points_mm).to(dtype)
    poses = torch.stack([oblique, oblique @ oblique]).to(dtype)
    T = (torch.as_tensor(mottled.T_index_space).to(dtype) @ poses).requires_grad_()
    directions = torch.as_tensor(linear.beam_directions).to(dtype) @ poses[:, :3, :2].mT
    directions.requires_grad_()
    device = device_parameters(settings, 5.0, dtype)
    fitted = ("edge_db", "scatter_db", "attenuation_scale", "frequency_mhz", "roughness_deg")
    leaves = {name: getattr(device, name).clone().requires_grad_() for name in fitted}
    device = replace(device, **leaves)
    rng = np.random.default_rng(0)
    pulls = torch.from_numpy(rng.standard_normal((4, 2, 32, 120))).to(dtype)[:asked]
    values, slopes = [], []
    for compiled in (True, False):
        with monkeypatch.context() as patch:
            if not compiled:
                for module in ("echoes", "fields", "propagation"):
                    patch.setattr(f"us_recon.acoustics.{module}.is_compiled_for", lambda _: False)
            found = trace(packed, plane, T, directions, linear, settings, device)
            loss = sum((pull * value).sum() for pull, value in zip(pulls, found, strict=False))
            values.append(torch.stack([each.detach() for each in found]))
            given = (packed, T, directions, *leaves.values())
            slopes.append(torch.autograd.grad(loss, given, materialize_grads=True))
    tight = dtype == torch.float64
    torch.testing.assert_close(*values, atol=1e-10 if tight else 2e-4, rtol=0)
    for fast, twin in zip(*slopes, strict=True):
        scale = twin.abs().max().clamp(min=1e-12)
        torch.testing.assert_close(fast / scale, twin / scale, atol=1e-9 if tight else 1e-3, rtol=0)
