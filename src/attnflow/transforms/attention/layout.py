"""How the values of an image are dealt out to tokens and heads."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnflow.errors import AttnFlowError
from attnflow.transforms.attention.masks import attention_mask

__all__ = ["TokenLayout", "token_layout"]


class TokenLayout(nn.Module):
    """Takes the transformed values of an image to the heads that mix them, and back.

    A module without parameters, whose buffers no state_dict holds.

    An image of T patches (tokens) is a matrix of E = C p p value entries by T tokens. The
    tokens in which an entry is transformed form its *group*: with an even patch size (and for
    channel masks) there is one group, all tokens; with an odd one a checkerboard makes two, the
    even and the odd tokens. Mixing happens inside a group, for each head apart.

    Sizes: G groups of up to n tokens, h heads of up to m entries.

    Attributes:
        patch_size: p.
        size: (H, W).
        pixels: (p p, G, n), where in the flat (H, W) the pixels of each group's tokens lie; None
            if that is the order in which they lie.
        tokens: (G, n), the token indices of each group, padded with 0.
        valid: (G, n), False where ``tokens`` is padding, or None if nothing is padded.
        places: (G, h, m, n), which value of the flat image each head mixes, padded with any.
        real: which of ``places``, flattened, are no padding, or None if all are.
        entries: (G, h), how many entries each head of each group transforms.
        all_tokens: whether the only group holds all tokens.
    """

    def __init__(
        self,
        patch_size: int,
        size: tuple[int, int],
        pixels: Tensor | None,
        tokens: Tensor,
        valid: Tensor | None,
        places: Tensor,
        real: Tensor | None,
        entries: Tensor,
    ) -> None:
        super().__init__()
        self.patch_size, self.size = patch_size, size
        self.all_tokens = tuple(tokens.shape) == (1, math.prod(self.grid))
        self.register_buffer("pixels", pixels, persistent=False)
        self.register_buffer("tokens", tokens, persistent=False)
        self.register_buffer("valid", valid, persistent=False)
        self.register_buffer("places", places, persistent=False)
        self.register_buffer("real", real, persistent=False)
        self.register_buffer("entries", entries, persistent=False)

    @property
    def grid(self) -> tuple[int, int]:
        """How many tokens lie along both sides."""
        return self.size[0] // self.patch_size, self.size[1] // self.patch_size

    def patches(self, image: Tensor) -> Tensor:
        """The pixels of every group's tokens: (B, C, H, W) -> (B, C, p p, G, n)."""
        image = image.flatten(2)
        if self.pixels is not None:
            image = image.gather(2, self.pixels.flatten().expand(*image.shape[:2], -1))
        return image.unflatten(2, (-1, *self.tokens.shape))

    def values(self, image: Tensor) -> Tensor:
        """The transformed values of (B, C, H, W): (B, G, h, m, n)."""
        places = self.places.flatten().expand(len(image), -1)
        return image.flatten(1).gather(1, places).unflatten(1, self.places.shape)

    def replace(self, image: Tensor, values: Tensor) -> Tensor:
        """(B, C, H, W), its transformed values replaced by ``values`` (B, G, h, m, n)."""
        places, values = self.places.flatten(), values.flatten(1)
        if self.real is not None:
            places, values = places[self.real], values.index_select(1, self.real)
        places = places.expand(len(image), -1)
        return image.flatten(1).scatter(1, places, values).view_as(image)

    def group(self, tokens: Tensor) -> Tensor:
        """What every token holds, (..., T), as that of each group: (..., G, n)."""
        if self.all_tokens:
            return tokens.unsqueeze(-2)
        index = self.tokens.flatten().expand(*tokens.shape[:-1], -1)
        return tokens.gather(-1, index).unflatten(-1, self.tokens.shape)

    def pairs(self, table: Tensor) -> Tensor:
        """A table of all pairs of tokens, (T, T), as that of each group: (G, n, n)."""
        if self.all_tokens:
            return table[None]
        return table[self.tokens[:, :, None], self.tokens[:, None, :]]


def token_layout(
    mask: str,
    parity: int,
    shape: tuple[int, int, int],
    patch_size: int,
    num_heads: int,
    device: torch.device | str = "cpu",
) -> TokenLayout:
    """The layout of an image of ``shape`` (C, H, W); computed once for each set of arguments.

    Raises:
        AttnFlowError: the patch size does not divide both sides, or there are fewer
            transformed entries than heads.
    """
    return _token_layout(mask, parity, tuple(shape), patch_size, num_heads, str(device))


@lru_cache(maxsize=256)
def _token_layout(
    mask: str,
    parity: int,
    shape: tuple[int, int, int],
    patch_size: int,
    num_heads: int,
    device: str,
) -> TokenLayout:
    channels, height, width = shape
    if height % patch_size or width % patch_size:
        raise AttnFlowError(
            f"patch_size is {patch_size}, which does not divide the feature map of "
            f"{height} x {width}; a divisor of both sides is accepted."
        )
    # Outside inference mode, or a layout made during validation could not take part in
    # the next training step's graph.
    with torch.inference_mode(False):
        read = attention_mask(mask, parity, shape)
        transformed = ~_patches(read, patch_size)
        values = _patches(torch.arange(read.numel()).view(shape), patch_size)
        groups, group_of_entry = torch.unique(transformed, dim=0, return_inverse=True)
        kept = [g for g in range(len(groups)) if groups[g].any()]
        entries = [(group_of_entry == g).nonzero().flatten() for g in kept]
        if min(len(e) for e in entries) < num_heads:
            raise AttnFlowError(
                f"num_heads is {num_heads}, but only {min(len(e) for e in entries)} entries of a "
                f"patch are transformed (mask {mask!r}, {channels} channels, patch_size "
                f"{patch_size}); at most that many heads are accepted."
            )
        tokens, valid = _padded([groups[g].nonzero().flatten() for g in kept])
        heads = [head for group in entries for head in group.tensor_split(num_heads)]
        rows, real = (each.view(len(kept), num_heads, -1) for each in _padded(heads))
        real = real[..., None] & valid[:, None, None, :]
        pixels = values[: patch_size**2, tokens]
        in_order = torch.equal(pixels.flatten(), torch.arange(height * width))
        return TokenLayout(
            patch_size=patch_size,
            size=(height, width),
            pixels=None if in_order else pixels,
            tokens=tokens,
            valid=None if valid.all() else valid,
            places=values[rows[..., None], tokens[:, None, None, :]],
            real=None if real.all() else real.flatten().nonzero().flatten(),
            entries=torch.tensor([len(e) for e in heads]).view(-1, num_heads),
        ).to(device)


def _patches(image: Tensor, patch_size: int) -> Tensor:
    """(C, H, W) -> (C p p, T)."""
    return F.pixel_unshuffle(image[None], patch_size)[0].flatten(1)


def _padded(indices: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Index vectors of several lengths as one matrix, padded with 0, and what is no padding."""
    padded = torch.nn.utils.rnn.pad_sequence(indices, batch_first=True)
    lengths = torch.tensor([len(index) for index in indices])
    return padded, torch.arange(padded.shape[1]) < lengths[:, None]
