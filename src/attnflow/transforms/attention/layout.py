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
    """Index tensors that gather the transformed values of an image, and put them back.

    A module without parameters, whose buffers no state_dict holds.

    An image of T patches (tokens) has E = C p p value entries a token. The tokens in which
    an entry is transformed form its *group*: with an even patch size (and for channel
    masks) there is one group, all tokens; with an odd one a checkerboard makes two, the
    even and the odd tokens. Mixing happens inside a group, for each head apart.

    Sizes: G groups of up to n tokens, h heads of up to m entries, N = C H W values.

    Attributes:
        tokens: (G, n), the token indices of each group, padded with 0.
        valid: (G, n), False where ``tokens`` is padding, or None if nothing is padded.
        gather: (G h n m,), where each value lies in the flat image; N is a zero.
        scatter: (N,), where each value of the result lies in [image, mixed values].
        entries: (G, h), how many entries each head of each group transforms.
        sizes: (G, h, n, m).
    """

    def __init__(
        self,
        tokens: Tensor,
        valid: Tensor | None,
        gather: Tensor,
        scatter: Tensor,
        entries: Tensor,
        sizes: tuple[int, int, int, int],
    ) -> None:
        super().__init__()
        self.register_buffer("tokens", tokens, persistent=False)
        self.register_buffer("valid", valid, persistent=False)
        self.register_buffer("gather", gather, persistent=False)
        self.register_buffer("scatter", scatter, persistent=False)
        self.register_buffer("entries", entries, persistent=False)
        self.sizes = sizes

    def values(self, x: Tensor) -> Tensor:
        """The transformed values of x: (B, C, H, W) -> (B, G, h, n, m)."""
        flat = F.pad(x.flatten(1), (0, 1))
        return flat.index_select(1, self.gather).unflatten(1, self.sizes)

    def replace(self, x: Tensor, values: Tensor) -> Tensor:
        """x with its transformed values replaced by ``values`` (B, G, h, n, m)."""
        both = torch.cat([x.flatten(1), values.flatten(1)], 1)
        return both.index_select(1, self.scatter).view_as(x)

    def group(self, features: Tensor) -> Tensor:
        """Features of tokens, (B, h, T, d), as those of each group: (B, G, h, n, d)."""
        if self.tokens.shape == (1, features.shape[2]):
            return features.unsqueeze(1)
        grouped = features.index_select(2, self.tokens.flatten())
        return grouped.unflatten(2, self.tokens.shape).transpose(1, 2)


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
        values = channels * height * width
        transformed = _tokens_first(~attention_mask(mask, parity, shape), patch_size).T
        positions = _tokens_first(torch.arange(values).view(shape), patch_size)
        groups, group_of_entry = torch.unique(transformed, dim=0, return_inverse=True)
        kept = [g for g in range(len(groups)) if groups[g].any()]
        entries = [(group_of_entry == g).nonzero().flatten() for g in kept]
        tokens = [groups[g].nonzero().flatten() for g in kept]
        if min(len(e) for e in entries) < num_heads:
            raise AttnFlowError(
                f"num_heads is {num_heads}, but only {min(len(e) for e in entries)} entries of a "
                f"patch are transformed (mask {mask!r}, {channels} channels, patch_size "
                f"{patch_size}); at most that many heads are accepted."
            )
        heads = [e.tensor_split(num_heads) for e in entries]
        n = max(len(t) for t in tokens)
        m = max(len(e) for group in heads for e in group)
        sizes = (len(kept), num_heads, n, m)

        gather = torch.full(sizes, values)
        padded = torch.zeros(len(kept), n, dtype=torch.long)
        valid = torch.zeros(len(kept), n, dtype=torch.bool)
        for g, members in enumerate(tokens):
            padded[g, : len(members)] = members
            valid[g, : len(members)] = True
            for h, mine in enumerate(heads[g]):
                gather[g, h, : len(members), : len(mine)] = positions[members][:, mine]
        gather = gather.flatten()
        scatter = torch.arange(values)
        real = (gather < values).nonzero().flatten()
        scatter[gather[real]] = values + real
        counts = torch.tensor([[len(e) for e in group] for group in heads])
        return TokenLayout(
            tokens=padded,
            valid=None if valid.all() else valid,
            gather=gather,
            scatter=scatter,
            entries=counts,
            sizes=sizes,
        ).to(device)


def _tokens_first(image: Tensor, patch_size: int) -> Tensor:
    """(C, H, W) -> (T, E): the patches of an image, as rows."""
    return F.pixel_unshuffle(image[None].float(), patch_size)[0].flatten(1).T.to(image.dtype)
