"""Rigid transforms, pose buffers and voxel grids. Knows nothing of ultrasound."""
