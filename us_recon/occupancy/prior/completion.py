"""Fit a prior to a map as it grows, and show the whole shape where the fit is believed."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_tools import without_small_parts
from us_recon.occupancy.prior.filling import filled_in
from us_recon.occupancy.prior.fit import Fit, fitted
from us_recon.occupancy.prior.judgement import Judgement, judged
from us_recon.occupancy.prior.observation import Observation, observation
from us_recon.occupancy.prior.search import search
from us_recon.occupancy.prior.settings import FitSettings
from us_recon.occupancy.prior.shape import ShapePrior

_REFIT, _SEARCH_ANEW = 1.1, 1.3  # growth of what is seen that is worth it while scanning


@dataclass(frozen=True, eq=False)
class Completed:
    """A map's surface after the prior was asked.

    Attributes:
        mesh: The measured surface, with what the prior adds where its fit is believed.
        message: What the prior did, or why it did nothing.
        fit: The best fit, None where too little was seen for any.
        judgement: What speaks for it.
    """

    mesh: Mesh
    message: str
    fit: Fit | None = None
    judgement: Judgement | None = None


class ShapeCompletion:
    """Complete the surface of one map.

    A thorough completion depends on the map alone. Others go on from the last believed fit, and
    look all over again only when there is more to see, in a thread of its own, of which the next
    one gets the answer: they are for watching a scan, whose frames do not wait for it.
    """

    def __init__(self, prior: ShapePrior, settings: FitSettings | None = None) -> None:
        self.prior = prior
        self.settings = settings or FitSettings()
        self._fits: list[Fit] = []
        self._judgement: Judgement | None = None
        self._patches = 0.0
        self._thread = ThreadPoolExecutor(1, "us_recon prior")
        self._searching: Future[list[Fit]] | None = None

    def complete(
        self,
        mesh: Mesh,
        empty: Int64[np.ndarray, "n 3"],
        spacing_mm: float,
        thorough: bool = True,
        min_part_mm2: float = 0.0,
    ) -> Completed:
        """Return the surface with what the prior adds.

        Args:
            mesh: The measured surface, in the world.
            empty: Voxels that were seen to be empty.
            spacing_mm: Edge of a voxel.
            thorough: Search all poses anew, whatever was found before, and wait for it.
            min_part_mm2: Smaller parts of what is added are left out.
        """
        settings = self.settings
        if mesh.is_empty or mesh.area_mm2 <= 0:
            return Completed(_observed(mesh), "prior: nothing seen to fit it to")
        seen = observation(mesh, (empty * spacing_mm).astype(np.float32), settings)
        if seen.patches < settings.min_patches:
            few = f"prior: too little surface yet ({seen.patches:.0f} patches of"
            return Completed(_observed(mesh), f"{few} {settings.min_patches:g})")
        if thorough:
            self._searching = None  # on what was seen before
            self._judge(seen, search(self.prior, seen, settings))
        else:
            self._watch(seen)
        judgement = self._judgement
        if judgement is None:
            return Completed(_observed(mesh), "prior: its pose is being searched")
        best = self._fits[0]
        if not judgement.believed:
            message = f"prior not used: {judgement.reason}"
            return Completed(_observed(mesh), message, best, judgement)
        whole = filled_in(mesh, self.prior, best, empty, spacing_mm, settings.outlier_mm)
        whole = without_small_parts(whole, min_part_mm2)
        assert whole.observed is not None
        added = float(whole.areas_mm2()[~whole.observed[whole.triangles[:, 0]]].sum())
        message = f"prior: {added / whole.area_mm2:.0%} of the surface filled in"
        return Completed(whole, message, best, judgement)

    def _watch(self, seen: Observation) -> None:
        """Take a search's answer, begin one, or follow what grows; wait for none of it."""
        if self._searching is not None:
            if not self._searching.done():
                return
            found, self._searching = self._searching.result(), None
            self._judge(seen, [self._again(seen, fit) for fit in found])
        judgement = self._judgement
        if judgement is not None and judgement.believed:
            if seen.patches > _REFIT * self._patches:
                self._judge(seen, [self._again(seen, fit) for fit in self._fits])
        elif judgement is None or seen.patches > _SEARCH_ANEW * self._patches:
            self._patches = seen.patches
            self._searching = self._thread.submit(search, self.prior, seen, self.settings)

    def _judge(self, seen: Observation, fits: list[Fit]) -> None:
        self._fits = sorted(fits, key=lambda fit: fit.cost)
        self._patches = seen.patches
        self._judgement = judged(self.prior, seen, self._fits, self.settings)

    def _again(self, seen: Observation, fit: Fit) -> Fit:
        outliers_mm = (self.settings.outlier_mm,)
        T, c = fit.T_prior_world, fit.coefficients
        return fitted(self.prior, seen, T, c, self.settings, outliers_mm)


def _observed(mesh: Mesh) -> Mesh:
    everywhere = np.ones(len(mesh.vertices_mm), bool)
    return Mesh(mesh.vertices_mm, mesh.triangles, mesh.confidence, everywhere)
