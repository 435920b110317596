"""The bone detector on real tissue over cortex, from another device than it was made with."""

from pathlib import Path

import numpy as np

from us_recon.io.plus import read_plus_recording
from us_recon.occupancy.bone_detector import BoneDetector


def test_top_of_a_cortex(data_dir: Path) -> None:
    # There is no truth with these 21 frames: by eye, the top of the cortex lies 22 to 25 mm deep in
    # the 16 mm left of the middle in all of them, with fascia at 15 to 20 mm above its right side.
    folder = data_dir / "plus" / "bone"
    recording = read_plus_recording(
        folder / "BoneUltrasound_L14.igs.mha", folder / "BoneUltrasound_L14_config.xml"
    )
    detector = BoneDetector()
    depths_mm = []
    for frame in recording.tracked_frames():
        surface = detector(frame.image, frame.geometry)
        x_mm = surface.geometry.beam_origins_mm[:, 0]
        depths_mm.append(surface.depth_mm[(x_mm > -16) & (x_mm < 0)])
    depth_mm = np.concatenate(depths_mm)
    assert np.isfinite(depth_mm).mean() > 0.9
    found = depth_mm[np.isfinite(depth_mm)]
    # One beam in twenty takes fascia 5 mm deep for bone.
    assert np.mean((found > 22) & (found < 30)) > 0.9
