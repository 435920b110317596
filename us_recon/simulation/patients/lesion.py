"""A lesion in the virtual brain: a solid tumour or a cyst of irregular outline.

Solid tumours are mostly brighter than brain in ultrasound and have no sharp border, cysts are
black with a bright rim; on T1 both are darker than white matter. By how much is set by us.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from us_recon.geometry.rigid import transform_points
from us_recon.imaging.volume import Volume
from us_recon.simulation.noise import smooth_noise
from us_recon.simulation.patients.template import TissueMaps
from us_recon.simulation.scene import Interface

IRREGULAR = 0.12  # standard deviation of the outline's radius, relative
EDGE_MM = {"solid": 2.5, "cystic": 0.8}  # half width of the border in ultrasound
T1_EDGE_MM = {"solid": 1.5, "cystic": 0.6}
SOLID_T1 = 0.4  # between fluid (0) and white matter (1)
RIM_MM = 0.9
INTERFACES = {
    "solid": Interface("lesion", 0.003, exponent=3.0, roughness=0.9, patchiness_db=6.0),
    "cystic": Interface("lesion", 0.02, exponent=3.0, roughness=0.5, patchiness_db=3.0),
}
PLACES = 200  # tried before the best one is taken
SHALLOWEST_MM, DEEPEST_MM, ASIDE_MM = 10.0, 35.0, 10.0


@dataclass(frozen=True, eq=False)
class Lesion:
    """One lesion.

    Attributes:
        kind: "solid" or "cystic".
        centre_mm: Its middle, in the unmoved brain.
        radius_mm: Mean radius.
        seed: Outline and texture.
    """

    kind: str
    centre_mm: Float64[np.ndarray, "3"]
    radius_mm: float
    seed: int

    @property
    def interface(self) -> Interface:
        """Its surface."""
        return INTERFACES[self.kind]

    def distance_mm(self, points_mm: Float32[np.ndarray, "n 3"]) -> Float32[np.ndarray, " n"]:
        """Return about the distance to its surface, negative inside."""
        centre = self.centre_mm.astype(np.float32)
        radius = np.linalg.norm(points_mm - centre, axis=1)
        distance = np.minimum(radius - np.float32(self.radius_mm), np.float32(30.0))
        near = np.flatnonzero(distance < self.radius_mm)
        # The outline depends on the direction alone, so that it is one closed surface.
        on_sphere = (points_mm[near] - centre) / np.maximum(radius[near], 1e-3)[:, None]
        bumps = smooth_noise(
            on_sphere * np.float32(self.radius_mm), 1.4 * self.radius_mm, self.seed
        )
        distance[near] -= np.float32(IRREGULAR * self.radius_mm) * np.clip(bumps, -2.0, 2.0)
        return distance.astype(np.float32)

    def shares(
        self, distance_mm: Float32[np.ndarray, " n"]
    ) -> dict[str, Float32[np.ndarray, " n"]]:
        """Return how much of each point is tissue of the lesion, by tissue."""
        inside = np.clip(0.5 - distance_mm / np.float32(2.0 * EDGE_MM[self.kind]), 0.0, 1.0)
        if self.kind == "solid":
            return {"tumour": inside}
        rim = np.exp(-(((distance_mm - np.float32(0.4)) / np.float32(RIM_MM)) ** 2))
        return {"csf": inside * (1.0 - rim), "tumour": rim}

    def texture_db(self, points_mm: Float32[np.ndarray, "n 3"]) -> Float32[np.ndarray, " n"]:
        """Return how the solid part's speckle level varies."""
        return np.float32(2.0) * smooth_noise(points_mm, 4.0, self.seed + 1)

    def shown_in(self, mri: Volume, maps: TissueMaps) -> Volume:
        """Return a T1 image of the template with the lesion in it."""
        fluid = float(np.median(mri.data[maps.ventricle > 0.95]))
        white = float(np.median(mri.data[maps.white > 0.95]))
        value = fluid + (SOLID_T1 if self.kind == "solid" else 0.0) * (white - fluid)
        reach = np.ceil(1.5 * self.radius_mm / mri.spacing_mm + 4.0)
        middle = mri.index_of(self.centre_mm)
        first = np.maximum(np.floor(middle - reach), 0).astype(int)
        last = np.minimum(np.ceil(middle + reach) + 1, mri.data.shape).astype(int)
        box = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        index = np.stack(list(np.mgrid[box]), axis=-1).reshape(-1, 3)
        points = transform_points(mri.T_space_index, index.astype(np.float64)).astype(np.float32)
        edge = np.float32(2.0 * T1_EDGE_MM[self.kind])
        share = np.clip(0.5 - self.distance_mm(points) / edge, 0.0, 1.0)
        inside = np.float32(value) * (1.0 + 0.03 * smooth_noise(points, 5.0, self.seed + 2))
        data = mri.data.copy()
        data[box] += (share * (inside - data[box].ravel())).reshape(data[box].shape)
        return Volume(data, mri.T_space_index)


def place_lesion(
    maps: TissueMaps, T_scene_approach: Float64[np.ndarray, "4 4"], radius_mm: float, seed: int
) -> Float64[np.ndarray, "3"]:
    """Draw the middle of a lesion under the opening, in the brain and outside the ventricles.

    Where no place is free of ventricle, the one with the least is taken.
    """
    rng = np.random.default_rng([seed, 9])
    low = min(max(SHALLOWEST_MM, radius_mm + 4.0), DEEPEST_MM - 1.0)
    sphere = rng.standard_normal((400, 3))
    sphere *= 1.2 * radius_mm / np.linalg.norm(sphere, axis=1, keepdims=True)
    sphere *= np.cbrt(rng.uniform(0.0, 1.0, (400, 1)))
    best, least = None, np.inf
    for _ in range(PLACES):
        aside = rng.uniform(-ASIDE_MM, ASIDE_MM, 2)
        local = np.array([[aside[0], rng.uniform(low, DEEPEST_MM), aside[1]]])
        centre = transform_points(T_scene_approach, local)[0]
        inside = (centre + sphere).astype(np.float32)
        cost = float(maps.sample(maps.ventricle, inside).mean())
        cost += float((maps.sample(maps.hull_mm, inside) > -1.0).mean())
        if cost < least:
            best, least = centre, cost
        if least == 0.0:
            break
    assert best is not None  # the first place was better than none
    return np.asarray(best)
