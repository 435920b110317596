"""How many threads a run takes."""

import torch


def use_one_torch_thread() -> None:
    """Let torch compute in the calling thread alone, for the whole process.

    The tensors here are small: a second thread gains little on an idle machine, and where other
    processes need the cores its waiting costs a search of the registration four times its time.
    """
    torch.set_num_threads(1)
