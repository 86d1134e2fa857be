"""Masks are made once, also where they are first needed in inference mode."""

from __future__ import annotations

import pytest
import torch

from attnflow.transforms import IMap
from attnflow.transforms.attention.masks import MASKS, attention_mask


def test_channel_mask_is_its_definition() -> None:
    for parity in (0, 1):
        mask = attention_mask("channel", parity, (5, 2, 3))
        for c in range(5):
            assert (mask[c] == ((c < 2) != bool(parity))).all()


@pytest.mark.parametrize("mask", MASKS)
def test_masks_made_in_inference_mode_serve_training(mask) -> None:
    shape = (2, 11, 13)  # of no other test, so that the mask is made here
    with torch.inference_mode():
        made = attention_mask(mask, 0, shape)
    assert not made.is_inference()
    attention = IMap(2, mask=mask)
    z, log_det = attention(torch.randn(1, *shape))
    (z.sum() + log_det.sum()).backward()
    assert all(p.grad is not None for p in attention.parameters())
    assert attention_mask(mask, 0, shape) is made
