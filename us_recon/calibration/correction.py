"""Whether a small change of the probe calibration would make passes agree better.

The calibration ``T_probe_transducer`` is multiplied by a small motion about the middle of the
image: three shifts along the transducer's axes and three turns about them, each in millimetres (a
turn by what it moves the image's pixels on average). The correlation of the passes is climbed in
these six, and its second derivatives at the top say which of them the recording tells: a probe
that never turns tells nothing of the shifts.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float64

from us_recon.calibration.agreement import AgreementMeter
from us_recon.geometry.rigid import Matrix4, exp_se3, invert_rigid, make_rigid

AXES = ("lateral", "axial", "elevational")
STEP_MM = 0.8
CLIMBS = 8
LEAST_GAIN = 5e-4
LEAST_DROP = 4e-3
"""Loss of correlation by a millimetre off, from which a direction counts as told."""
BLOCKS = 8
DISAGREEMENT_MM = np.arange(-4.0, 4.5, 1.0)


@dataclass(frozen=True, eq=False)
class Correction:
    """The change of the calibration with which the passes agree best.

    Attributes:
        T_transducer_corrected: To be multiplied to ``T_probe_transducer`` from the right.
        shift_mm: Along the transducer's axes, at the middle of the image.
        turn_deg: About the same axes.
        size_mm: Root mean square movement of the image's pixels, of what the recording tells.
        error_mm: Its standard error.
        significance: Largest ratio of a told component to its standard error.
        told: Number of the six components that the recording tells.
        before: Correlation of the passes with the calibration as recorded.
        after: Correlation with the correction.
    """

    T_transducer_corrected: Matrix4
    shift_mm: Float64[np.ndarray, "3"]
    turn_deg: Float64[np.ndarray, "3"]
    size_mm: float
    error_mm: float
    significance: float
    told: int
    before: float
    after: float


def find_correction(meter: AgreementMeter, latency_s: float = 0.0) -> Correction | None:
    """Return the correction, or None where no place was imaged in different passes."""
    climb = _Climb(meter, latency_s)
    before = climb.score(np.zeros(6))
    if not np.all(np.isfinite(before)):
        return None
    found = climb.top()
    gradients, curvature = climb.derivatives(found)
    eigenvalues, directions = np.linalg.eigh(-curvature)
    told = eigenvalues / 2.0 > LEAST_DROP
    # Newton's last step, for all passes and without each block of them: what differs is the error.
    steps = (gradients @ directions) / np.where(told, eigenvalues, np.inf)
    along = found @ directions * told + steps
    without = along[1:]
    spread = (len(without) - 1) * ((without - without.mean(axis=0)) ** 2).mean(axis=0)
    # Far from a parabola the last step may lead down: then the top that was climbed stays.
    tops = [along[0], found @ directions * told]
    scores = [float(climb.score(directions @ top)[0]) for top in tops]
    chosen = tops[int(np.argmax(scores))]
    significance = np.abs(chosen) / np.sqrt(np.maximum(spread, 1e-6))
    best = directions @ chosen
    return Correction(
        T_transducer_corrected=climb.motion(best),
        shift_mm=best[:3],
        turn_deg=np.degrees(best[3:] / meter.radius_mm),
        size_mm=float(np.linalg.norm(chosen)),
        error_mm=float(np.sqrt(spread[told].sum())),
        significance=float(significance[told].max(initial=0.0)),
        told=int(told.sum()),
        before=float(before[0]),
        after=max(scores),
    )


def disagreement_mm(
    meter: AgreementMeter, latency_s: float = 0.0
) -> Float64[np.ndarray, "passes 3"]:
    """Return how far each pass lies off the others along its transducer's axes; NaN if unknown."""
    shifts = np.full((meter.pass_count, 3), np.nan)
    centre = meter.measure(latency_s).of_each
    for axis in range(3):
        curves = []
        for step_mm in DISAGREEMENT_MM:
            shift_mm = step_mm * np.eye(3)[axis]
            found = meter.measure(latency_s, shift_mm=shift_mm) if step_mm else None
            curves.append(centre if found is None else found.of_each)
        for number, curve in enumerate(np.array(curves).T):
            top = int(np.argmax(np.where(np.isfinite(curve), curve, -np.inf)))
            if np.all(np.isfinite(curve[max(top - 1, 0) : top + 2])):
                shifts[number, axis] = _peak_mm(curve, top)
    return shifts


def _peak_mm(curve: Float64[np.ndarray, " n"], top: int) -> float:
    if top in (0, len(curve) - 1):
        return float(DISAGREEMENT_MM[top])
    left, middle, right = curve[top - 1 : top + 2]
    bend = left - 2.0 * middle + right
    part = 0.5 * (left - right) / bend if bend < 0.0 else 0.0
    return float(DISAGREEMENT_MM[top] + part * (DISAGREEMENT_MM[1] - DISAGREEMENT_MM[0]))


class _Climb:
    """The correlation as a function of six components in mm."""

    def __init__(self, meter: AgreementMeter, latency_s: float) -> None:
        self._meter, self._latency_s = meter, latency_s
        block = np.arange(meter.pass_count) * BLOCKS // meter.pass_count
        self._versions: list[Bool[np.ndarray, " passes"]] = [
            block != left_out for left_out in range(-1, BLOCKS)
        ]

    def motion(self, components_mm: Float64[np.ndarray, "6"]) -> Matrix4:
        """Return the motion about the middle of the image."""
        about = make_rigid(np.eye(3), self._meter.centre_mm)
        twist = np.r_[components_mm[:3], components_mm[3:] / self._meter.radius_mm]
        return about @ exp_se3(twist) @ invert_rigid(about)

    def score(self, components_mm: Float64[np.ndarray, "6"]) -> Float64[np.ndarray, " versions"]:
        """Return the correlation of all passes, then without each block of them."""
        found = self._meter.measure(self._latency_s, self.motion(components_mm))
        return np.array([found.correlation(passes) for passes in self._versions])

    def top(self) -> Float64[np.ndarray, "6"]:
        """Climb along the axes' own parabolas, all at once, with shorter steps where that fails."""
        here = np.zeros(6)
        value = self.score(here)[0]
        for _ in range(CLIMBS):
            step = np.zeros(6)
            for axis in range(6):
                move = STEP_MM * np.eye(6)[axis]
                plus, minus = self.score(here + move)[0], self.score(here - move)[0]
                slope, bend = (plus - minus) / 2.0, plus - 2.0 * value + minus
                newton = -slope / bend if bend < 0.0 else np.sign(slope) * 2.0
                if max(abs(plus - value), abs(minus - value)) > LEAST_DROP * STEP_MM**2:
                    step[axis] = STEP_MM * np.clip(newton, -2.0, 2.0)
            values = {part: self.score(here + part * step)[0] for part in (1.0, 0.5, 0.2)}
            part = max(values, key=lambda each: values[each])
            if values[part] < value + LEAST_GAIN:
                break
            here, value = here + part * step, values[part]
        return here

    def derivatives(
        self, here: Float64[np.ndarray, "6"]
    ) -> tuple[Float64[np.ndarray, "versions 6"], Float64[np.ndarray, "6 6"]]:
        """Return the slope in every version, and the second derivatives of all passes."""
        moves = STEP_MM * np.eye(6)
        middle = self.score(here)
        plus = np.array([self.score(here + move) for move in moves])
        minus = np.array([self.score(here - move) for move in moves])
        gradients = ((plus - minus) / (2.0 * STEP_MM)).T
        curvature = np.diag((plus + minus - 2.0 * middle)[:, 0])
        for i, j in combinations(range(6), 2):
            both = self.score(here + moves[i] + moves[j])[0]
            neither = self.score(here - moves[i] - moves[j])[0]
            cross = both + neither + 2.0 * middle[0] - plus[i, 0] - minus[i, 0] - plus[j, 0]
            curvature[i, j] = curvature[j, i] = (cross - minus[j, 0]) / 2.0
        return gradients, curvature / STEP_MM**2
