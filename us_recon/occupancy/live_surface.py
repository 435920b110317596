"""The surface of a map that grows: only what changed is meshed anew."""

from collections.abc import Callable

import numpy as np

from us_recon.occupancy.block_grid import GridArrays, block_keys, keys_beside
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.meshing import extract_pieces
from us_recon.occupancy.pieces import Keys, Pieces


class LiveSurface:
    """Keep the part of the surface in each block, and redo those whose voxels changed.

    The mesh is, to the last bit, the one that `extract_surface` makes of the whole map.
    """

    def __init__(self, spacing_mm: float, min_weight: float) -> None:
        """Begin with nothing.

        Args:
            spacing_mm: Edge of a voxel.
            min_weight: As for `extract_surface`.
        """
        self.spacing_mm = spacing_mm
        self.min_weight = min_weight
        self.pieces = Pieces.empty()
        self.redone = 0

    def update(self, changed: Keys, read: Callable[[Keys], GridArrays]) -> Mesh:
        """Return the surface after some blocks changed.

        Args:
            changed: Keys of the blocks whose values or weights are new, or that are gone.
            read: Returns the present content of those of some blocks that there are.
        """
        if len(changed):
            # A part needs the first layers of the blocks after it: those before change as well.
            redone = keys_beside(changed, -1)
            arrays = read(keys_beside(redone, 1))
            wanted = np.isin(block_keys(arrays.blocks), redone)
            new = extract_pieces(arrays, self.spacing_mm, self.min_weight, wanted)
            self.pieces = self.pieces.replaced(redone, new)
            self.redone = int(wanted.sum())
        else:
            self.redone = 0
        return self.pieces.joined()
