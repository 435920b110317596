"""Files in and out: bags, PLUS sequences, NIfTI, MetaImage and NRRD volumes."""
