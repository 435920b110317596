"""How much each sample of a beam looks like the surface of bone to a trained network."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from jaxtyping import Float32, Int64

from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy.bone_network import STEP_MM, Weights, inputs_of, log_shares
from us_recon.occupancy.brightness import Beams, Calibration

_NEAR = 2  # of the network's samples to either side that mean the same echo
_NEVER, _LARGEST = -12.0, 8.0  # log-odds
_LEAST = np.float32(1e-9)


@dataclass(frozen=True, eq=False)
class LearnedEvidence:
    """What the network makes of one image.

    Attributes:
        shares: Probability of a surface at each of the network's samples.
        none: Probability that a beam shows none.
        stride: The image's samples for one of the network's.
        samples: The image's samples.
    """

    shares: Beams
    none: Float32[np.ndarray, " beams"]
    stride: int
    samples: int

    @property
    def log_odds(self) -> Beams:
        """Log-odds of a surface near each sample of the image against none on the beam."""
        near = _near_sums(self.shares)
        odds = np.log(near + _LEAST) - np.log(self.none[:, None] + _LEAST)
        at = np.arange(self.samples) / self.stride
        before = np.minimum(at.astype(np.int64), odds.shape[1] - 1)
        after = np.minimum(before + 1, odds.shape[1] - 1)
        part = (at - before).astype(np.float32)
        between = odds[:, before] * (1 - part) + odds[:, after] * part
        return np.clip(between, _NEVER, _LARGEST).astype(np.float32)

    def mean_near(self, index: Int64[np.ndarray, " beams"]) -> Float32[np.ndarray, " beams"]:
        """Return the sample of the image at which to expect the surface near each given one."""
        around = np.rint(index / self.stride).astype(np.int64)[:, None]
        near = np.clip(around + np.arange(-_NEAR, _NEAR + 1), 0, self.shares.shape[1] - 1)
        share = self.shares[np.arange(len(index))[:, None], near] + _LEAST
        return (self.stride * (share * near).sum(axis=1) / share.sum(axis=1)).astype(np.float32)


def learned_evidence(
    beams: Beams, calibration: Calibration, geometry: ProbeGeometry, weights: Weights
) -> LearnedEvidence:
    """Show an image to the network.

    Args:
        beams: Grey levels.
        calibration: Of the recording.
        geometry: With the same beams and samples.
        weights: Of the network.
    """
    stride = max(1, round(STEP_MM / geometry.sample_step_mm))
    coarse = cv2.GaussianBlur(beams, (2 * stride - 1, 1), 0)[:, ::stride]
    samples = coarse.shape[1]
    seen = replace(
        geometry,
        sample_count=samples,
        depth_mm=(samples - 1) * stride * geometry.sample_step_mm,
    )
    thinned = replace(calibration, by_depth=calibration.by_depth[::stride])
    with torch.inference_mode():
        inputs = torch.from_numpy(inputs_of(coarse, thinned, seen))[None]
        outcomes = log_shares(weights, inputs.to(memory_format=torch.channels_last))[0].exp()
    shares = outcomes.numpy()
    return LearnedEvidence(shares[:, :-1], shares[:, -1], stride, beams.shape[1])


def _near_sums(shares: Beams) -> Beams:
    """Return the probability of a surface within `_NEAR` samples of each."""
    sums = np.pad(np.cumsum(shares, axis=1), ((0, 0), (_NEAR + 1, _NEAR)), mode="edge")
    sums[:, : _NEAR + 1] = 0
    return np.maximum(sums[:, 2 * _NEAR + 1 :] - sums[:, : -2 * _NEAR - 1], 0)
