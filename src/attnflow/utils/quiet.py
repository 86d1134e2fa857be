"""Warnings of Lightning and torch that need no attention."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet_warnings"]


@contextmanager
def quiet_warnings() -> Iterator[None]:
    """Silence what both note at every run, and what they warn of that is done on purpose."""
    with warnings.catch_warnings():
        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.WARNING)
        # That there is no CUDA, at every compilation for a CPU.
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        for message in (
            ".*does not have many workers.*",
            ".*predict returned None.*",  # what is drawn is written, not returned
            ".*outside the 'fit' stage.*",  # testing uses the averaged weights of the file
            ".*number of training batches.*smaller than the logging interval.*",
            ".*Checkpoint directory .* exists and is not empty.*",  # a resumed run
            ".*sampler has shuffling enabled.*",
            ".*recommended to use `self.log..images_per_second.*",  # of all ranks already
            ".*Total length of `DataLoader` across ranks is zero.*",  # nothing is left to draw
            ".*treespec, LeafSpec.*",  # Lightning's own use of torch
            ".*dataloader is not resumable.*",  # ours asks the trainer where to go on
            ".*Detected call of `lr_scheduler.step.*",  # a schedule is taken to a later step
            ".*callbacks used to create the checkpoint need to be provided.*",  # told as a change
            ".*checkpoint was not created with WeightAveraging.*",  # the same
            ".*torch._prims_common.check.*",  # torch's compiler uses it itself
            ".*`broadcast_buffers` is deprecated.*",  # its successor is new
        ):
            warnings.filterwarnings("ignore", message)
        yield
