"""The small network that turns features into occupancy and acoustic parameters."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

Weights = list[Float32[np.ndarray, "..."]]
Rows = Float32[np.ndarray, "_ _"]

OUTPUTS = 4  # occupancy, attenuation, scattering, reflectance, all before their bounds
_BETA1, _BETA2, _EPSILON = 0.9, 0.99, 1e-8


@dataclass(frozen=True, eq=False)
class Network:
    """Two hidden layers with rectifiers, and Adam's moments.

    Attributes:
        weights: Matrix (inputs, outputs) and offsets of each of the three layers in turn.
        mean: First moments of Adam.
        square: Second moments of Adam.
    """

    weights: Weights
    mean: Weights
    square: Weights

    @classmethod
    def drawn(cls, inputs: int, hidden: int, occupancy: float, seed: int) -> "Network":
        """Return a network with random weights (He et al. 2015).

        The features are all zero at first: offsets above zero keep the rectifiers alive, and the
        last layer starts small, so that the first output is about `occupancy` everywhere.
        """
        rng = np.random.default_rng(seed)
        weights: Weights = []
        for rows, columns in ((inputs, hidden), (hidden, hidden), (hidden, OUTPUTS)):
            matrix = rng.normal(0.0, np.sqrt(2.0 / rows), (rows, columns))
            weights += [matrix.astype(np.float32), rng.uniform(0, 0.5, columns).astype(np.float32)]
        weights[4] *= np.float32(0.1)
        weights[5][:] = (occupancy, 0.0, 0.0, 0.0)
        return cls(weights, *([np.zeros_like(w) for w in weights] for _ in range(2)))

    def forward(self, features: Rows) -> tuple[Rows, list[Rows]]:
        """Return the outputs, and all layers' inputs for `backward`."""
        w1, b1, w2, b2, w3, b3 = self.weights
        first = np.maximum(features @ w1 + b1, 0)
        second = np.maximum(first @ w2 + b2, 0)
        return second @ w3 + b3, [features, first, second]

    def occupancy(self, features: Rows) -> Float32[np.ndarray, " _"]:
        """Return the first output alone, and nothing for `backward`."""
        hidden = features
        for matrix, offsets in (self.weights[0:2], self.weights[2:4]):
            hidden = hidden @ matrix
            hidden += offsets
            np.maximum(hidden, 0, out=hidden)
        return np.asarray(hidden @ self.weights[4][:, 0] + self.weights[5][0])

    def backward(self, layers: list[Rows], d_outputs: Rows) -> tuple[Rows, Weights]:
        """Return the gradients with respect to the features and to the weights."""
        w1, _, w2, _, w3, _ = self.weights
        features, first, second = layers
        d_second = (d_outputs @ w3.T) * (second > 0)
        d_first = (d_second @ w2.T) * (first > 0)
        gradients: Weights = []
        for inputs, d in ((features, d_first), (first, d_second), (second, d_outputs)):
            gradients += [inputs.T @ d, d.sum(axis=0)]
        return d_first @ w1.T, gradients

    def adam(self, gradients: Weights, rate: float, step: int) -> None:
        """Take one step of Adam (Kingma and Ba 2015)."""
        unbias = np.sqrt(1.0 - _BETA2**step)
        pace, small = (
            np.float32(rate * unbias / (1.0 - _BETA1**step)),
            np.float32(_EPSILON * unbias),
        )
        rows = zip(self.weights, self.mean, self.square, gradients, strict=True)
        for weight, mean, square, gradient in rows:
            mean += np.float32(1.0 - _BETA1) * (gradient - mean)  # noqa: PLW2901, in place
            square += np.float32(1.0 - _BETA2) * (gradient**2 - square)  # noqa: PLW2901
            weight -= pace * mean / (np.sqrt(square) + small)  # noqa: PLW2901
