"""From tracked frames to the surface of bone or organ: surfaces per beam, voxel maps, meshes."""
