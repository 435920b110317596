"""A rendering on a GPU neither waits for it nor copies anything to or from it.

Tensors on PyTorch's meta device hold no numbers: whatever reads one fails there, GPU or not.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from us_recon.acoustics.renderer import render
from us_recon.acoustics.settings import RenderSettings, device_parameters
from us_recon.acoustics.volume import AcousticVolume
from us_recon.imaging.probe import ProbeGeometry

META = torch.device("meta")
WAITING = ("aten.prod", "aten.cumprod", "aten.nonzero", "aten.item", "aten._local_scalar_dense")
"""What waits for a GPU, itself or, as products do to look for zeros, on the way back."""
VARIANTS: dict[str, dict[str, Any]] = {
    "primary": {},
    "speckle": {"speckle": True},
    "coupled": {"echoes": "coupled"},
    "published": {"echoes": "coupled", "convention": "published"},
    "repeats": {"face_reflection": 0.3},
}


class HostTensors(TorchDispatchMode):
    """Collect what takes a tensor of the host, single numbers aside, and what waits for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, result)):
            if isinstance(leaf, Tensor) and leaf.device.type == "cpu" and leaf.ndim > 0:
                self.found.append(str(func))
        if str(func).startswith(WAITING):
            self.found.append(str(func))
        return result


@pytest.fixture
def on_meta(mottled: AcousticVolume) -> AcousticVolume:
    """The tissue on a device that holds no numbers; no volume of its own would pass its checks."""
    moved = copy.copy(mottled)
    for name, value in vars(mottled).items():
        if isinstance(value, Tensor):
            moved.__dict__[name] = value.to(META)
    return moved


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_a_second_rendering_and_its_gradient_copy_nothing(
    on_meta: AcousticVolume, linear: ProbeGeometry, variant: str
) -> None:
    settings = RenderSettings(**VARIANTS[variant])
    pose = torch.eye(4, dtype=torch.float64, device=META).requires_grad_()
    render(on_meta, pose, linear, settings)
    with HostTensors() as host:
        image = render(on_meta, pose, linear, settings).brightness
        (slope,) = torch.autograd.grad(image.sum(), pose)
    assert image.shape == (1, linear.beam_count, linear.sample_count)
    assert slope.shape == (4, 4)
    assert host.found == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("variant", list(VARIANTS))
def test_a_gpu_is_never_waited_for(
    mottled: AcousticVolume, linear: ProbeGeometry, variant: str
) -> None:
    settings, volume = RenderSettings(**VARIANTS[variant]), mottled.to("cuda")
    pose = torch.eye(4, dtype=torch.float64, device="cuda").requires_grad_()
    render(volume, pose, linear, settings)
    torch.cuda.set_sync_debug_mode("error")
    try:
        image = render(volume, pose, linear, settings).brightness
        (slope,) = torch.autograd.grad(image.sum(), pose)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(image).all()
    assert torch.isfinite(slope).all()


def test_a_device_that_is_given_as_tensors_is_read_for_its_widths(
    on_meta: AcousticVolume, linear: ProbeGeometry
) -> None:
    """How many weights a blur has depends on them; and the test above can fail."""
    device = device_parameters(RenderSettings(), 5.0, torch.float64, META)
    pose = torch.eye(4, dtype=torch.float64, device=META)
    with pytest.raises(RuntimeError, match="meta"):
        render(on_meta, pose, linear, RenderSettings(), device)


def test_what_is_kept_from_inference_takes_part_in_gradients(
    mottled: AcousticVolume, linear: ProbeGeometry
) -> None:
    settings = RenderSettings(speckle=True, grain_mm=0.31)
    fresh = copy.copy(mottled)
    for name in ("_packed", "_index_of_space"):
        fresh.__dict__.pop(name, None)
    pose = torch.eye(4, dtype=torch.float64)
    with torch.inference_mode():
        expected = render(fresh, pose, linear, settings).brightness
    image = render(fresh, pose.requires_grad_(), linear, settings).brightness
    (slope,) = torch.autograd.grad(image.sum(), pose)
    torch.testing.assert_close(image.detach(), expected.clone())
    assert slope.abs().max() > 0.0


def test_what_is_rendered_without_gradients_keeps_none_from_flowing_later(
    mottled: AcousticVolume, linear: ProbeGeometry
) -> None:
    learned = copy.copy(mottled)
    learned.__dict__.pop("_packed", None)
    scatter = learned.__dict__["scatter"] = mottled.scatter.clone().requires_grad_()
    pose = torch.eye(4, dtype=torch.float64)
    with torch.no_grad():
        render(learned, pose, linear)
    (slope,) = torch.autograd.grad(render(learned, pose, linear).brightness.sum(), scatter)
    assert slope.abs().max() > 0.0
