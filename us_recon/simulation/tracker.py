"""The virtual tracker: true poses become a stream with noise, jitter and drop-outs."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from scipy.spatial.transform import Rotation

from us_recon.settings import setting

NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class TrackerSettings:
    """How well the tracker sees the probe."""

    rate_hz: float = setting(100.0, "Poses per second.", unit="Hz", minimum=1.0, maximum=2000.0)
    noise_mm: float = setting(0.1, "Standard deviation of each coordinate.", unit="mm", minimum=0.0)
    noise_deg: float = setting(
        0.05, "Standard deviation of the rotation about each axis.", unit="deg", minimum=0.0
    )
    jitter_s: float = setting(
        0.0005, "Standard deviation of a pose's stamp.", unit="s", minimum=0.0, maximum=0.1
    )
    latency_s: float = setting(
        0.0, "Delay of pose stamps behind the pose.", unit="s", minimum=0.0, maximum=1.0
    )
    dropouts_per_s: float = setting(
        0.05, "Mean number of times per second that the probe is lost.", unit="1/s", minimum=0.0
    )
    dropout_s: float = setting(0.1, "How long it stays lost.", unit="s", minimum=0.0)
    calibration_error_mm: float = setting(
        0.0, "Size of the error of the probe calibration's translation.", unit="mm", minimum=0.0
    )
    calibration_error_deg: float = setting(
        0.0, "Size of the error of its rotation.", unit="deg", minimum=0.0
    )


@dataclass(frozen=True, eq=False)
class PoseStream:
    """Poses as a tracker reports them, stamps strictly increasing."""

    stamps_ns: Int64[np.ndarray, " n"]
    T_world_probe: Float64[np.ndarray, "n 4 4"]


def sample_times_s(
    settings: TrackerSettings, duration_s: float, margin_s: float, rng: np.random.Generator
) -> Float64[np.ndarray, " n"]:
    """Return the true times at which the tracker sees the probe, drop-outs left out."""
    count = int(np.floor((duration_s + 2.0 * margin_s) * settings.rate_hz)) + 1
    times_s = -margin_s + np.arange(count) / settings.rate_hz
    losses = rng.poisson(settings.dropouts_per_s * duration_s)
    seen = np.ones(count, dtype=bool)
    for start_s in rng.uniform(0.0, duration_s, losses):
        seen &= (times_s < start_s) | (times_s > start_s + settings.dropout_s)
    return np.asarray(times_s[seen])


def observe(
    settings: TrackerSettings,
    times_s: Float64[np.ndarray, " n"],
    T_world_probe: Float64[np.ndarray, "n 4 4"],
    start_ns: int,
    rng: np.random.Generator,
) -> PoseStream:
    """Add noise to poses, latency and jitter to their stamps.

    Noise turns and shifts the probe about its own origin.
    """
    late_s = times_s + settings.latency_s
    stamped_s = np.sort(late_s + settings.jitter_s * rng.standard_normal(len(times_s)))
    stamps_ns = start_ns + np.round(stamped_s * NS_PER_S).astype(np.int64)
    stamps_ns = np.maximum.accumulate(stamps_ns - np.arange(len(stamps_ns)))
    stamps_ns += np.arange(len(stamps_ns))
    noisy = T_world_probe.copy()
    turns = Rotation.from_rotvec(
        np.radians(settings.noise_deg) * rng.standard_normal((len(times_s), 3))
    )
    noisy[:, :3, :3] = noisy[:, :3, :3] @ turns.as_matrix()
    noisy[:, :3, 3] += settings.noise_mm * rng.standard_normal((len(times_s), 3))
    return PoseStream(stamps_ns, noisy)


def random_rigid(
    size_mm: float, size_deg: float, rng: np.random.Generator
) -> Float64[np.ndarray, "4 4"]:
    """Return a transform of exactly this shift and this turn, in a random direction."""
    shift, axis = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 3)))
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec(np.radians(size_deg) * axis).as_matrix()
    T[:3, 3] = size_mm * shift
    return T
