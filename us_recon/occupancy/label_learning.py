"""The bone detector's network goes on learning from the labels of the recording it looks at.

Trained on virtual patients, the network has never seen this scanner nor this patient. A few
labelled images tell it both: with every label it takes some steps on that image and on those before
it. What is used is the mean of its weights over the last steps (Polyak and Juditsky 1992), which
needs no schedule: labels come until the scan ends. Each label first judges, before anything is
learnt from it: the network is used where it comes nearer to the labels than the rule does.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from math import ceil
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt8
from torch import Tensor

from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy.bone_detector import BoneDetectorSettings, bone_on_beams
from us_recon.occupancy.bone_network import Weights, inputs_of, log_shares, trained
from us_recon.occupancy.bone_training import (
    Depths,
    TrainingImage,
    example,
    mirrored,
    moved,
    spoilt,
    training_image,
)
from us_recon.occupancy.brightness import calibrate
from us_recon.occupancy.labels import label_surface
from us_recon.occupancy.surface import BeamSurface

_ENOUGH, _MANY = 3, 8  # labels: from which on the network may be used; and learns less from each
_MISSED_MM = 2.0  # what a surface counts that is missed, or seen where there is none
_FORGETTING = 0.9
_FOLDS = 4  # halves of a few labels teach so little that they do not show what all of them would
_BATCH, _LEARNING_RATE, _DECAY = 2, 2e-3, 1e-3
_MEMORY = 200  # images; the newest takes the place of one drawn at random
_MEAN_OVER = 30  # steps, about
_FIRST, _SECOND, _TINY = 0.9, 0.999, 1e-8  # of Adam (Kingma and Ba 2015)
_LONGEST_GRADIENT = 1.0
_FLAT = ("theta", "mean", "first", "second")
_NO_GREY, _NO_DEPTH = np.zeros(0, np.uint8), np.zeros(0, np.float32)


class LabelLearner:
    """Learn labels as they come; the same labels in the same order give the same weights."""

    def __init__(self, seed: int = 0, first: Weights | None = None, useful: bool = False) -> None:
        """Begin with the weights from simulation, or with others.

        Args:
            seed: Of the choice of images and of how they are varied.
            first: Weights to begin with; those from simulation unless told.
            useful: Whether these came nearer to the labels of earlier subjects than the rule does.
        """
        self._seed = seed
        self._begun_with = first = first or trained()
        self._shapes = {name: weight.shape for name, weight in trained().items()}
        self._theta = torch.cat([first[name].reshape(-1) for name in self._shapes]).clone()
        self._mean = self._theta.clone()
        self._first, self._second = torch.zeros_like(self._theta), torch.zeros_like(self._theta)
        self._images: list[TrainingImage] = []
        self.steps = self.labels = 0
        self.useful = useful
        """Whether the network comes nearer to labels that it has not seen than the rule does."""
        self._off_mm = np.zeros(2)  # rule and network, from the last labels: a weighted sum
        self._rule_off_mm: list[float] = []  # of each image that is kept

    @classmethod
    def taught(
        cls,
        images: Sequence[TrainingImage],
        steps: int,
        seed: int = 0,
        first: Weights | None = None,
    ) -> "LabelLearner":
        """Return one that has learnt these images together, from the weights it begins with."""
        learner = cls(seed, first)
        learner._images = list(images)
        learner._go_on(steps)
        return learner

    @property
    def weights(self) -> Weights:
        """The network as it has learnt so far."""
        return self._named(self._mean)

    @property
    def images(self) -> list[TrainingImage]:
        """The labelled images that are kept."""
        return list(self._images)

    @property
    def rule_off_mm(self) -> list[float]:
        """How far off the rule found the surface of each of them."""
        return list(self._rule_off_mm)

    def off_mm(self, images: Sequence[TrainingImage]) -> list[float]:
        """Return how far off the network finds the surface of each image, mean over its beams."""
        return [_off_mm(image.depth_mm, self._found(image)) for image in images]

    def learn(
        self,
        frame: TrackedFrame,
        label: UInt8[np.ndarray, "rows columns"],
        by_rule: BeamSurface,
        by_network: BeamSurface,
        steps: int,
    ) -> None:
        """Let a label judge rule and network, then learn from it for some steps.

        Args:
            frame: The image.
            label: 0 background, more than 0 inside the target.
            by_rule: What the rule found in the image.
            by_network: What the network found too, on the same beams.
            steps: How many, some 40 ms each; fewer once there were many labels.

        Raises:
            InputError: The label has another size than the geometry.
        """
        true_mm = label_surface(label, by_rule.geometry).depth_mm
        off_mm = [_off_mm(true_mm, found.depth_mm) for found in (by_rule, by_network)]
        self._off_mm = _FORGETTING * self._off_mm + off_mm
        seen = training_image(frame.image, label, frame.geometry)
        if len(self._images) < _MEMORY:
            self._images.append(seen)
            self._rule_off_mm.append(off_mm[0])
        else:
            at = int(self._draw().integers(_MEMORY))
            self._images[at], self._rule_off_mm[at] = seen, off_mm[0]
        self.labels += 1
        if self.labels >= _ENOUGH:
            self.useful = bool(self._off_mm[1] < self._off_mm[0])
        # The more is known, the less one image adds.
        self._go_on(ceil(steps * min(1.0, _MANY / self.labels)))

    def finish(self, steps: int, settings: BoneDetectorSettings) -> None:
        """Learn all images together, once no more will come.

        Where the network was not useful so far, every fourth of them judges, in turn, rule and
        network after what is learnt from the others.

        Args:
            steps: For how many.
            settings: Of the detector that the network will join.
        """
        if not self.useful and len(self._images) >= 2 * _ENOUGH:
            found = [self._unseen_off_mm(fold, steps, settings) for fold in range(_FOLDS)]
            by_rule, by_both = np.concatenate(found).sum(axis=0)
            self.useful = bool(by_both < by_rule)
        self._go_on(steps)

    def _unseen_off_mm(
        self, fold: int, steps: int, settings: BoneDetectorSettings
    ) -> Float64[np.ndarray, "images 2"]:
        """Return how far off rule and both find every fourth image, taught by the others."""
        others = [one for k, one in enumerate(self._images) if k % _FOLDS != fold]
        taught = LabelLearner.taught(others, steps, self._seed, self._begun_with).weights
        judges = self._images[fold::_FOLDS]
        return np.array([_both_off_mm(image, settings, taught) for image in judges])

    def _go_on(self, steps: int) -> None:
        for _ in range(steps if self._images else 0):
            self._step(self._draw())

    def _found(self, image: TrainingImage) -> Depths:
        """Return the most probable depth of the surface on each beam, NaN where there is none."""
        grey = image.grey.astype(np.float32)
        calibration = calibrate(grey, image.geometry.sample_step_mm, None)
        inputs = torch.from_numpy(inputs_of(grey, calibration, image.geometry))[None]
        with torch.no_grad():
            likeliest = log_shares(self.weights, inputs)[0].argmax(dim=1).numpy()
        depths = np.append(image.geometry.sample_depths_mm, np.nan)
        return depths[likeliest].astype(np.float32)

    def state(self) -> dict[str, Any]:
        """Return all that learning goes on from, as arrays for a file."""
        state: dict[str, Any] = {name: getattr(self, f"_{name}").numpy() for name in _FLAT}
        state["useful"] = np.array(self.useful)
        state["counts"] = np.array([self.steps, self.labels])
        state["off_mm"], state["rule_off_mm"] = self._off_mm, np.array(self._rule_off_mm)
        geometries = list(dict.fromkeys(image.geometry for image in self._images))
        state["geometries"] = np.array(json.dumps([asdict(one) for one in geometries]))
        state["geometry"] = np.array([geometries.index(one.geometry) for one in self._images], int)
        state["grey"] = np.concatenate([one.grey.ravel() for one in self._images] or [_NO_GREY])
        state["depth_mm"] = np.concatenate([one.depth_mm for one in self._images] or [_NO_DEPTH])
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        for name in _FLAT:
            setattr(self, f"_{name}", torch.from_numpy(state[name].copy()))
        self.steps, self.labels = (int(count) for count in state["counts"])
        self._off_mm, self._rule_off_mm = state["off_mm"], state["rule_off_mm"].tolist()
        self.useful = bool(state["useful"])
        kept = json.loads(str(state["geometries"]))
        geometries = [ProbeGeometry.from_fields(values) for values in kept]
        self._images, grey, depth_mm = [], state["grey"], state["depth_mm"]
        for number in state["geometry"]:
            geometry = geometries[int(number)]
            beams, samples = geometry.beam_count, geometry.sample_count
            seen, grey = np.split(grey, [beams * samples])
            depths, depth_mm = np.split(depth_mm, [beams])
            self._images.append(TrainingImage(seen.reshape(beams, samples), depths, geometry))

    def _draw(self) -> np.random.Generator:
        return np.random.default_rng([self._seed, self.labels, self.steps])

    def _step(self, draw: np.random.Generator) -> None:
        """Take one step of AdamW (Loshchilov and Hutter 2019) on a few images of one size."""
        like = self._images[int(draw.integers(len(self._images)))].grey.shape
        alike = [image for image in self._images if image.grey.shape == like]
        chosen = [alike[k] for k in draw.choice(len(alike), min(_BATCH, len(alike)), replace=False)]
        varied = [_varied(image, draw) for image in chosen]
        inputs, wanted = (
            torch.from_numpy(np.stack(part))
            for part in zip(*(example(image, draw) for image in varied), strict=True)
        )
        with torch.inference_mode(mode=False), torch.enable_grad():
            theta = self._theta.clone().requires_grad_()
            found = log_shares(self._named(theta), inputs.to(memory_format=torch.channels_last))
            loss = -(wanted * found).sum(dim=2).mean()
            (slope,) = torch.autograd.grad(loss, theta)
        slope *= min(1.0, _LONGEST_GRADIENT / (float(slope.norm()) + _TINY))
        self.steps += 1
        self._first.lerp_(slope, 1.0 - _FIRST)
        self._second.lerp_(slope * slope, 1.0 - _SECOND)
        mean = self._first / (1.0 - _FIRST**self.steps)
        spread = (self._second / (1.0 - _SECOND**self.steps)).sqrt()
        self._theta -= _LEARNING_RATE * (mean / (spread + _TINY) + _DECAY * self._theta)
        self._mean.lerp_(self._theta, max(1.0 / self.steps, 1.0 / _MEAN_OVER))

    def _named(self, flat: Float32[Tensor, " n"]) -> dict[str, Tensor]:
        sizes = [shape.numel() for shape in self._shapes.values()]
        parts = zip(self._shapes.items(), torch.split(flat, sizes), strict=True)
        return {name: part.view(shape) for (name, shape), part in parts}


def _both_off_mm(
    image: TrainingImage, settings: BoneDetectorSettings, taught: Weights
) -> list[float]:
    """Return how far off the rule alone and the rule with the network find the surface."""
    grey = image.grey.astype(np.float32)
    calibration = calibrate(grey, image.geometry.sample_step_mm, None)
    found = (
        bone_on_beams(grey, image.geometry, replace(settings, kind=kind), calibration, taught)
        for kind in ("ridge", "both")
    )
    return [_off_mm(image.depth_mm, surface.depth_mm) for surface in found]


def _off_mm(true_mm: Depths, found_mm: Depths) -> float:
    """Return the mean distance over the beams."""
    apart = np.minimum(np.abs(true_mm - found_mm), _MISSED_MM)
    none = np.isnan(true_mm) & np.isnan(found_mm)
    return float(np.where(none, 0.0, np.nan_to_num(apart, nan=_MISSED_MM)).mean())


def _varied(image: TrainingImage, draw: np.random.Generator) -> TrainingImage:
    """Return an image as it is, mirrored, from elsewhere, or as another scanner may show it."""
    if draw.random() < 0.5:
        image = moved(image, draw)
    if draw.random() < 0.5:
        return spoilt(image, draw)
    return mirrored(image) if draw.random() < 0.5 else image
