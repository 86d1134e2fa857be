"""How the values of an image are dealt out to tokens and heads."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnflow.errors import AttnFlowError

__all__ = ["TokenLayout"]


class TokenLayout(nn.Module):
    """The arrangement of an image's transformed values by head and group, and back.

    A module without parameters, whose buffers no state_dict holds.

    An image of T patches (tokens) is a matrix of E = C p p value entries by T tokens. The
    tokens in which an entry is transformed form its *group*: with an even patch size (and for
    channel masks) there is one group, all tokens; with an odd one a checkerboard makes two, the
    even and the odd tokens. Mixing happens inside a group, for each head apart.

    Sizes: G groups of up to n tokens, h heads of up to m entries.

    Args:
        read: the mask M, (C, H, W) on the CPU; False where values are transformed.
        patch_size: p, a divisor of both sides.
        num_heads: h, at most the number of transformed entries of a patch.

    Attributes:
        grid: how many tokens lie along both sides.
        pixels: (p p, G, n), where in the flat (H, W) the pixels of each group's tokens lie; None
            if that is the order in which they lie.
        tokens: (G, n), the token indices of each group, padded with 0.
        valid: (G, n), False where ``tokens`` is padding, or None if nothing is padded.
        places: (G, h, m, n), which value of the flat image each head mixes, padded with any.
        real: which of ``places``, flattened, are no padding, or None if all are.
        entries: (G, h), how many entries each head of each group transforms.

    Raises:
        AttnFlowError: the patch size or the number of heads does not fit the mask.
    """

    pixels: Tensor | None
    tokens: Tensor
    valid: Tensor | None
    places: Tensor
    real: Tensor | None
    entries: Tensor

    def __init__(self, read: Tensor, patch_size: int, num_heads: int) -> None:
        super().__init__()
        height, width = read.shape[1:]
        if height % patch_size or width % patch_size:
            raise AttnFlowError(
                f"patch_size: expected a divisor of both sides of the feature map, {height} x "
                f"{width}, got {patch_size}."
            )
        self.grid = (height // patch_size, width // patch_size)
        with torch.device("cpu"):
            buffers = _buffers(read, patch_size, num_heads)
        for name, buffer in buffers.items():
            placed = None if buffer is None else buffer.to(torch.get_default_device())
            self.register_buffer(name, placed, persistent=False)
        # Whether the only group holds all tokens.
        self.all_tokens = tuple(self.tokens.shape) == (1, math.prod(self.grid))

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
        """Arrange values of all tokens, (..., T), by group: (..., G, n)."""
        if self.all_tokens:
            return tokens.unsqueeze(-2)
        index = self.tokens.flatten().expand(*tokens.shape[:-1], -1)
        return tokens.gather(-1, index).unflatten(-1, self.tokens.shape)

    def pairs(self, table: Tensor) -> Tensor:
        """Arrange a table of all pairs of tokens, (T, T), by group: (G, n, n)."""
        if self.all_tokens:
            return table[None]
        return table[self.tokens[:, :, None], self.tokens[:, None, :]]

    def members(self) -> list[Tensor]:
        """The token indices of each group, without padding."""
        if self.valid is None:
            return list(self.tokens)
        return [tokens[real] for tokens, real in zip(self.tokens, self.valid, strict=True)]


def _buffers(read: Tensor, patch_size: int, num_heads: int) -> dict[str, Tensor | None]:
    """The tensors of a :class:`TokenLayout`, by name."""
    transformed = ~_patches(read, patch_size)
    values = _patches(torch.arange(read.numel()).view(read.shape), patch_size)
    groups, group_of_entry = torch.unique(transformed, dim=0, return_inverse=True)
    kept = [g for g in range(len(groups)) if groups[g].any()]
    entries = [(group_of_entry == g).nonzero().flatten() for g in kept]
    fewest = min(len(e) for e in entries)
    if fewest < num_heads:
        raise AttnFlowError(
            f"num_heads: expected {fewest} at most, the entries of a patch (patch_size "
            f"{patch_size}, {len(read)} channels) that are transformed, got {num_heads}."
        )
    tokens, valid = _padded([groups[g].nonzero().flatten() for g in kept])
    heads = [head for group in entries for head in group.tensor_split(num_heads)]
    rows, real = (each.view(len(kept), num_heads, -1) for each in _padded(heads))
    real = real[..., None] & valid[:, None, None, :]
    pixels = values[: patch_size**2, tokens]
    in_order = torch.equal(pixels.flatten(), torch.arange(read[0].numel()))
    return {
        "pixels": None if in_order else pixels,
        "tokens": tokens,
        "valid": None if valid.all() else valid,
        "places": values[rows[..., None], tokens[:, None, None, :]],
        "real": None if real.all() else real.flatten().nonzero().flatten(),
        "entries": torch.tensor([len(e) for e in heads]).view(-1, num_heads),
    }


def _patches(image: Tensor, patch_size: int) -> Tensor:
    """(C, H, W) -> (C p p, T)."""
    return F.pixel_unshuffle(image[None], patch_size)[0].flatten(1)


def _padded(indices: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Index vectors of several lengths as one matrix, padded with 0, and what is no padding."""
    padded = torch.nn.utils.rnn.pad_sequence(indices, batch_first=True)
    lengths = torch.tensor([len(index) for index in indices])
    return padded, torch.arange(padded.shape[1]) < lengths[:, None]
