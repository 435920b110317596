"""Speed and memory of the differentiable renderer.

python -m benchmarks.renderer [--fast]
"""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from benchmarks.arguments import parse_run
from benchmarks.measure import measured
from benchmarks.tables import write_table
from us_recon.acoustics.propagation import Convention, coupled_echoes, primary_echoes
from us_recon.acoustics.renderer import render
from us_recon.acoustics.settings import RenderSettings
from us_recon.acoustics.volume import AcousticVolume
from us_recon.geometry.se3_torch import exp_se3
from us_recon.imaging.probe import ProbeGeometry, ProbeKind

RAYS = 64
DEPTHS, FAST_DEPTHS = (32, 64, 128), (32, 64)
BEAMS, SAMPLES = 192, 512
PROBES = {
    "linear": ProbeGeometry.linear(
        40.0, 45.0, 240, 270, beam_count=BEAMS, sample_count=SAMPLES
    ),
    "convex": ProbeGeometry.sector(
        ProbeKind.CONVEX, 34.0, 50.0, 45.0, 240, beam_count=BEAMS, sample_count=SAMPLES
    ),
    "phased": ProbeGeometry.sector(
        ProbeKind.PHASED, 0.0, 70.0, 45.0, 240, beam_count=BEAMS, sample_count=SAMPLES
    ),
}  # fmt: skip
POSES = 16

PROPAGATION_NOTE = """
`coupled_echoes` against dense solves of the same linear systems: {rays} rays, one system for every
depth, all rays of a depth in one batched `torch.linalg.solve`; float32, one thread, CPU time,
medians, side by side. Reflections as of tissue with a layer of bone. `difference`: the largest
between the two. Times in ms.
"""
COPY_NOTE = """
Propagation of 128 beams of 512 samples (float32, one thread, CPU time, median of many calls)
against copying the same reflections. Times in us.
"""
RENDER_NOTE = """
A frame of {beams} beams and {samples} samples of a tissue map of 200 x 200 x 200 voxels of 0.5 mm,
float32, gradients to the six pose parameters. CPU time, median, one thread unless said otherwise.
`16 poses` are rendered by one call; `of one` is how many times a frame of one pose that takes.
`two threads` is time on the clock with two threads, `of one` there against the CPU time of one pose
on one core. Memory: peak above what was resident, 16 poses with gradients. Times in ms.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the tables."""
    run = parse_run(__doc__, arguments)
    torch.set_num_threads(1)
    rows = [
        against_dense(convention, count)
        for convention in Convention
        for count in (FAST_DEPTHS if run.fast else DEPTHS)
    ]
    write_table("propagation", rows, PROPAGATION_NOTE.format(rays=RAYS), run.results)
    write_table("propagation_copy", against_copy(), COPY_NOTE, run.results)
    variants = {"": RenderSettings()}
    if not run.fast:
        variants |= {
            "speckle": RenderSettings(speckle=True),
            "coupled": RenderSettings(echoes="coupled"),
        }
    volume = tissue()
    rows = [
        frames(volume, name, probe, variant, settings)
        for variant, settings in variants.items()
        for name, probe in PROBES.items()
    ]
    write_table("renderer", rows, RENDER_NOTE.format(beams=BEAMS, samples=SAMPLES), run.results)


# --- Propagation ----------------------------------------------------------------------------------


def reflections(rays: int, count: int) -> Tensor:
    """Return reflections along beams through soft tissue, a layer of bone and soft tissue."""
    rng = np.random.default_rng(count)
    Z = 1.6 + 0.05 * rng.standard_normal((rays, count + 1))
    Z[:, count // 2 : count // 2 + count // 8] += 4.0
    R = (Z[:, 1:] - Z[:, :-1]) / (Z[:, 1:] + Z[:, :-1])
    return torch.from_numpy(R.astype(np.float32))


def dense_echoes(reflection: Tensor, convention: str) -> Tensor:
    """Solve the coupled system of every depth; unknowns g_1 .. g_n, d_0 .. d_{n-1}."""
    sign = -1.0 if convention == Convention.PHYSICAL else 1.0
    echoes = [torch.zeros_like(reflection[:, 0])]
    for n in range(1, reflection.shape[1] + 1):
        R = reflection[:, :n]
        later, before = R[:, 1:], R[:, :-1]
        forward = torch.diag_embed(-(1.0 + later), offset=-1) + torch.eye(n)
        fed_back = torch.diag_embed(-sign * before, offset=1)
        reflected = torch.diag_embed(-later, offset=-1)
        backward = torch.diag_embed(-(1.0 - before), offset=1) + torch.eye(n)
        matrix = torch.cat(
            [torch.cat([forward, fed_back], dim=2), torch.cat([reflected, backward], dim=2)], dim=1
        )
        entering = torch.nn.functional.pad(1.0 + R[:, :1], (0, n - 1))
        returned = torch.nn.functional.pad(R[:, :1], (0, n - 1))
        waves = torch.linalg.solve(matrix, torch.cat([entering, returned], dim=1))
        echoes.append(waves[:, n])
    return torch.stack(echoes, dim=1)


def against_dense(convention: str, count: int) -> dict[str, object]:
    """Return the times of both on the same reflections."""
    R = reflections(RAYS, count)

    def fast() -> Tensor:
        return coupled_echoes(R, convention)

    def dense() -> Tensor:
        return dense_echoes(R, convention)

    difference = (fast() - dense()).abs().max().item()
    times = {
        "dense": cpu_ms(dense, 3),
        "fast": cpu_ms(fast, 30, calls=20),
        "dense both": cpu_ms(with_gradient(lambda R: dense_echoes(R, convention), R), 3),
        "fast both": cpu_ms(with_gradient(lambda R: coupled_echoes(R, convention), R), 30, 20),
    }
    row = {
        "convention": convention,
        "N": count,
        "dense, forward": times["dense"],
        "coupled_echoes, forward": times["fast"],
        "times faster": times["dense"] / times["fast"],
        "dense, with gradient": times["dense both"],
        "coupled_echoes, with gradient": times["fast both"],
        "times faster with gradient": times["dense both"] / times["fast both"],
        "difference": difference,
    }
    print(row, flush=True)
    return row


def against_copy() -> list[dict[str, object]]:
    """Return the times of the forward passes and of a copy."""
    R = reflections(128, 512)
    target = torch.empty_like(R)
    calls: dict[str, Callable[[], object]] = {
        "copy": lambda: target.copy_(R),
        "primary_echoes": lambda: primary_echoes(R),
        "coupled_echoes, physical": lambda: coupled_echoes(R),
        "coupled_echoes, published": lambda: coupled_echoes(R, "published"),
    }
    times = {name: 1e3 * ms for name, ms in side_by_side_ms(calls, 100, calls=50).items()}
    return [
        {"what": name, "us": time_us, "times the copy": time_us / times["copy"]}
        for name, time_us in times.items()
    ]


# --- Frames ---------------------------------------------------------------------------------------


def tissue() -> AcousticVolume:
    """Return smooth random tissue."""
    rng = np.random.default_rng(0)
    bumps = [
        gaussian_filter(rng.standard_normal((200,) * 3, dtype=np.float32), 3.0) for _ in range(3)
    ]
    a, b, c = (torch.from_numpy(bump / bump.std()) for bump in bumps)
    T = np.diag([0.5, 0.5, 0.5, 1.0])
    T[:3, 3] = -50.0, -10.0, -50.0
    return AcousticVolume(
        1.6 + 0.05 * a.tanh(), 0.6 + 0.2 * b.tanh(), (0.5 * c).exp(), torch.ones_like(a), T
    )


def frames(
    volume: AcousticVolume, name: str, probe: ProbeGeometry, variant: str, settings: RenderSettings
) -> dict[str, object]:
    """Return the times of one and of many poses."""
    twists = torch.from_numpy(np.random.default_rng(1).normal(0.0, 1.0, (POSES, 6)))
    twists[:, 3:] *= 0.05
    poses = exp_se3(twists.float())

    def image(T: Tensor) -> Tensor:
        return render(volume, T, probe, settings).brightness

    def forward(T: Tensor) -> Callable[[], object]:
        def call() -> None:
            with torch.no_grad():
                image(T)

        return call

    one, many = forward(poses[:1]), forward(poses)
    one_both, many_both = with_gradient(image, poses[:1]), with_gradient(image, poses)
    times = side_by_side_ms(
        {"one": one, "many": many, "one both": one_both, "many both": many_both}, 15
    )
    memory_mib = measured(many_both).peak_mib
    torch.set_num_threads(2)
    threads = side_by_side_ms({"many": many, "many both": many_both}, 9, clock=time.perf_counter)
    torch.set_num_threads(1)
    row = {
        "probe": name,
        "with": variant or "-",
        "forward": times["one"],
        "with gradient": times["one both"],
        "16 poses": times["many"],
        "of one": times["many"] / times["one"],
        "16 with gradient": times["many both"],
        "of one with gradient": times["many both"] / times["one both"],
        "16, two threads": threads["many"],
        "of one, two threads": threads["many"] / times["one"],
        "16 with gradient, two threads": threads["many both"],
        "of one with gradient, two threads": threads["many both"] / times["one both"],
        "peak MiB": memory_mib,
    }
    print(row, flush=True)
    return row


# --- Time -----------------------------------------------------------------------------------------


def with_gradient(function: Callable[[Tensor], Tensor], start: Tensor) -> Callable[[], object]:
    """Return a call of a function and of its gradient."""
    variable = start.clone().requires_grad_()

    def call() -> None:
        torch.autograd.grad(function(variable).sum(), variable)

    return call


def cpu_ms(function: Callable[[], object], repeats: int, calls: int = 1) -> float:
    """Return the median CPU time of a call, after two that do not count."""
    return side_by_side_ms({"": function}, repeats, calls)[""]


def side_by_side_ms(
    functions: Mapping[str, Callable[[], object]],
    repeats: int,
    calls: int = 1,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, float]:
    """Return the median time of a call of each, taken in turns: what else runs slows all alike."""
    for function in functions.values():
        function()
        function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = clock()
            for _ in range(calls):
                function()
            times[name].append(1e3 * (clock() - start) / calls)
    return {name: float(np.median(each)) for name, each in times.items()}


if __name__ == "__main__":
    main()
