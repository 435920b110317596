"""Fit the field to scanlines, a small step at a time."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64

from us_recon.occupancy.block_grid import BLOCK
from us_recon.occupancy.field.acoustics import raw_gradient, sigmoid, tissue_of
from us_recon.occupancy.field.batch import Batch, draw_batch
from us_recon.occupancy.field.block_look_up import look_up_blocks
from us_recon.occupancy.field.interpolation import adam, look_up
from us_recon.occupancy.field.labels import cross_entropy_gradient, transmitted_gradient
from us_recon.occupancy.field.lattice import BYTES_PER_BLOCK, CHANNELS, FeatureLattice
from us_recon.occupancy.field.network import Network
from us_recon.occupancy.field.render import Receiver, render, render_adjoint
from us_recon.occupancy.field.replay import BeamPicks, Replay
from us_recon.occupancy.field.settings import LEVELS_MM, FieldSettings

Points = Float32[np.ndarray, "n 3"]
Lines = Float32[np.ndarray, "lines samples"]

HUBER = 0.15  # of tissue: speckle and what the physics leaves out are no reason to move further
CLEAR_CONTRAST = 0.15  # of tissue above clutter; where there is less, darkness tells little
BETA1, BETA2 = 0.9, 0.99
CLUTTER_RATE = 0.01
_EMPTY_LOG_ODDS = -3.0
_VOXELS_AT_ONCE = 1 << 12  # what lies between the network's layers stays in the processor's cache
_DARK_PERCENT, _DARK_REACH = 8, 4  # of the beams of one frame; samples to smooth over


@dataclass(frozen=True, eq=False)
class Looked:
    """What the network made of some points, with all that the way back needs."""

    raw: Float32[np.ndarray, "n 4"]
    layers: list[Float32[np.ndarray, "_ _"]]
    corners: list[Int32[np.ndarray, "n 8"]]
    shares: list[Float32[np.ndarray, "n 8"]]


@dataclass(frozen=True, eq=False)
class Learnt:
    """The beams that one step looked at, and the transmission to each of their samples."""

    picks: BeamPicks
    transmission: Lines


class FieldFit:
    """A field of occupancy and acoustic parameters, and the optimiser that moves it.

    The same frames, steps and seed give the same field.

    Attributes:
        lattices: Features of each level, coarse to fine.
        network: Turns features into occupancy and acoustic parameters.
        clutter: Brightness of full shadow at each sample, learnt; None before the first frame.
        steps: Steps taken.
        random: Source of all random choices.
    """

    def __init__(self, settings: FieldSettings) -> None:
        self.settings = settings
        blocks = (settings.max_memory_mb << 20) // BYTES_PER_BLOCK
        self.lattices = [FeatureLattice(spacing_mm, blocks) for spacing_mm in LEVELS_MM]
        self.network = Network.drawn(
            CHANNELS * len(LEVELS_MM), settings.hidden, _EMPTY_LOG_ODDS, settings.seed
        )
        self.clutter: Float32[np.ndarray, " samples"] | None = None
        self.clutter_moments = np.zeros((2, 0), np.float32)
        self.steps = 0
        self.random = np.random.default_rng(settings.seed)

    def log_odds(self, points_mm: Points) -> Float32[np.ndarray, " n"]:
        """Return the log-odds of occupancy at points in the world."""
        return self._look(points_mm).raw[:, 0]

    def log_odds_in(
        self,
        blocks: Int64[np.ndarray, "n 3"],
        voxel_mm: float,
        wanted: Bool[np.ndarray, "n side side side"],
    ) -> Float32[np.ndarray, " wanted"]:
        """Return the log-odds of occupancy at voxels of blocks, one after the other.

        The same as `log_odds` there, in a third of the time.

        Args:
            blocks: Index of each block; it covers voxels ``8 * index`` to ``8 * index + 7``.
            voxel_mm: Edge of a voxel.
            wanted: Where to look, at all voxels of a block or every second or fourth.
        """
        side = wanted.shape[1]
        columns = CHANNELS * len(self.lattices)
        parts = [np.zeros(0, np.float32)]
        at_once = max(_VOXELS_AT_ONCE // side**3, 1)
        for first in range(0, len(blocks), at_once):
            some = slice(first, first + at_once)
            features = np.empty((len(blocks[some]), side, side, side, columns), np.float32)
            for level, lattice in enumerate(self.lattices):
                look_up_blocks(
                    blocks[some], BLOCK // side, voxel_mm, lattice.spacing_mm,
                    lattice.low, lattice.directory, lattice.values, features, CHANNELS * level,
                )  # fmt: skip
            parts.append(self.network.occupancy(features[wanted[some]]))
        return np.concatenate(parts)

    def begin(self, replay: Replay) -> None:
        """Take the brightness of shadow from the first frame; it is learnt from then on."""
        contact = replay["contact"][-1]
        if self.clutter is not None or not contact.any():
            return
        beams = np.flatnonzero(contact)
        picks = replay.beams(np.full(len(beams), replay.count - 1), beams)
        dark = np.percentile(replay.brightness(picks), _DARK_PERCENT, axis=0)
        smooth = np.ones(2 * _DARK_REACH + 1) / (2 * _DARK_REACH + 1)
        dark = np.convolve(np.pad(dark, _DARK_REACH, mode="edge"), smooth, "valid")
        self.clutter = dark.astype(np.float32)
        self.clutter_moments = np.zeros((2, len(dark)), np.float32)

    def step(self, replay: Replay) -> Learnt | None:
        """Take one step on scanlines of the newest frame and of all others, half and half.

        Returns:
            The beams looked at and how far they see; None where no frame has contact.
        """
        return self._learnt(draw_batch(replay, self.settings, self.random), pace=1.0)

    def settle(self, replay: Replay, pace: float) -> Learnt | None:
        """Take one step on scanlines of all frames alike, at a share `pace` of the usual rates."""
        batch = draw_batch(replay, self.settings, self.random, settling=True)
        return self._learnt(batch, pace)

    def _learnt(self, batch: Batch | None, pace: float) -> Learnt | None:
        if self.clutter is None or batch is None:
            return None
        return Learnt(batch.picks, self.learn(batch, pace))

    def learn(self, batch: Batch, pace: float = 1.0) -> Lines:
        """Take one step on a batch and return the transmission to each sample of its scanlines.

        Args:
            batch: What to learn from.
            pace: Share of the learning rates.
        """
        settings = self.settings
        self.steps += 1
        looked = self._look(batch.points_mm)
        d_raw = np.zeros_like(looked.raw)
        rendered = batch.brightness.size
        raw = looked.raw[:rendered].reshape(*batch.brightness.shape, -1)
        d_lines, transmission = self._line_gradient(batch, raw)
        d_raw[:rendered] = d_lines.reshape(rendered, -1)
        occupancy = sigmoid(looked.raw[rendered:, 0])
        weight = np.float32(settings.label_weight) * batch.weight
        d_raw[rendered:, 0] = cross_entropy_gradient(occupancy, batch.occupied, weight)
        self._move(looked, d_raw, pace)
        return transmission

    def transmission(self, replay: Replay, picks: BeamPicks) -> Lines:
        """Return how much sound reaches each sample of some beams."""
        assert self.clutter is not None
        depths_mm = replay.lines.depths_mm
        shape = (len(picks.frame), len(depths_mm))
        points = picks.points_mm(np.broadcast_to(depths_mm, shape)).reshape(-1, 3)
        raw = self._look(points).raw.reshape(*shape, -1)
        gain = replay["gain"][picks.frame]
        return render(tissue_of(raw), self._receiver(gain, replay.lines.step_mm))[1]

    def _line_gradient(
        self, batch: Batch, raw: Float32[np.ndarray, "lines samples 4"]
    ) -> tuple[Float32[np.ndarray, "lines samples 4"], Lines]:
        """Return the gradients of all losses on scanlines, and the transmission along them."""
        settings = self.settings
        tissue, receiver = tissue_of(raw), self._receiver(batch.gain, batch.step_mm)
        echo, transmission = render(tissue, receiver)
        error = echo - batch.brightness
        clear = np.clip((receiver.gain - receiver.clutter) / np.float32(CLEAR_CONTRAST), 0, 1)
        share = np.float32(settings.render_weight / error.size)
        d_echo = share * clear * np.clip(error / np.float32(HUBER), -1, 1)
        d_raw = raw_gradient(raw, render_adjoint(tissue, receiver, transmission, d_echo))
        empty = np.float32(settings.empty_weight / error.size)
        d_raw[..., 0] += empty * transmission * tissue.occupancy
        if settings.label_loss == "transmitted":
            d_raw[..., 0] += transmitted_gradient(
                tissue.occupancy,
                transmission,
                batch.line_label,
                np.float32(settings.label_weight) * batch.line_weight,
            )
        self._move_clutter(((1 - transmission) * d_echo).sum(axis=0))
        return d_raw, transmission

    def _receiver(self, gain: Lines, step_mm: float) -> Receiver:
        assert self.clutter is not None
        return Receiver(gain, self.clutter, step_mm, self.settings.shadow_per_mm)

    def _look(self, points_mm: Points) -> Looked:
        count = len(points_mm)
        features = np.empty((count, CHANNELS * len(self.lattices)), np.float32)
        corners = [np.empty((count, 8), np.int32) for _ in self.lattices]
        shares = [np.empty((count, 8), np.float32) for _ in self.lattices]
        for level, lattice in enumerate(self.lattices):
            look_up(
                points_mm, lattice.spacing_mm, lattice.low, lattice.directory, lattice.values,
                features, CHANNELS * level, corners[level], shares[level],
            )  # fmt: skip
        raw, layers = self.network.forward(features)
        return Looked(raw, layers, corners, shares)

    def _move(self, looked: Looked, d_raw: Float32[np.ndarray, "n 4"], pace: float) -> None:
        """Take one step of Adam on all that the points depend on."""
        settings = self.settings
        d_features, gradients = self.network.backward(looked.layers, d_raw)
        for level, lattice in enumerate(self.lattices):
            adam(
                looked.corners[level], looked.shares[level], d_features, CHANNELS * level,
                lattice.values, lattice.mean, lattice.square, lattice.gradient, lattice.marks,
                pace * settings.learning_rate, BETA1, BETA2, self.steps,
            )  # fmt: skip
        self.network.adam(gradients, pace * settings.network_rate, self.steps)

    def _move_clutter(self, gradient: Float32[np.ndarray, " samples"]) -> None:
        assert self.clutter is not None
        mean, square = self.clutter_moments
        mean += np.float32(1 - BETA1) * (gradient - mean)
        square += np.float32(1 - BETA2) * (gradient * gradient - square)
        unbias = np.sqrt(1 - BETA2**self.steps)
        pace = np.float32(CLUTTER_RATE * unbias / (1 - BETA1**self.steps))
        moved = self.clutter - pace * mean / (np.sqrt(square) + np.float32(1e-8 * unbias))
        self.clutter = np.clip(moved, 0, 1).astype(np.float32)
