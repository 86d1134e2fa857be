"""Gradient accumulation: windows of batches, each of which makes one optimization step."""

from __future__ import annotations

from collections.abc import MutableMapping

__all__ = ["back_to_window_start", "window_size"]


def window_size(batch_idx: int, per_step: int, batches: float, first: int = 0) -> int:
    """How many batches make the step that a batch belongs to; the last ones may be fewer.

    Args:
        batch_idx: the batch's number in its epoch.
        per_step: ``accumulate_grad_batches``.
        batches: of the epoch.
        first: the epoch's first batch since training began or was resumed.
    """
    start = batch_idx - batch_idx % per_step
    return int(min(start + per_step, batches)) - max(start, first)


def back_to_window_start(checkpoint: MutableMapping, per_step: int) -> None:
    """Set a checkpoint back to the first batch of the window that it lies within.

    The gradients of the window's batches up to there are not in it.
    """
    loops = checkpoint["loops"]["fit_loop"]
    progress = loops["epoch_loop.batch_progress"]
    if progress["is_last_batch"]:
        return
    within = progress["current"]["ready"] % per_step
    for counts in (progress["total"], progress["current"]):
        for name in counts:
            counts[name] -= within
