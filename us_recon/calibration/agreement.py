"""How well places that were imaged more than once look the same each time.

The recording is cut into short passes. Each pass is pasted into a volume of its own, and compared
with the volume of all passes that are not its neighbours in time, where both have voxels. With the
true poses, images show the same place twice; a wrong latency or a wrong calibration carries them
apart, because the probe comes back at another speed or another angle.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy.typing import NDArray

from us_recon.calibration.recording import Recording
from us_recon.compiled import compiled
from us_recon.errors import InputError

VOXEL_MM = 1.5
PASS_S = 0.6
MAXIMUM_PASSES = 60
MAXIMUM_PIXELS = 1000
"""Pixels of an image that are pasted."""
MARGIN_MM = 8.0
"""How far latencies and corrections may carry images beyond where they lie."""
LEAST_WEIGHT = 0.5
"""Pixels that a voxel needs from both sides."""
LEAST_VOXELS = 150
"""Voxels that a pass must share with others to count."""
MAXIMUM_VOXELS = 3_000_000
"""Of the box around all images; deep images over a wide field get larger ones instead."""
MAXIMUM_VOXEL_MM = 3.0


@dataclass(frozen=True, eq=False)
class Agreement:
    """What each pass has in common with the others.

    Attributes:
        products: Per pass: sum of products, of squares of the pass, of squares of the others.
        voxels: Voxels that the pass shares with others.
    """

    products: Float64[np.ndarray, "passes 3"]
    voxels: Int64[np.ndarray, " passes"]

    @property
    def of_each(self) -> Float64[np.ndarray, " passes"]:
        """Correlation of each pass with the others; NaN where they share too little."""
        common, own, other = self.products.T
        enough = (self.voxels >= LEAST_VOXELS) & (own * other > 0.0)
        return np.where(enough, common / np.sqrt(np.where(enough, own * other, 1.0)), np.nan)

    def correlation(self, passes: Bool[np.ndarray, " passes"] | None = None) -> float:
        """Return the pooled correlation of some of the passes; NaN where nothing is shared."""
        used = self.voxels >= LEAST_VOXELS
        if passes is not None:
            used = used & passes
        common, own, other = self.products[used].sum(axis=0) if used.any() else np.zeros(3)
        return float(common / np.sqrt(own * other)) if own * other > 0 else float("nan")


class AgreementMeter:
    """Measure the agreement of a recording's passes for any latency and any calibration.

    Args:
        recording: Images and poses.

    Raises:
        InputError: The recording spans too large a space.
    """

    def __init__(self, recording: Recording) -> None:
        self._track = recording.track
        self._times_s = recording.times_s
        step = max(2, int(np.ceil(np.sqrt(recording.inside.sum() / MAXIMUM_PIXELS))))
        thinned = slice(None, None, step), slice(None, None, step)
        chosen = recording.inside[thinned]
        self._points_mm = recording.points_mm[thinned][chosen].astype(np.float32)
        self._values = np.ascontiguousarray(recording.images[:, *thinned][:, chosen])
        count = int(np.clip(recording.duration_s // PASS_S, 4, MAXIMUM_PASSES))
        edges_s = np.linspace(self._times_s[0], self._times_s[-1], count + 1)[1:-1]
        self._starts = np.r_[0, np.searchsorted(self._times_s, edges_s), len(self._times_s)]
        T, known = self._track.at(self._times_s)
        if not known.any():
            raise InputError("no image has a pose at its time; `us-recon inspect` says why")
        self.centre_mm = np.r_[self._points_mm.mean(axis=0), 0.0].astype(np.float64)
        self._low_mm, self._voxel_mm, self._shape = self._box(T[known])

    @property
    def radius_mm(self) -> float:
        """Root mean square distance of the pixels from their centre."""
        return float(np.sqrt(((self._points_mm - self.centre_mm[:2]) ** 2).sum(axis=1).mean()))

    @property
    def pass_count(self) -> int:
        """Number of passes that the recording is cut into."""
        return len(self._starts) - 1

    def measure(
        self,
        latency_s: float = 0.0,
        T_correction: Float64[np.ndarray, "4 4"] | None = None,
        shift_mm: Float64[np.ndarray, "3"] | None = None,
    ) -> Agreement:
        """Return the agreement.

        Args:
            latency_s: Images were taken this long before their stamps.
            T_correction: The transducer's pose is the recorded one times this affine, which may
                mirror; identity unless told.
            shift_mm: Moves every pass along its transducer's axes against all others; 0 unless
                told.
        """
        T, known = self._track.at(self._times_s - latency_s)
        if T_correction is not None:
            T = T @ T_correction
        passes = moved = self._pasted(T, known)
        if shift_mm is not None:
            T[:, :3, 3] += T[:, :3, :3] @ shift_mm
            moved = self._pasted(T, known)
        total, near = (np.zeros((2, int(np.prod(self._shape)))) for _ in range(2))
        for at, content in passes:
            total[:, at] += content
        products = np.zeros((len(passes), 3))
        voxels = np.zeros(len(passes), dtype=np.int64)
        for number, (own_at, (own, own_weight)) in enumerate(moved):
            neighbours = passes[max(number - 1, 0) : number + 2]
            for at, content in neighbours:
                near[:, at] += content
            other, other_weight = total[:, own_at] - near[:, own_at]
            for at, _ in neighbours:
                near[:, at] = 0.0
            shared = (own_weight >= LEAST_WEIGHT) & (other_weight >= LEAST_WEIGHT)
            a, b = own[shared] / own_weight[shared], other[shared] / other_weight[shared]
            products[number] = a @ b, a @ a, b @ b
            voxels[number] = len(a)
        return Agreement(products, voxels)

    def _pasted(
        self, T: Float64[np.ndarray, "images 4 4"], known: Bool[np.ndarray, " images"]
    ) -> list[tuple[Int64[np.ndarray, " voxels"], Float64[np.ndarray, "2 voxels"]]]:
        """Return for each pass the voxels it reached, with the sums of values and of weights."""
        to_voxels = T[:, :3, [0, 1, 3]] / self._voxel_mm
        to_voxels[:, :, 2] -= self._low_mm / self._voxel_mm
        to_voxels = to_voxels.astype(np.float32)
        size = int(np.prod(self._shape))
        content, touched = np.zeros((2, size)), np.empty(size, dtype=np.int64)
        passes = []
        for first, end in zip(self._starts[:-1], self._starts[1:], strict=True):
            count = 0
            for image in range(first, end):
                if known[image]:
                    count = _paste(
                        self._values[image], self._points_mm, to_voxels[image], self._shape,
                        content, touched, count,
                    )  # fmt: skip
            at = touched[:count].copy()
            passes.append((at, content[:, at]))
            content[:, at] = 0.0
        return passes

    def _box(
        self, T: Float64[np.ndarray, "n 4 4"]
    ) -> tuple[Float64[np.ndarray, "3"], float, tuple[int, int, int]]:
        low, high = self._points_mm.min(axis=0), self._points_mm.max(axis=0)
        corners = np.array([[x, y, 0.0] for x in (low[0], high[0]) for y in (low[1], high[1])])
        placed = np.einsum("nij,cj->nci", T[:, :3, :3], corners) + T[:, None, :3, 3]
        first, last = placed.min(axis=(0, 1)) - MARGIN_MM, placed.max(axis=(0, 1)) + MARGIN_MM
        voxel_mm = max(
            VOXEL_MM, float(np.prod((last - first) / MAXIMUM_VOXELS ** (1.0 / 3.0))) ** (1.0 / 3.0)
        )
        if voxel_mm > MAXIMUM_VOXEL_MM:
            raise InputError(
                f"the images span {' x '.join(f'{size:.0f}' for size in last - first)} mm; check "
                "the poses for outliers with `us-recon inspect`, or give a part of the recording"
            )
        i, j, k = (np.ceil((last - first) / voxel_mm).astype(int) + 1).tolist()
        return first, voxel_mm, (i, j, k)


@compiled
def _paste(
    values: NDArray[np.float32],
    points_mm: NDArray[np.float32],
    to_voxels: NDArray[np.float32],
    shape: tuple[int, int, int],
    content: NDArray[np.float64],
    touched: NDArray[np.int64],
    count: int,
) -> int:
    """Give the pixels of an image to the eight voxels around each; return the voxels touched."""
    step_j = shape[2]
    step_i = shape[1] * shape[2]
    for n in range(points_mm.shape[0]):
        lateral, axial = points_mm[n, 0], points_mm[n, 1]
        x = to_voxels[0, 0] * lateral + to_voxels[0, 1] * axial + to_voxels[0, 2]
        y = to_voxels[1, 0] * lateral + to_voxels[1, 1] * axial + to_voxels[1, 2]
        z = to_voxels[2, 0] * lateral + to_voxels[2, 1] * axial + to_voxels[2, 2]
        i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
        if min(i, j, k) < 0 or i > shape[0] - 2 or j > shape[1] - 2 or k > shape[2] - 2:
            continue
        u, v, w = x - i, y - j, z - k
        for corner in range(8):
            a, b, c = corner >> 2, (corner >> 1) & 1, corner & 1
            share = (u if a else 1.0 - u) * (v if b else 1.0 - v) * (w if c else 1.0 - w)
            at = (i + a) * step_i + (j + b) * step_j + k + c
            if share > 0.0:
                if content[1, at] == 0.0:
                    touched[count] = at
                    count += 1
                content[0, at] += share * values[n]
                content[1, at] += share
    return count
