"""The shape of the upper abdomen: liver under its dome, vessels, gallbladder, kidney.

Frame: x to the patient's right, y to the front, z up, origin on the front of the abdominal wall of
usual thickness. Shape and sizes are set by us, near an adult's: a liver some 15 cm high, a portal
vein of 12 mm, a gallbladder of 6 to 8 cm.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Float64

from us_recon.simulation.patients.sdf import capsule
from us_recon.simulation.patients.vessels import VesselTree, grow

WALL_MM = 21.0  # thickness of the wall that the coordinates are for
DOME_CENTRE_MM, DOME_RADII_MM = (10.0, -62.0, -20.0), (112.0, 78.0, 105.0)
DIAPHRAGM_MM = 2.5
UNDERSIDE_MM, UNDERSIDE_NORMAL = (0.0, -22.0, -28.0), (0.0, -0.336, -0.942)
LOWEST_LUNG_MM = -34.0
FUNDUS_MM, NECK_MM = (30.0, -44.0, -4.0), (8.0, -86.0, 13.0)
NECK_SHARE = 0.45  # radius of the gallbladder's neck relative to its fundus
HILUM_MM, PORTAL_FROM_MM = (-8.0, -88.0, 22.0), (-34.0, -86.0, -12.0)
CAVA_MM, CAVA_RADIUS_MM = ((-14.0, -122.0, -60.0), (-12.0, -124.0, 62.0)), 10.5
CONFLUENCE_MM = (-12.0, -118.0, 46.0)
KIDNEY_MM, KIDNEY_RADII_MM = (46.0, -112.0, -34.0), (27.0, 23.0, 50.0)
MARGIN_MM = 5.0  # vessels end this far below the capsule

Points = Float32[np.ndarray, "n 3"]
Values = Float32[np.ndarray, " n"]


def ellipsoid(points_mm: Points, centre_mm: object, radii_mm: object) -> Values:
    """Return about the signed distance to an ellipsoid, good near it (Quilez, as in `sdf`)."""
    radii = np.asarray(radii_mm, dtype=np.float32)
    scaled = (points_mm - np.asarray(centre_mm, dtype=np.float32)) / radii
    reach = np.maximum(np.linalg.norm(scaled, axis=1), 1e-3)
    slope = np.linalg.norm(scaled / radii, axis=1)
    return np.asarray(reach * (reach - 1.0) / np.maximum(slope, 1e-6), dtype=np.float32)


@dataclass(frozen=True)
class UpperAbdomen:
    """Signed distances of the organs, negative inside.

    Attributes:
        gallbladder_radius_mm: Radius of the gallbladder's fundus.
        vessel_scale: Size of the vessels.
        generations: How often a vessel splits.
        seed: Course of the vessels.
    """

    gallbladder_radius_mm: float
    vessel_scale: float
    generations: int
    seed: int

    def dome_mm(self, points_mm: Points) -> Values:
        """Return the distance to the diaphragm's upper face."""
        return ellipsoid(points_mm, DOME_CENTRE_MM, DOME_RADII_MM)

    def liver_mm(self, points_mm: Points, dome_mm: Values) -> Values:
        """Return the distance to the liver, without regard to the abdominal wall."""
        from_edge = points_mm - np.asarray(UNDERSIDE_MM, dtype=np.float32)
        below = from_edge @ np.asarray(UNDERSIDE_NORMAL, dtype=np.float32)
        # The underside is hollow.
        below += np.float32(5.0) * np.sin(points_mm[:, 0] / np.float32(24.0))
        return np.maximum(dome_mm + np.float32(DIAPHRAGM_MM), below).astype(np.float32)

    def lung_mm(self, points_mm: Points, dome_mm: Values) -> Values:
        """Return the level set of the lung behind the diaphragm, negative in it."""
        return np.maximum(-dome_mm, np.float32(LOWEST_LUNG_MM) - points_mm[:, 2])

    def gallbladder_mm(self, points_mm: Points) -> Values:
        """Return the distance to the gallbladder's lumen."""
        radius = self.gallbladder_radius_mm
        return capsule(points_mm, FUNDUS_MM, NECK_MM, radius, NECK_SHARE * radius)

    def kidney_mm(self, points_mm: Points) -> tuple[Values, Values]:
        """Return the distances to the right kidney and to the fat in its middle."""
        sinus = [0.42 * radius for radius in KIDNEY_RADII_MM]
        return (
            ellipsoid(points_mm, KIDNEY_MM, KIDNEY_RADII_MM),
            ellipsoid(points_mm, KIDNEY_MM, sinus),
        )

    @cached_property
    def portal(self) -> VesselTree:
        """The portal vein: from below to the hilum, then to the right and the left."""
        rng = np.random.default_rng([self.seed, 11])
        scale, hilum = self.vessel_scale, np.array(HILUM_MM)
        rods = [[*PORTAL_FROM_MM, *HILUM_MM, 6.2 * scale, 5.8 * scale]]
        for direction, radius, length in (
            ((0.93, -0.05, 0.25), 4.8, 30.0),
            ((-0.72, 0.62, 0.25), 4.2, 26.0),
        ):
            unit = _drawn(rng, direction)
            rods += grow(rng, hilum, unit, radius * scale, length, self.generations, self._holds)
        return VesselTree(np.array(rods, dtype=np.float32))

    @cached_property
    def hepatic(self) -> VesselTree:
        """The hepatic veins: right, middle and left, out of the vena cava."""
        rng = np.random.default_rng([self.seed, 12])
        scale, start = self.vessel_scale, np.array(CONFLUENCE_MM)
        rods = [[*CAVA_MM[0], *CAVA_MM[1], CAVA_RADIUS_MM, CAVA_RADIUS_MM]]
        for direction, radius, length in (
            ((0.88, 0.4, -0.2), 4.6, 34.0),
            ((0.25, 0.9, -0.3), 4.2, 32.0),
            ((-0.6, 0.75, -0.2), 4.0, 30.0),
        ):
            unit = _drawn(rng, direction)
            rods += grow(rng, start, unit, radius * scale, length, self.generations, self._holds)
        return VesselTree(np.array(rods, dtype=np.float32))

    def _holds(self, point_mm: Float64[np.ndarray, "3"]) -> bool:
        """Return whether a vessel may reach a point: in the liver, off the gallbladder."""
        point = point_mm[None].astype(np.float32)
        depth = max(
            float(self.liver_mm(point, self.dome_mm(point))[0]), WALL_MM + float(point_mm[1])
        )
        return depth < -MARGIN_MM and float(self.gallbladder_mm(point)[0]) > MARGIN_MM


def _drawn(rng: np.random.Generator, direction: tuple[float, ...]) -> Float64[np.ndarray, "3"]:
    turned = np.array(direction) + rng.normal(0.0, 0.08, 3)
    return np.asarray(turned / np.linalg.norm(turned))
