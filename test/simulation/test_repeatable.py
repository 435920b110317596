"""Same seed, same bytes, in another process too, with every effect on."""

import subprocess
import sys

PROGRAM = """
import hashlib
from dataclasses import replace
import numpy as np
from us_recon.simulation.scanner.imager import Imager, ImagerSettings
from us_recon.simulation.phantoms import Phantom
from us_recon.simulation.scene import on_grid
from us_recon.simulation.testbench import CONVEX, GAS, LINEAR, PHASED

settings = ImagerSettings(
    compression_mm=2.0,
    gain_db=3.0,
    tgc_sliders_db=(0.0, 2.0, 4.0, 2.0, 0.0, -3.0, -3.0, 0.0),
    saturation_db=-3.0,
)
T = np.eye(4)
T[:2, :2] = [[0.985, 0.174], [-0.174, 0.985]]  # one end of the face is lifted
scene = Phantom(plate=GAS, plate_half_width_mm=10.0)
for geometry in (LINEAR, CONVEX, PHASED):
    grid = on_grid(scene, geometry.centre_frequency_mhz, 2.0)
    image = Imager(grid, geometry, settings, seed=5).image(T, shot=3)
    assert image.std() > 10.0
    print(hashlib.sha256(image.tobytes()).hexdigest())
"""


def test_two_processes_make_the_same_images() -> None:
    runs = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert len(set(runs[0])) == 3
    assert runs[0] == runs[1]
