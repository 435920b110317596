"""Meshes side by side with the true surface, each seen from several sides."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.sets import MappingCase
from us_recon.evaluation.pictures import TRUTH_RGB, Painted, fitted_camera, render


def draw_beside_truth(
    path: Path,
    case: MappingCase,
    painted: Sequence[Painted],
    looks: Sequence[tuple[float, float, float]],
    size_px: tuple[int, int],
) -> None:
    """Draw meshes in columns, the truth in the last one.

    Args:
        path: Picture to write.
        case: The patient, for the truth and the probe's pose in the middle of the sweep.
        painted: The meshes.
        looks: Where to look, in that pose's axes; a row each.
        size_px: Width and height of one mesh.
    """
    axes = case.views[len(case.views) // 2].T_world_transducer[:3, :3]
    columns = [*painted, Painted(case.truth, TRUTH_RGB)]
    rows = []
    for look in looks:
        camera = fitted_camera(case.truth.vertices_mm, axes @ look, axes[:, 2], size_px)
        rows.append(np.concatenate([render([one], camera, size_px) for one in columns], axis=1))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.concatenate(rows)[..., ::-1])
