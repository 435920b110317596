"""What occupancy and acoustic parameters look like along scanlines, and the way back."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from us_recon.occupancy.field.loops import compiled_loop

Beams = Float32[np.ndarray, "beams samples"]
Samples = Float32[np.ndarray, " samples"]


@dataclass(frozen=True, eq=False)
class Tissue:
    """What lies at the samples of scanlines.

    Attributes:
        occupancy: 0 to 1.
        attenuation: Of soft tissue, 1/mm.
        scattering: Brightness of its speckle, in units of the recording's tissue.
        reflectance: Brightness of the echo of what is occupied, in the same units.
    """

    occupancy: Beams
    attenuation: Beams
    scattering: Beams
    reflectance: Beams


@dataclass(frozen=True, eq=False)
class Receiver:
    """How the scanner shows it.

    Attributes:
        gain: Brightness that tissue reaches at each sample.
        clutter: Brightness of full shadow at each depth.
        step_mm: Distance between samples.
        opacity_per_mm: Attenuation of what is occupied; 0 where sound passes it.
    """

    gain: Beams
    clutter: Samples
    step_mm: float
    opacity_per_mm: float

    @property
    def darkens(self) -> float:
        """Whether what is occupied takes the place of scattering tissue, 0 or 1."""
        return float(self.opacity_per_mm > 0)


def render(tissue: Tissue, receiver: Receiver) -> tuple[Beams, Beams]:
    """Return the echoes and the transmission down to each sample.

    Occupied space is the attenuator (after UltrON's tied physics): with
    ``a_n = (opacity o_n + alpha_n) step`` and ``T_n = exp(-sum_{m<n} a_m)``,
    ``I_n = gain_n T_n (exp(-a_n / 2) (1 - o_n) S_n + (1 - exp(-opacity o_n step)) rho_n)
    + clutter_n (1 - T_n)``.

    What sound passes, an organ or a lesion, has an opacity of 0 and is tissue itself: then
    ``I_n = gain_n T_n exp(-a_n / 2) S_n + clutter_n (1 - T_n)``, and only the network, which takes
    S, alpha and o from the same features, ties occupancy to what the images show. (A scattering of
    its own, mixed in by o, let the images make up lesions far from every label.)
    """
    echo, transmission = np.empty_like(tissue.occupancy), np.empty_like(tissue.occupancy)
    _render(*_inputs(tissue, receiver), echo, transmission)
    return echo, transmission


def render_adjoint(
    tissue: Tissue, receiver: Receiver, transmission: Beams, d_echo: Beams
) -> Tissue:
    """Return the gradients with respect to the tissue from those to the echoes of `render`."""
    gradients = Tissue(*(np.empty_like(tissue.occupancy) for _ in range(4)))
    _adjoint(
        *_inputs(tissue, receiver), transmission, d_echo, gradients.occupancy,
        gradients.attenuation, gradients.scattering, gradients.reflectance,
    )  # fmt: skip
    return gradients


def _inputs(
    tissue: Tissue, receiver: Receiver
) -> tuple[Beams, Beams, Beams, Beams, Beams, Samples, np.float32, np.float32, np.float32]:
    return (
        tissue.occupancy, tissue.attenuation, tissue.scattering, tissue.reflectance,
        receiver.gain, receiver.clutter,
        np.float32(receiver.step_mm), np.float32(receiver.opacity_per_mm),
        np.float32(receiver.darkens),
    )  # fmt: skip


@compiled_loop
def _render(
    occupancy: Beams,
    attenuation: Beams,
    scattering: Beams,
    reflectance: Beams,
    gain: Beams,
    clutter: Samples,
    step_mm: float,
    opacity_per_mm: float,
    darkens: float,
    echo: Beams,
    transmission: Beams,
) -> None:
    for b in range(occupancy.shape[0]):
        passed = np.float32(0)
        for n in range(occupancy.shape[1]):
            o = occupancy[b, n]
            bone = opacity_per_mm * o * step_mm
            a = bone + attenuation[b, n] * step_mm
            T = np.exp(-passed)
            S, rho = scattering[b, n], reflectance[b, n]
            scattered = np.exp(-a / 2) * (1 - darkens * o) * S
            reflected = (1 - np.exp(-bone)) * rho
            transmission[b, n] = T
            echo[b, n] = gain[b, n] * T * (scattered + reflected) + clutter[n] * (1 - T)
            passed += a


@compiled_loop
def _adjoint(
    occupancy: Beams,
    attenuation: Beams,
    scattering: Beams,
    reflectance: Beams,
    gain: Beams,
    clutter: Samples,
    step_mm: float,
    opacity_per_mm: float,
    darkens: float,
    transmission: Beams,
    d_echo: Beams,
    d_occupancy: Beams,
    d_attenuation: Beams,
    d_scattering: Beams,
    d_reflectance: Beams,
) -> None:
    for b in range(occupancy.shape[0]):
        below = np.float32(0)  # sum of dL/dT_n T_n over all samples further down
        for n in range(occupancy.shape[1] - 1, -1, -1):
            o, S, rho = occupancy[b, n], scattering[b, n], reflectance[b, n]
            bone = opacity_per_mm * o * step_mm
            half = np.exp(-(bone + attenuation[b, n] * step_mm) / 2)
            through = np.exp(-bone)
            seen = gain[b, n] * transmission[b, n] * d_echo[b, n]
            level = (1 - darkens * o) * S
            d_a = -below - seen * half * level / 2
            d_bone = d_a + seen * through * rho
            d_occupancy[b, n] = opacity_per_mm * step_mm * d_bone
            d_occupancy[b, n] -= seen * half * darkens * S
            d_attenuation[b, n] = step_mm * d_a
            d_scattering[b, n] = seen * half * (1 - darkens * o)
            d_reflectance[b, n] = seen * (1 - through)
            below += seen * (half * level + (1 - through) * rho)
            below -= clutter[n] * transmission[b, n] * d_echo[b, n]
