"""The shape of a long bone: a bent shaft with a crest, wider at both ends, with condyles."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from us_recon.simulation.patients.sdf import capsule, smooth_union

FLARE_FROM, FLARE_OVER = 0.62, 0.38  # where the shaft begins to widen, as shares of half a bone
END_ROUND_MM = 5.0
FACES_DEG = (30.0, 150.0, 270.0)  # normals of a triangular section with its crest to the front
CORNER = 0.3  # rounding of its corners relative to the radius
BLEND_MM = 8.0
FAR_MM = 14.0  # distances beyond this are not told apart

Points = Float32[np.ndarray, "n 3"]
Values = Float32[np.ndarray, " n"]


@dataclass(frozen=True)
class Shaft:
    """A long bone along z.

    Attributes:
        centre_mm: x and y of its axis at both ends.
        half_length_mm: Half its length; it reaches from -half to +half.
        radius_mm: Mean radius at mid shaft.
        end_radius_mm: Radius of the ends.
        crest: How triangular the shaft's section is, 0 (round) to 1.
        bow_mm: How far the axis bends to x and y at mid shaft.
        condyles: Whether the upper end has two condyles and the lower one a malleolus.
    """

    centre_mm: tuple[float, float]
    half_length_mm: float
    radius_mm: float
    end_radius_mm: float
    crest: float = 0.0
    bow_mm: tuple[float, float] = (0.0, 0.0)
    condyles: bool = False

    def axis_mm(self, z_mm: Values) -> tuple[Values, Values]:
        """Return x and y of the axis at heights."""
        bend = 1.0 - np.clip(z_mm / np.float32(self.half_length_mm), -1.0, 1.0) ** 2
        x = np.float32(self.centre_mm[0]) + np.float32(self.bow_mm[0]) * bend
        y = np.float32(self.centre_mm[1]) + np.float32(self.bow_mm[1]) * bend
        return x.astype(np.float32), y.astype(np.float32)

    def flare(self, z_mm: Values) -> Values:
        """Return how far the bone has widened at heights, 0 on the shaft to 1 at the ends."""
        share = (np.abs(z_mm) / self.half_length_mm - FLARE_FROM) / FLARE_OVER
        share = np.clip(share, 0.0, 1.0)
        return np.asarray(share * share * (3.0 - 2.0 * share), dtype=np.float32)

    def front_mm(self, z_mm: Values) -> Values:
        """Return the y of the crest at heights: where the section ends to the front."""
        flare = self.flare(z_mm)
        wide = self.radius_mm + (self.end_radius_mm - self.radius_mm) * flare
        crest = self.crest * (1.0 - flare)
        # Two faces meet there, each leaning by 60 degrees.
        reach = wide + crest * CORNER * self.radius_mm * np.log(1.5)
        return np.asarray(self.axis_mm(z_mm)[1] + reach / (1.0 - 0.5 * crest), np.float32)

    def distance_mm(self, points_mm: Points) -> Values:
        """Return about the signed distance to the bone, negative inside, at most `FAR_MM`."""
        distance = np.full(len(points_mm), FAR_MM, dtype=np.float32)
        x, y = self.axis_mm(points_mm[:, 2])
        reach = 1.6 * self.end_radius_mm + FAR_MM
        near = np.hypot(points_mm[:, 0] - x, points_mm[:, 1] - y) < reach
        near &= np.abs(points_mm[:, 2]) < self.half_length_mm + 2.0 * FAR_MM
        kept = np.flatnonzero(near)
        local = points_mm[kept].copy()
        local[:, 0] -= x[kept]
        local[:, 1] -= y[kept]
        bone = self._shaft_mm(local)
        for condyle in self._bulges_mm(local):
            bone = smooth_union(bone, condyle, BLEND_MM)
        distance[kept] = np.minimum(bone, FAR_MM)
        return distance

    def _shaft_mm(self, local_mm: Points) -> Values:
        x, y, z = local_mm.T
        flare = self.flare(z)
        grown = self.end_radius_mm - self.radius_mm
        width = np.float32(CORNER * self.radius_mm)
        corners = np.zeros_like(x)
        for angle in np.radians(FACES_DEG):
            face = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
            corners += np.exp(face / width)
        triangle = width * np.log(corners / np.float32(3.0))
        crest = np.float32(self.crest) * (1.0 - flare)
        section = (1.0 - crest) * np.hypot(x, y) + crest * triangle
        # Over the flare the surface leans, so that the section overstates the distance.
        share = (np.abs(z) / self.half_length_mm - FLARE_FROM) / FLARE_OVER
        lean = np.clip(6.0 * share * (1.0 - share), 0.0, None)
        lean *= grown / (FLARE_OVER * self.half_length_mm)
        across = (section - self.radius_mm - grown * flare) / np.sqrt(1.0 + lean**2)
        beyond = np.stack(
            [across + END_ROUND_MM, np.abs(z) - (self.half_length_mm - END_ROUND_MM)], axis=1
        )
        outside = np.linalg.norm(np.maximum(beyond, 0.0), axis=1)
        inside = np.minimum(beyond.max(axis=1), 0.0)
        return np.asarray(outside + inside - END_ROUND_MM, dtype=np.float32)

    def _bulges_mm(self, local_mm: Points) -> list[Values]:
        if not self.condyles:
            return []
        end, half = self.end_radius_mm, self.half_length_mm
        top = half - 0.45 * end
        return [
            capsule(local_mm, (-0.6 * end, -4.0, top), (-0.6 * end, 4.0, top), 0.5 * end),
            capsule(local_mm, (0.6 * end, -4.0, top), (0.6 * end, 4.0, top), 0.5 * end),
            capsule(
                local_mm,
                (-0.75 * end, 0.0, 0.6 * end - half),
                (-0.8 * end, 0.0, 0.2 * end - half),
                0.35 * end,
            ),
        ]
