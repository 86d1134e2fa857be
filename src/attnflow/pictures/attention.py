"""Pictures of where the attentions of a flow look, drawn over the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from attnflow.context import Context
from attnflow.flows.watching import watched
from attnflow.models.image_model import Batch, ImageModel
from attnflow.pictures.sheet import as_colours, enlarged, sheet
from attnflow.transforms.attention.layout import TokenLayout
from attnflow.transforms.attention.mixing import Mixing

__all__ = ["MOST_COLUMNS", "AttentionMap", "attention_maps", "attention_picture", "heat"]

# The tokens whose attention is drawn: row and column as fractions of the sides.
PLACES = ((0.3, 0.3), (0.55, 0.55), (0.8, 0.3))
MOST_COLUMNS = 6
MOST_ROWS = 8
COLOURS = colormaps["inferno"]
OPACITY = 0.75  # of the heat map over the image
MARK = torch.tensor([0.1, 0.83, 1.0])[:, None, None]
FRAME = 2  # pixels
# Titles: of maps that are one token's each, and of one map an image.
ASKED = (
    "Where the attention of the boxed token looks:\n"
    "the brighter, the more it reads there; what is grey cannot be read"
)
WEIGHED = "The weight that attention gives each position; grey has none"


@runtime_checkable
class MapsPositions(Protocol):
    """An attention with one map an image, as :class:`attnflow.transforms.IMap`."""

    def attention_map(self, x: Tensor, context: Context | None = None) -> Tensor:
        """One weight a position: (B, 1, H, W)."""
        ...


@runtime_checkable
class MixesTokens(Protocol):
    """An attention with a map for every token, as :class:`attnflow.transforms.ITrans`."""

    layout: TokenLayout

    def mixing(self, x: Tensor, context: Context | None = None) -> Mixing:
        """The matrix that mixes the tokens of the layout."""
        ...


@runtime_checkable
class ReadsTokens(Protocol):
    """A transform whose net attends, as :class:`attnflow.transforms.Autoregressive`."""

    image_size: tuple[int, int]

    def token_attention(self, x: Tensor, context: Context | None = None) -> list[Tensor]:
        """How much each position reads of each, in every layer: (B, heads, T, T)."""
        ...


@dataclass(frozen=True)
class AttentionMap:
    """The weights of one attention (and head) for some images.

    Attributes:
        title: where the attention stands, in lines.
        weights: (N, Q, h, w), a map for each image and each token that is asked; Q is 1 where
            the attention has one map an image. NaN where nothing can be read.
        tokens: (Q, 2), row and column of the tokens that are asked, on the (h, w) grid; None
            where the attention has one map an image.
    """

    title: str
    weights: Tensor
    tokens: Tensor | None = None

    @property
    def range(self) -> tuple[float, float]:
        """The weights at the ends of the colour scale."""
        known = self.weights[~self.weights.isnan()]
        if not len(known):  # of a flow that has gone non-finite
            return 0.0, 1.0
        lowest = float(known.min()) if self.tokens is None else 0.0
        return lowest, max(float(known.max()), lowest + 1e-3)


@torch.no_grad()
def attention_maps(
    model: ImageModel, batch: Batch, places: tuple[tuple[float, float], ...] = PLACES
) -> list[AttentionMap]:
    """The maps of every attention of the flow, in forward order, for a batch's images.

    An attention is a transform that :class:`MapsPositions` or that :class:`MixesTokens`; every
    head of the latter is a map of its own.
    """
    maps: list[AttentionMap] = []

    def record(name: str, module: nn.Module, inputs: tuple, outputs: object) -> None:
        x, context = inputs
        title = _title(name)
        if isinstance(module, MapsPositions):
            maps.append(AttentionMap(title, module.attention_map(x, context).float().cpu()))
        for layer, (weights, tokens) in enumerate(token_rows(module, x, places, context)):
            heads = weights.float().cpu().unbind(1)
            lines = [title, *([f"layer {layer}"] if layer else [])]
            for number, head in enumerate(heads):
                named = [*lines, *([f"head {number}"] if len(heads) > 1 else [])]
                maps.append(AttentionMap("\n".join(named), head, tokens.cpu()))

    if any(map(is_drawn, model.flow.modules())):
        half = torch.full(batch["image"].shape, 0.5, device=batch["image"].device)
        y, _ = model.dequantizer(batch["image"], half)
        with watched(model.flow, is_drawn, record):
            model.flow.encode(y, model.context(batch))
    return maps


def is_drawn(module: nn.Module) -> bool:
    """Whether a module is an attention that has maps."""
    return isinstance(module, MapsPositions | MixesTokens | ReadsTokens)


def token_rows(
    module: nn.Module,
    x: Tensor,
    places: Sequence[tuple[float, float]],
    context: Context | None = None,
) -> list[tuple[Tensor, Tensor]]:
    """Where the tokens at ``places`` look, as of :func:`attention_rows`, in every layer."""
    if isinstance(module, MixesTokens):
        return [attention_rows(module, x, places, context)]
    if not isinstance(module, ReadsTokens):
        return []
    tokens = x.new_tensor(places) * x.new_tensor(module.image_size)
    tokens = tokens.long()
    numbers = tokens[:, 0] * module.image_size[1] + tokens[:, 1]
    layers = module.token_attention(x, context)
    return [(each[:, :, numbers].unflatten(3, module.image_size), tokens) for each in layers]


def attention_rows(
    attention: MixesTokens,
    x: Tensor,
    places: Sequence[tuple[float, float]],
    context: Context | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the attention rows of the tokens at ``places``: rows of S, as maps of the grid.

    Args:
        attention: whose rows are asked for.
        x: what it is applied to, (B, C, H, W).
        places: row and column as fractions of the sides; each of the Q places stands for the
            nearest token that is transformed.
        context: the condition, or None.

    Returns:
        Weights (B, h, Q, H / p, W / p), NaN at tokens outside the token's group, where the
        others sum to 1; and the tokens' rows and columns, int64 (Q, 2). Of a token in
        several groups, the first group's row is given.
    """
    layout, mixing = attention.layout, attention.mixing(x, context)
    members, (height, width) = layout.members(), layout.grid
    transformed = torch.cat(members).unique()
    at = torch.stack([transformed // width, transformed % width], 1)
    wanted = x.new_tensor(places) * x.new_tensor(layout.grid) - 0.5
    tokens = transformed[torch.cdist(wanted, at.to(x)).argmin(1)]
    found = []
    for token in tokens:
        group = next(g for g, held in enumerate(members) if (held == token).any())
        row = (members[group] == token).nonzero()[0]
        weights = mixing.weights(row)[:, group, :, 0, : len(members[group])]
        everywhere = weights.new_full((*weights.shape[:2], height * width), torch.nan)
        everywhere[..., members[group]] = weights
        found.append(everywhere.unflatten(2, layout.grid))
    return torch.stack(found, 2), torch.stack([tokens // width, tokens % width], 1)


def attention_picture(model: ImageModel, batch: Batch) -> Figure | None:
    """The attentions' weights as heat maps over images; None for a flow without attention.

    The top row holds the images; every further row is an attention (and head). Where a map is
    one token's, the token is marked, and an image stands in several columns, one a token.

    Args:
        batch: with images and what the model is conditioned on; the first few are drawn.
    """
    asking = any(isinstance(module, MixesTokens | ReadsTokens) for module in model.flow.modules())
    places = PLACES if asking else PLACES[:1]
    batch = {name: values[: MOST_COLUMNS // len(places)] for name, values in batch.items()}
    maps = _spread(attention_maps(model, batch, places))
    if not maps:
        return None
    cells = enlarged(as_colours(batch["image"], model.num_bins))
    rows = [cells.repeat_interleave(len(places), 0)]
    rows += [heat(each, cells, len(places)) for each in maps]
    labels, notes = ["image", *(each.title for each in maps)], ["", *map(_scale, maps)]
    return sheet(rows, labels, notes, title=ASKED if asking else WEIGHED)


def heat(each: AttentionMap, cells: Tensor, asked: int) -> Tensor:
    """One attention's heat maps over images: colours, (N * asked, 3, H, W).

    Args:
        each: the maps, of N images.
        cells: the images as colours, (N, 3, H, W).
        asked: how many tokens are asked of an image.
    """
    size = cells.shape[2:]
    weights = each.weights.expand(-1, asked, -1, -1).flatten(0, 1)
    lowest, highest = each.range
    shares = ((weights - lowest) / (highest - lowest)).clamp(0, 1)
    colours = torch.from_numpy(COLOURS(shares.nan_to_num(0).numpy())[..., :3]).permute(0, 3, 1, 2)
    colours = F.interpolate(colours.float(), size, mode="nearest")
    read = F.interpolate(~weights.isnan()[:, None] * OPACITY, size, mode="nearest")
    faded = 0.25 + 0.5 * cells.mean(1, keepdim=True).repeat_interleave(asked, 0)
    drawn = read * colours + (1 - read) * faded
    if each.tokens is not None:
        for number, image in enumerate(drawn):
            _mark(image, each.tokens[number % asked].tolist(), weights.shape[1:])
    return drawn


def _mark(image: Tensor, token: list[int], grid: Sequence[int]) -> None:
    """Draw a frame around a token of a grid that covers the image (3, H, W), in place."""
    sides = [side / count for side, count in zip(image.shape[1:], grid, strict=True)]
    (top, left), (bottom, right) = (
        [round((at + step) * side) for at, side in zip(token, sides, strict=True)]
        for step in (0, 1)
    )
    frame = image[:, top:bottom, left:right]
    inner = frame[:, FRAME:-FRAME, FRAME:-FRAME].clone()
    frame[:] = MARK
    frame[:, FRAME:-FRAME, FRAME:-FRAME] = inner


def _scale(each: AttentionMap) -> str:
    """The values of the darkest and the brightest colour, as text."""
    lowest, highest = each.range
    return f"{lowest:.2f} dark\n{highest:.2f} bright"


def _spread(maps: list[AttentionMap]) -> list[AttentionMap]:
    """Choose at most MOST_ROWS maps at equal distances, the first and the last among them."""
    if len(maps) <= MOST_ROWS:
        return maps
    chosen = torch.linspace(0, len(maps) - 1, MOST_ROWS).round().long()
    return [maps[number] for number in chosen]


def _title(name: str) -> str:
    """A module's place in readable lines: "level 0", "step 1", "after coupling".

    That of ``levels.0.transforms.step_1.attention_after_coupling``: a container's name goes with
    the number behind it, or says nothing.
    """
    lines = []
    for part in name.split("."):
        if part.isdecimal() and lines:
            lines[-1] = f"{lines[-1].removesuffix('s')} {part}"
        else:
            lines.append(part.removeprefix("attention_").replace("_", " "))
    return "\n".join(line for line in lines if line != "transforms")
