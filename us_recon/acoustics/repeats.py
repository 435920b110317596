"""Repeats: echoes that the array's face sends down again (reverberation, time-domain multiples)."""

import torch
from jaxtyping import Float
from torch import Tensor


def with_repeats(
    edges: Float[Tensor, "poses beams samples"], face_reflection: Float[Tensor, ""]
) -> Float[Tensor, "poses beams samples"]:
    """Return the echo train with all repeats between the face and the interfaces.

    An echo that returns is reflected by the face with -r and runs through the tissue once more:
    ``E + (-r) E*E + (-r)^2 E*E*E + ..``, which is ``E / (1 + r E)`` in the frequency domain.
    Interfaces answer the face alone; repeats among themselves are left out. Gradients flow.

    Args:
        edges: Primary echoes, one sample per step of depth, the first at the face.
        face_reflection: r, from 0 to below 1.
    """
    count = edges.shape[-1]
    # Repeats reach twice as deep at each order; what wraps round lies beyond the imaged depth.
    train = torch.fft.rfft(edges, n=4 * count)
    return torch.fft.irfft(train / (1.0 + face_reflection * train), n=4 * count)[..., :count]
