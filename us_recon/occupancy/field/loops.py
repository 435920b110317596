"""How the loops of the field are compiled."""

from functools import partial

from us_recon.compiled import compiled

compiled_loop = partial(compiled, fastmath=True)
"""Compile a loop that may reorder sums."""
