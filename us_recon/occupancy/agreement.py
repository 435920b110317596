"""Labels and detector check each other: what contradicts the rest of a recording counts less."""

from dataclasses import replace

import numpy as np

from us_recon.occupancy.surface import BeamSurface

_NEAR_MM = 1.5
_FEWEST_BEAMS = 8
_FEWEST_LABELS = 4
_TYPICAL_PERCENT = 75  # of the labels' shares: up to half of the labels may be wrong
_CONTRADICTS = 0.5  # of the typical share
_STRICT = 4


class Agreement:
    """How well labels and detector agree, label by label.

    A detector that misses what most labels show is trusted less. A label with which the detector
    agrees far less than with most others is more likely to be wrong itself.

    Attributes:
        shares: Share of the beams on which both found a surface at the same depth, for each label.
    """

    def __init__(self) -> None:
        self.shares: list[float] = []

    @property
    def trust(self) -> float:
        """What a surface from the detector is worth, 0 to 1; 1 where no label says otherwise."""
        if len(self.shares) < _FEWEST_LABELS:
            return 1.0
        shares = np.array(self.shares)
        kept = shares[shares >= _CONTRADICTS * self._typical]
        # A detector that is right on half of the beams is worth nothing, and one that is right on
        # most of them is wrong in the same places again and again.
        return max(0.0, 2.0 * float(np.mean(kept)) - 1.0) ** _STRICT

    def contradicts(self, label: BeamSurface, found: BeamSurface) -> bool:
        """Take one labelled frame in and return whether its label is not to be used."""
        share = agreeing_share(label, found)
        if share is None:
            return False
        self.shares.append(share)
        if len(self.shares) < _FEWEST_LABELS:
            return False
        return share < _CONTRADICTS * self._typical

    def judged(self, surface: BeamSurface) -> BeamSurface:
        """Return a surface with what is known by now of how far to trust the detector."""
        return replace(surface, trust=self.trust)

    @property
    def _typical(self) -> float:
        return float(np.percentile(self.shares, _TYPICAL_PERCENT))


def agreeing_share(label: BeamSurface, found: BeamSurface) -> float | None:
    """Return on which share of the beams with both surfaces they are near; None for too few."""
    label_mm, _ = label.on_beams_of(found.geometry, jump_mm=_NEAR_MM)
    both = found.found & np.isfinite(label_mm)
    if both.sum() < _FEWEST_BEAMS:
        return None
    return float((np.abs(found.depth_mm - label_mm)[both] < _NEAR_MM).mean())
