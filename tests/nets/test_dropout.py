"""Dropout treats a sample the same however many ranks share its batch."""

from __future__ import annotations

import pytest
import torch

from attnflow.nets import dropout


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_ranks_keep_their_rows_of_the_whole_mask(monkeypatch, memory_format) -> None:
    batch = torch.ones(6, 3, 4, 5).contiguous(memory_format=memory_format)
    layer = dropout.SharedDropout(0.5)
    torch.manual_seed(0)
    whole = layer(batch)
    monkeypatch.setattr(dropout, "world_size", lambda: 2)
    for rank in (0, 1):
        monkeypatch.setattr(dropout, "rank", lambda rank=rank: rank)
        torch.manual_seed(0)
        mine = batch[rank::2].contiguous(memory_format=memory_format)
        assert torch.equal(layer(mine), whole[rank::2])
