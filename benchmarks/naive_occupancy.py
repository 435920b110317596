"""A neural occupancy field fitted to label masks as they are, without any idea of shadow.

Dense feature grids (Mueller et al. 2022 without the hash) and a small network say for each point
whether it is inside the target. Every pixel of a labelled image is a sample: marked pixels are
occupied, all others empty, what lies in shadow too. That is what makes it naive: the image's own
shadow contradicts what other views see there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from skimage.measure import marching_cubes
from torch import Tensor, nn

from us_recon.geometry.grid import Grid
from us_recon.geometry.rigid import transform_points
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_tools import without_small_parts

_CORNERS = torch.cartesian_prod(*3 * [torch.arange(2)])


@dataclass(frozen=True)
class NaiveSettings:
    """Size of the field and length of the fit."""

    levels_mm: tuple[float, ...] = (8.0, 4.0, 2.0, 1.0)
    channels: int = 2
    hidden: int = 32
    steps_per_frame: int = 4
    min_steps: int = 1000
    frames_per_step: int = 8
    pixels_per_frame: int = 256
    learning_rate: float = 1e-2
    spacing_mm: float = 1.0
    reach_mm: float = 3.0  # as far as the maps let a slice speak for what lies off its plane
    min_part_mm2: float = 5.0
    seed: int = 0


class OccupancyField(nn.Module):
    """Features interpolated in dense grids of several spacings, then a network of two layers."""

    def __init__(self, low_mm: np.ndarray, high_mm: np.ndarray, settings: NaiveSettings) -> None:
        super().__init__()
        self.low = torch.from_numpy(low_mm.astype(np.float32))
        self.spacing = torch.tensor(settings.levels_mm)[:, None]
        span = torch.from_numpy((high_mm - low_mm).astype(np.float32))
        self.shape = (span / self.spacing).floor().long() + 2
        x, y, z = self.shape.T
        self.stride = torch.stack([y * z, z, torch.ones_like(z)], dim=1)
        self.first = (x * y * z).cumsum(0) - x * y * z
        cells = int((x * y * z).sum())
        # All grids in one table. A bag is the weighted sum of a cube's eight corners; only these
        # get a gradient, and only these are moved by Adam.
        self.grids = nn.EmbeddingBag(
            cells, settings.channels, mode="sum", sparse=True,
            _weight=1e-2 * torch.randn(cells, settings.channels),
        )  # fmt: skip
        features = settings.channels * len(self.shape)
        self.network = nn.Sequential(
            nn.Linear(features, settings.hidden), nn.ReLU(),
            nn.Linear(settings.hidden, settings.hidden), nn.ReLU(),
            nn.Linear(settings.hidden, 1),
        )  # fmt: skip

    def forward(self, points_mm: Tensor) -> Tensor:
        """Return the log-odds of occupancy at points (n, 3) between the bounds."""
        at = (points_mm - self.low)[:, None] / self.spacing
        low = torch.minimum(at.long(), self.shape - 2)
        x, y, z = (at - low).unbind(-1)
        x, y, z = (torch.stack([1.0 - part, part], dim=-1) for part in (x, y, z))
        share = x[..., :, None, None] * y[..., None, :, None] * z[..., None, None, :]
        corner = self.first[:, None] + self.stride @ _CORNERS.T
        index = (low * self.stride).sum(dim=-1)[..., None] + corner
        features = self.grids(index.view(-1, 8), per_sample_weights=share.reshape(-1, 8))
        return self.network(features.view(len(points_mm), -1))[:, 0]


def naive_occupancy(frames: Sequence[TrackedFrame], settings: NaiveSettings | None = None) -> Mesh:
    """Fit the field to the labelled frames and return its surface where they saw something."""
    settings = settings or NaiveSettings()
    labelled = [frame for frame in frames if frame.label is not None]
    if not labelled:
        return Mesh.empty()
    grid, seen = observed_voxels(labelled, settings)
    return without_small_parts(surface(fit(labelled, grid, settings), grid, seen),
                               settings.min_part_mm2)  # fmt: skip


def fit(frames: Sequence[TrackedFrame], grid: Grid, settings: NaiveSettings) -> OccupancyField:
    """Fit a field to label masks by binary cross-entropy; the same frames give the same field."""
    rng = np.random.default_rng(settings.seed)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        low = np.asarray(grid.origin_mm)
        high = grid.index_to_mm(np.array(grid.shape) - 1)
        field = OccupancyField(low, high, settings)
    optimisers = [
        torch.optim.SparseAdam(field.grids.parameters(), settings.learning_rate),
        torch.optim.Adam(field.network.parameters(), settings.learning_rate),
    ]
    for _ in range(max(settings.min_steps, settings.steps_per_frame * len(frames))):
        points, occupied = drawn(frames, rng, settings)
        field.zero_grad()
        F.binary_cross_entropy_with_logits(field(points), occupied).backward()
        for optimiser in optimisers:
            optimiser.step()
    return field


def drawn(
    frames: Sequence[TrackedFrame], rng: np.random.Generator, settings: NaiveSettings
) -> tuple[Tensor, Tensor]:
    """Draw pixels of random frames: their places (mm) and whether they are marked."""
    points, occupied = [], []
    for number in rng.integers(len(frames), size=settings.frames_per_step):
        frame = frames[number]
        assert frame.label is not None
        fan = fan_pixels(frame.geometry)
        pixel = fan[rng.integers(len(fan), size=settings.pixels_per_frame)]
        row, column = np.divmod(pixel, frame.geometry.width_px)
        flat = np.column_stack([column, row, np.zeros(len(pixel))])
        points.append(transform_points(frame.T_world_image, flat))
        occupied.append(frame.label[row, column] > 0)
    return (
        torch.from_numpy(np.concatenate(points).astype(np.float32)),
        torch.from_numpy(np.concatenate(occupied).astype(np.float32)),
    )


@lru_cache(maxsize=4)
def fan_pixels(geometry: ProbeGeometry) -> np.ndarray:
    """Return the flat indices of the pixels in the fan."""
    return np.flatnonzero(geometry.fan_mask)


def observed_voxels(
    frames: Sequence[TrackedFrame], settings: NaiveSettings
) -> tuple[Grid, np.ndarray]:
    """Return the grid around the frames' fans, and which voxels lie within reach of a pixel."""
    every = max(1, int(0.5 * settings.spacing_mm / frames[0].geometry.spacing_x_mm))
    fan = frames[0].geometry.fan_mask[::every, ::every]
    row, column = every * np.array(np.nonzero(fan))
    flat = np.column_stack([column, row, np.zeros(len(row))]).astype(np.float32)
    points = [transform_points(frame.T_world_image, flat) for frame in frames]
    low = np.min([p.min(axis=0) for p in points], axis=0) - settings.reach_mm
    high = np.max([p.max(axis=0) for p in points], axis=0) + settings.reach_mm
    grid = Grid.around(low, high, settings.spacing_mm)
    missed = np.ones(grid.shape, bool)
    for p in points:
        missed[tuple(grid.mm_to_index(p).T)] = False
    return grid, distance_transform_edt(missed, sampling=grid.spacing_mm) <= settings.reach_mm


def surface(field: OccupancyField, grid: Grid, seen: np.ndarray) -> Mesh:
    """Return where the log-odds are even, between voxels that were seen."""
    log_odds = np.full(grid.shape, -1.0, np.float32)
    index = np.argwhere(seen)
    with torch.no_grad():
        for part in np.array_split(index, len(index) // 100_000 + 1):
            points = torch.from_numpy(grid.index_to_mm(part).astype(np.float32))
            log_odds[tuple(part.T)] = field(points).numpy()
    if not (log_odds[seen] > 0).any() or not (log_odds[seen] < 0).any():
        return Mesh.empty()
    # Descent: the values are above 0 inside, and triangles shall be seen from outside.
    vertices, triangles, _, _ = marching_cubes(
        log_odds, 0.0, mask=seen, gradient_direction="descent"
    )
    vertices_mm = np.asarray(grid.origin_mm) + grid.spacing_mm * vertices
    return Mesh(vertices_mm.astype(np.float32), triangles.astype(np.int32))
