"""The field in PyTorch: readable, differentiated by autograd, on the CPU or on CUDA.

It says the same as the compiled path and is what that is tested against.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from us_recon.occupancy.field.acoustics import (
    LEAST_SCATTERING,
    MOST_ATTENUATION_PER_MM,
    MOST_REFLECTANCE,
    MOST_SCATTERING,
)
from us_recon.occupancy.field.batch import Batch
from us_recon.occupancy.field.fit import BETA1, BETA2, CLEAR_CONTRAST, CLUTTER_RATE, HUBER, FieldFit
from us_recon.occupancy.field.lattice import CHANNELS, FeatureLattice

Lines = Float[Tensor, "lines samples"]


class TorchField(nn.Module):
    """A copy of a `FieldFit` that learns the same from the same batches.

    Args:
        fit: Where to start: features, network, clutter and settings. Blocks that it gets later are
            not in the copy.
        device: Where to compute.
    """

    def __init__(self, fit: FieldFit, device: str = "cpu") -> None:
        super().__init__()
        if fit.clutter is None:
            raise ValueError("the field has seen no frame with contact yet")
        self.settings, self.lattices, self.steps = fit.settings, fit.lattices, fit.steps
        # The last row stands for vertices that do not exist: it is always zero.
        self.grids = nn.ModuleList(
            nn.EmbeddingBag.from_pretrained(
                torch.from_numpy(np.vstack([lattice.values, np.zeros((1, CHANNELS))])).float(),
                freeze=False,
                mode="sum",
                sparse=True,
                padding_idx=len(lattice.values),
            )
            for lattice in fit.lattices
        )
        self.weights = nn.ParameterList(torch.from_numpy(w.copy()) for w in fit.network.weights)
        self.clutter = nn.Parameter(torch.from_numpy(fit.clutter.copy()))
        self.to(device)
        betas = (BETA1, BETA2)
        self.optimisers = [
            torch.optim.SparseAdam(self.grids.parameters(), self.settings.learning_rate, betas),
            torch.optim.Adam(self.weights.parameters(), self.settings.network_rate, betas),
            torch.optim.Adam([self.clutter], CLUTTER_RATE, betas),
        ]

    def forward(self, points_mm: np.ndarray) -> Float[Tensor, "n 4"]:
        """Return the raw outputs at points (n, 3) in the world."""
        features = []
        for grid, lattice in zip(self.grids, self.lattices, strict=True):
            corners, shares = self._corners(points_mm, lattice)
            features.append(grid(corners, per_sample_weights=shares))
        w1, b1, w2, b2, w3, b3 = self.weights
        hidden = torch.relu(torch.cat(features, dim=1) @ w1 + b1)
        return torch.relu(hidden @ w2 + b2) @ w3 + b3

    def render(
        self, raw: Float[Tensor, "lines samples 4"], gain: Lines, step_mm: float
    ) -> tuple[Lines, Lines, Lines]:
        """Return echoes, transmission and occupancy along scanlines (see `render`)."""
        o, alpha, scattering, rho = torch.sigmoid(raw).unbind(dim=-1)
        scattering = LEAST_SCATTERING + (MOST_SCATTERING - LEAST_SCATTERING) * scattering
        bone = self.settings.shadow_per_mm * o * step_mm
        a = bone + MOST_ATTENUATION_PER_MM * alpha * step_mm
        T = torch.exp(-(torch.cumsum(a, dim=1) - a))
        tissue = torch.ones_like(o) if self.settings.sound_passes else 1 - o
        scattered = torch.exp(-a / 2) * tissue * scattering
        reflected = (1 - torch.exp(-bone)) * MOST_REFLECTANCE * rho
        return gain * T * (scattered + reflected) + self.clutter * (1 - T), T, o

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Return the sum of all losses of a batch."""
        settings = self.settings
        shape, rendered = batch.brightness.shape, batch.brightness.size
        raw = self(batch.points_mm)
        lines = raw[:rendered].view(*shape, 4)
        gain, brightness = self._tensor(batch.gain), self._tensor(batch.brightness)
        echo, T, o = self.render(lines, gain, batch.step_mm)
        clear = ((gain - self.clutter.detach()) / CLEAR_CONTRAST).clamp(0, 1)
        misfit = F.huber_loss(echo, brightness, delta=HUBER, reduction="none") / HUBER
        total = settings.render_weight * (clear * misfit).mean()
        total = total + settings.empty_weight * (T.detach() * F.softplus(lines[..., 0])).mean()
        if settings.label_loss == "transmitted":
            seen = (T.detach() * o).clamp(max=1 - 1e-4)
            cost = F.binary_cross_entropy(seen, self._tensor(batch.line_label), reduction="none")
            cost = (self._tensor(batch.line_weight) * cost).sum()
        else:
            known, weight = self._tensor(batch.occupied), self._tensor(batch.weight)
            cost = F.binary_cross_entropy_with_logits(
                raw[rendered:, 0], known, weight=weight, reduction="sum"
            )
        return total + settings.label_weight * cost

    def learn(self, batch: Batch) -> None:
        """Take one step."""
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        torch.autograd.backward(self.loss(batch))
        for optimiser in self.optimisers:
            optimiser.step()
        with torch.no_grad():
            self.clutter.clamp_(0, 1)

    def _corners(self, points_mm: np.ndarray, lattice: FeatureLattice) -> tuple[Tensor, Tensor]:
        """Return the vertices around points and their trilinear weights, in plain NumPy."""
        at = points_mm.astype(np.float64) / lattice.spacing_mm
        base = np.floor(at).astype(np.int64)
        part = at - base
        corners, shares = [], []
        for offset in np.ndindex(2, 2, 2):
            vertex = base + offset
            block = (vertex >> 3) - lattice.low
            held = np.all((block >= 0) & (block < lattice.directory.shape), axis=1)
            slot = np.where(held, lattice.directory[tuple(np.where(held[:, None], block, 0).T)], -1)
            x, y, z = (vertex & 7).T
            number = np.where(slot >= 0, ((slot * 8 + x) * 8 + y) * 8 + z, len(lattice.values))
            corners.append(number)
            shares.append(np.prod(np.where(offset, part, 1 - part), axis=1))
        return (
            torch.from_numpy(np.stack(corners, axis=1)).to(self.clutter.device),
            self._tensor(np.stack(shares, axis=1)),
        )

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array.astype(np.float32)).to(self.clutter.device)
