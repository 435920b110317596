"""Where the surface that a frame shows comes from: its label, or a detector that labels teach."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from us_recon.imaging.frame import TrackedFrame
from us_recon.occupancy.agreement import Agreement
from us_recon.occupancy.bone_detector import BoneDetector
from us_recon.occupancy.labels import label_surface
from us_recon.occupancy.map_files import MapRecord
from us_recon.occupancy.mapper_settings import MapperSettings
from us_recon.occupancy.prior.decoder import ImageDecoder
from us_recon.occupancy.surface import BeamSurface

if TYPE_CHECKING:  # it learns with PyTorch, which other detectors can do without
    from us_recon.occupancy.label_learning import LabelLearner

Label = UInt8[np.ndarray, "rows columns"]


class FrameSurfaces:
    """Find the surface of each frame of a recording, in order.

    Attributes:
        detector: Finds it where there is no label.
        learner: What an adaptive detector has learnt from labels; else None.
        agreement: How well labels and detector agree.
    """

    def __init__(self, settings: MapperSettings, decoder: ImageDecoder | None) -> None:
        """Begin a recording.

        An adaptive detector uses what earlier subjects taught from its first frame on if that was
        nearer to their labels than the rule.

        Args:
            settings: Which surfaces are used, and by which detector.
            decoder: What earlier subjects taught the detector, if any did.
        """
        self._settings, self._decoder = settings, decoder
        self.detector = BoneDetector(settings.bone_detector())
        self.agreement = Agreement()
        self.learner = _learner(settings, decoder) if settings.detector == "adaptive" else None
        self._learns = True
        if self.learner is None and decoder is not None and settings.detector != "ridge":
            self.detector.learnt = decoder.tensors()
        self._use_what_was_learnt()

    def of(
        self, frame: TrackedFrame, label: Label | None, learning_steps: int | None = None
    ) -> BeamSurface | None:
        """Return the surface that a frame shows, None where its source is not to be used.

        The detector's calibration takes the frame in; one that adapts learns from its label. Where
        both labels and detector are used, each tells how far to trust the other.

        Args:
            frame: The frame.
            label: Its label, with the target's value alone.
            learning_steps: Steps that are learnt from it; as many as the settings say unless told.
        """
        marked = None
        if label is not None and self._settings.surfaces != "detector":
            self._learn(frame, label, learning_steps)
            marked = label_surface(label, frame.geometry)
        if self._settings.surfaces == "label":
            return marked
        found = self.detector(frame.image, frame.geometry)
        contradicted = marked is not None and self.agreement.contradicts(marked, found)
        return self.agreement.judged(found if marked is None or contradicted else marked)

    def taught(self, steps: int) -> "FrameSurfaces":
        """Return what begins the recording once more with all that its labels have taught.

        Args:
            steps: For how many more steps to learn before.
        """
        again = FrameSurfaces(self._settings, self._decoder)
        if self.learner is not None:
            self.learner.finish(steps, self.detector.settings)
            again.learner, again._learns = self.learner, False
            again._use_what_was_learnt()
        return again

    def restore(self, record: MapRecord) -> None:
        """Go on where a map's file ends."""
        if self.learner is not None and record.learnt is not None:
            self.learner.restore(record.learnt)
            self._use_what_was_learnt()
        self.agreement.shares = list(record.shares)
        if record.geometry is not None and record.calibration is not None:
            self.detector.resume(record.geometry, record.calibration)

    def _learn(self, frame: TrackedFrame, label: Label, steps: int | None) -> None:
        """Let a label judge rule and network, then let the network learn from it."""
        if self.learner is None or not self._learns:
            return
        found = self.detector.compared(frame.image, frame.geometry, self.learner.weights)
        steps = self._settings.learning_steps if steps is None else steps
        self.learner.learn(frame, label, *found, steps)
        self._use_what_was_learnt()

    def _use_what_was_learnt(self) -> None:
        if self.learner is not None:
            self.detector.learnt = self.learner.weights if self.learner.useful else None


def _learner(settings: MapperSettings, decoder: ImageDecoder | None) -> "LabelLearner":
    from us_recon.occupancy.label_learning import LabelLearner

    if decoder is None:
        return LabelLearner(settings.seed)
    return LabelLearner(settings.seed, decoder.tensors(), decoder.useful)
