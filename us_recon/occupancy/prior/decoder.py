"""What the labels of earlier subjects taught: where their surface lies in an image.

The detector's network sees an image and no position: what it learnt on earlier subjects holds for
another shape of the same anatomy, as UltrON's decoder from features alone does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Int64

if TYPE_CHECKING:  # PyTorch is imported where it is needed: maps with the rule do without
    from us_recon.occupancy.bone_training import TrainingImage
    from us_recon.occupancy.label_learning import LabelLearner

Weights = Mapping[str, Float32[np.ndarray, "..."]]
_FOLDS = 4  # of the images, where they are all of one subject


@dataclass(frozen=True, eq=False)
class ImageDecoder:
    """Weights of the detector's network after the labels of earlier subjects.

    Attributes:
        weights: By the names of `bone_network`.
        subjects: How many subjects had labels.
        images: How many labelled images they had.
        off_mm: How far off the network finds the surface in images of subjects that it did not
            learn from, mean over beams; a surface missed or made up counts 2 mm.
        rule_off_mm: The same of the rule.
    """

    weights: Weights
    subjects: int
    images: int
    off_mm: float
    rule_off_mm: float

    @property
    def useful(self) -> bool:
        """Whether the network was nearer to labels that it had not seen than the rule."""
        return self.off_mm < self.rule_off_mm

    def tensors(self) -> dict[str, Any]:
        """Return the weights as the network takes them."""
        import torch

        return {name: torch.from_numpy(np.array(weight)) for name, weight in self.weights.items()}


def train_decoder(learners: Sequence["LabelLearner"], steps: int) -> ImageDecoder | None:
    """Teach the network from simulation all labels of earlier subjects together.

    What is learnt from the others is judged on each subject in turn; on every fourth image where
    there is but one subject.

    Args:
        learners: What each subject's map keeps of its labels.
        steps: How long to learn, some 40 ms each, and as long again for each judgement.

    Returns:
        The decoder; None where there is no label, or nothing to be learnt (0 steps).
    """
    from us_recon.occupancy.label_learning import LabelLearner

    known = [one for one in learners if one.images]
    images = [image for one in known for image in one.images]
    if not images or steps == 0:
        return None
    rule_off_mm = [off for one in known for off in one.rule_off_mm]
    of_subject = np.repeat(np.arange(len(known)), [len(one.images) for one in known])
    folds = of_subject if len(known) > 1 else np.arange(len(images)) % _FOLDS
    learner = LabelLearner.taught(images, steps)
    return ImageDecoder(
        weights={name: weight.numpy() for name, weight in learner.weights.items()},
        subjects=len(known),
        images=len(images),
        off_mm=_unseen_off_mm(images, folds, steps),
        rule_off_mm=float(np.mean(rule_off_mm)),
    )


def _unseen_off_mm(
    images: Sequence["TrainingImage"], folds: Int64[np.ndarray, " images"], steps: int
) -> float:
    """Return how far off each fold is found by what is learnt from the others."""
    from us_recon.occupancy.label_learning import LabelLearner

    off_mm: list[float] = []
    for fold in np.unique(folds):
        others = [image for image, k in zip(images, folds, strict=True) if k != fold]
        left_out = [image for image, k in zip(images, folds, strict=True) if k == fold]
        off_mm += LabelLearner.taught(others, steps).off_mm(left_out)
    return float(np.mean(off_mm))
