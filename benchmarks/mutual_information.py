"""Mattes' mutual information between the compounded sweep and the MRI, by SimpleITK as it comes.

The one module that imports SimpleITK. Mattes et al., IEEE Trans. Med. Imaging 22 (2003) 120; the
settings are those of SimpleITK's own examples for rigid registration of two modalities, with the
starting step and the samples fitted to a volume of this size.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from us_recon.geometry.grid import Grid
from us_recon.geometry.rigid import Matrix4, invert_rigid, make_rigid
from us_recon.imaging.compounding import CompoundingSettings, compound, grid_of_frames
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.volume import Volume

SPACING_MM = 1.0
BINS = 50
SAMPLES = 20_000
ITERATIONS = 100
SHRINK, SMOOTH_MM = [4, 2, 1], [2.0, 1.0, 0.0]
SEED = 1
_COMPOUNDING = CompoundingSettings(
    spacing_mm=SPACING_MM, interpolation="nearest", compounding="mean", fill=True
)


def register(frames: Sequence[TrackedFrame], mri: Volume, T_world_mri: Matrix4) -> Matrix4:
    """Return the pose of the MRI; the one given where the images lie outside of it.

    The sweep is compounded in the MRI's frame as the first guess has it, so that what is sought
    is a small motion about the images' centre.
    """
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    T_mri_world = invert_rigid(T_world_mri)
    moved = [replace(f, T_world_transducer=T_mri_world @ f.T_world_transducer) for f in frames]
    swept = compound(moved, grid_of_frames(moved, SPACING_MM), _COMPOUNDING)
    tissue = (swept.covered | swept.filled) & (swept.volume.data > 0)
    centre = swept.volume.T_space_index[:3, 3] + SPACING_MM * np.argwhere(tissue).mean(axis=0)
    motion = sitk.Euler3DTransform()
    motion.SetCenter(centre.tolist())
    method = _method(int(tissue.size))
    method.SetMetricFixedMask(_image(Volume(tissue.astype(np.float32), swept.volume.T_space_index),
                                     sitk.sitkUInt8))  # fmt: skip
    method.SetInitialTransform(motion, inPlace=True)
    try:
        method.Execute(_image(swept.volume), _image(upright(mri)))
    except RuntimeError:  # too few samples inside the MRI: the only way it fails on its own
        return T_world_mri
    rotation = np.array(motion.GetMatrix()).reshape(3, 3)
    offset = np.array(motion.TransformPoint((0.0, 0.0, 0.0)))
    return invert_rigid(make_rigid(rotation, offset) @ T_mri_world)


def _method(voxels: int) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(min(1.0, SAMPLES / voxels), SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=1.0,
        minStep=1e-3,
        numberOfIterations=ITERATIONS,
        gradientMagnitudeTolerance=1e-6,
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(SHRINK)
    method.SetSmoothingSigmasPerLevel(SMOOTH_MM)
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    return method


def upright(volume: Volume) -> Volume:
    """Return a volume on axes that are those of its space, for an affine may be sheared.

    Voxels beyond the volume are 0.
    """
    spacing_mm = float(volume.spacing_mm.min())
    corners = volume.corners_mm
    grid = Grid.around(corners.min(axis=0), corners.max(axis=0), spacing_mm)
    data = np.empty(grid.shape, np.float32)
    for first in range(grid.shape[0]):  # layer by layer: the places take more room than the values
        index = np.stack(np.indices((1, *grid.shape[1:])), axis=-1) + np.array([first, 0, 0])
        data[first : first + 1] = volume.sample(grid.index_to_mm(index), fill=0.0)
    return Volume(data, grid.T_space_index)


def _image(volume: Volume, pixel: int = sitk.sitkFloat32) -> sitk.Image:
    """Return an upright volume as SimpleITK's; both sides leave their axes as they are, RAS."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.data.T))
    image.SetSpacing(volume.spacing_mm.tolist())
    image.SetOrigin(volume.T_space_index[:3, 3].tolist())
    return sitk.Cast(image, pixel)
