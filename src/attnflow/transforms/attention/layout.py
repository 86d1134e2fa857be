"""How the values of an image are dealt out to tokens and heads."""

from __future__ import annotations

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

    Sizes: G groups of up to n tokens, h heads of up to m entries. Whole rows are moved, and
    single values only where a group leaves tokens out.

    Attributes:
        patch_size: p.
        size: (H, W).
        read: (E, T), 1 where attention reads a value and 0 where it transforms it.
        tokens: (G, n), the token indices of each group, padded with 0.
        valid: (G, n), False where ``tokens`` is padding, or None if nothing is padded.
        rows: (G h m,), the entry that stands at each place of each head, padded with any.
        real: which of ``rows`` are no padding, or None if all are.
        returns: (G, T), where each token of an entry lies in [its row, its mixed values]; None
            if the only group holds all tokens.
        entries: (G, h), how many entries each head of each group transforms.
    """

    def __init__(
        self,
        patch_size: int,
        size: tuple[int, int],
        read: Tensor,
        tokens: Tensor,
        valid: Tensor | None,
        rows: Tensor,
        real: Tensor | None,
        returns: Tensor | None,
        entries: Tensor,
    ) -> None:
        super().__init__()
        self.patch_size, self.size = patch_size, size
        self.register_buffer("read", read, persistent=False)
        self.register_buffer("tokens", tokens, persistent=False)
        self.register_buffer("valid", valid, persistent=False)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("real", real, persistent=False)
        self.register_buffer("returns", returns, persistent=False)
        self.register_buffer("entries", entries, persistent=False)

    @property
    def grid(self) -> tuple[int, int]:
        """How many tokens lie along both sides."""
        return self.size[0] // self.patch_size, self.size[1] // self.patch_size

    def patches(self, image: Tensor) -> Tensor:
        """The matrix of entries and tokens: (B, C, H, W) -> (B, E, T)."""
        return F.pixel_unshuffle(image, self.patch_size).flatten(2)

    def image(self, patches: Tensor) -> Tensor:
        """The inverse of :meth:`patches`."""
        return F.pixel_shuffle(patches.unflatten(2, self.grid), self.patch_size)

    def values(self, patches: Tensor) -> Tensor:
        """The transformed values of (B, E, T): (B, G, h, m, n)."""
        return self._of_groups(self._rows(patches))

    def replace(self, patches: Tensor, values: Tensor) -> Tensor:
        """(B, E, T), its transformed values replaced by ``values`` (B, G, h, m, n)."""
        rows = self.rows
        if self.returns is not None:
            both = torch.cat([self._rows(patches), values], -1)
            values = _take(both, self.returns)
        values = values.flatten(1, 3)
        if self.real is not None:
            rows, values = rows[self.real], values.index_select(1, self.real)
        return patches.index_copy(1, rows, values)

    def group(self, features: Tensor) -> Tensor:
        """Features of tokens, (B, h, d, T), as those of each group: (B, G, h, d, n)."""
        features = features.unsqueeze(1)
        return self._of_groups(features.expand(-1, len(self.tokens), -1, -1, -1))

    def pairs(self, table: Tensor) -> Tensor:
        """A table of all pairs of tokens, (T, T), as that of each group: (G, n, n)."""
        if self.returns is None:
            return table[None]
        return table[self.tokens[:, :, None], self.tokens[:, None, :]]

    def _rows(self, patches: Tensor) -> Tensor:
        """(B, E, T) -> (B, G, h, m, T)."""
        return patches.index_select(1, self.rows).unflatten(1, (*self.entries.shape, -1))

    def _of_groups(self, values: Tensor) -> Tensor:
        """(B, G, h, m, T) -> (B, G, h, m, n)."""
        return values if self.returns is None else _take(values, self.tokens)


def _take(values: Tensor, index: Tensor) -> Tensor:
    """Of each group's last dimension, what ``index`` (G, n) names: -> (B, G, h, m, n)."""
    return values.gather(-1, index[:, None, None, :].expand(*values.shape[:-1], -1))


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
        read = attention_mask(mask, parity, shape).float()
        read = F.pixel_unshuffle(read[None], patch_size)[0].flatten(1)
        transformed = read == 0
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
        rows, real = _padded(heads)
        all_tokens = torch.arange(transformed.shape[1])
        place = groups[kept].cumsum(1) - 1 + len(all_tokens)
        returns = torch.where(groups[kept], place, all_tokens)
        return TokenLayout(
            patch_size=patch_size,
            size=(height, width),
            read=read,
            tokens=tokens,
            valid=None if valid.all() else valid,
            rows=rows.flatten(),
            real=None if real.all() else real.flatten().nonzero().flatten(),
            returns=None if groups[kept].all() else returns,
            entries=torch.tensor([len(e) for e in heads]).view(-1, num_heads),
        ).to(device)


def _padded(indices: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Index vectors of several lengths as one matrix, padded with 0, and what is no padding."""
    padded = torch.nn.utils.rnn.pad_sequence(indices, batch_first=True)
    lengths = torch.tensor([len(index) for index in indices])
    return padded, torch.arange(padded.shape[1]) < lengths[:, None]
