"""How many threads a run takes."""

import os
import sys

import cv2
from threadpoolctl import threadpool_limits


def use_one_thread() -> None:
    """Let torch, OpenCV and BLAS compute in the calling thread alone, for the whole process.

    The arrays here are small: a second thread gains little on an idle machine, while its waiting
    doubles the CPU time of a simulated image, and where other processes need the cores it costs a
    search of the registration four times its time.
    """
    os.environ["OMP_NUM_THREADS"] = "1"  # for torch, should it be imported later
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    cv2.setNumThreads(1)
    threadpool_limits(1)
