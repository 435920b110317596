"""From the network's raw outputs to occupancy and acoustic parameters within their bounds."""

import numpy as np
from jaxtyping import Float32

from us_recon.occupancy.field.render import Tissue

# Set by us, in units of the recording's typical tissue. That soft tissue is never quite dark is
# what tells shadow from tissue: only something above that attenuates can explain darkness.
LEAST_SCATTERING, MOST_SCATTERING = 0.35, 1.8
MOST_REFLECTANCE = 5.0
MOST_ATTENUATION_PER_MM = 0.03

_LOWEST = np.array([0.0, 0.0, LEAST_SCATTERING, 0.0], np.float32)
_RANGE = np.array(
    [1.0, MOST_ATTENUATION_PER_MM, MOST_SCATTERING - LEAST_SCATTERING, MOST_REFLECTANCE],
    np.float32,
)

Raw = Float32[np.ndarray, "beams samples 4"]


def sigmoid(x: Float32[np.ndarray, "*n"]) -> Float32[np.ndarray, "*n"]:
    """Return the logistic function."""
    return np.float32(0.5) * (np.tanh(np.float32(0.5) * x) + np.float32(1))


def tissue_of(raw: Raw) -> Tissue:
    """Return bounded parameters."""
    bounded = _LOWEST + _RANGE * sigmoid(raw)
    return Tissue(*(np.ascontiguousarray(part) for part in np.moveaxis(bounded, -1, 0)))


def raw_gradient(raw: Raw, gradients: Tissue) -> Raw:
    """Return the gradients with respect to the raw outputs from those to the parameters."""
    share = sigmoid(raw)
    stacked = np.stack(
        [
            gradients.occupancy,
            gradients.attenuation,
            gradients.scattering,
            gradients.reflectance,
        ],
        axis=-1,
    )
    return np.asarray(stacked * _RANGE * share * (1 - share), np.float32)
