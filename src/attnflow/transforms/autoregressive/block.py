"""The autoregressive block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attnflow.context import Context, required
from attnflow.nets.transformer import Cache, CausalTransformer
from attnflow.transforms.autoregressive.orders import token_order
from attnflow.transforms.autoregressive.readers import GuidedReader, Reader
from attnflow.transforms.autoregressive.solvers import CachedSolver, Solution, Solver
from attnflow.transforms.base import Transform, sum_per_sample
from attnflow.transforms.maps import AffineMap, ElementwiseMap, parameters_first
from attnflow.utils.arguments import call, check_kind

__all__ = ["Autoregressive", "CausalNetFactory"]

# net(in_features, out_features, grid, context_channels=...) -> a causal net
CausalNetFactory = Callable[..., nn.Module]


class Autoregressive(Transform):
    """``z_i = f(x_i; net(x_1, ..., x_(i-1)))`` of the tokens i of an image, in an order.

    A token is all channels of a position. Its map's parameters are read from the tokens before
    it, so the Jacobian is triangular and log_det is the sum of the logs of f's derivatives.
    Papamakarios et al., MAF (2017), equations 3 to 5; Zhai et al., TarFlow (2024), with a
    transformer for the net. The inverse needs token after token, which is a solver's work; it
    gives no gradients.

    Args:
        num_channels: D, of a token.
        image_size: (H, W) of the feature map; there are T = H W tokens.
        map: f, which acts on each value alone.
        net: makes the causal net, called as ``net(in_features, out_features, grid,
            context_channels=...)``, ``waves=`` too where there are any, with the rows and columns
            of the grid as it is read; a
            :class:`~attnflow.nets.CausalTransformer`, or what has its methods.
        order: of :data:`~attnflow.transforms.autoregressive.orders.ORDERS`.
        solver: how the inverse is found.
        waves: frequencies, which the net is called with where there are any.
        context_channels: width of the condition; 0 for none.

    Raises:
        AttnFlowError: no such order, or a map or net of another kind.
    """

    order: Tensor
    places: Tensor
    net: CausalTransformer

    def __init__(
        self,
        num_channels: int,
        image_size: Sequence[int],
        map: ElementwiseMap | None = None,
        net: CausalNetFactory = CausalTransformer,
        order: str = "raster",
        solver: Solver | None = None,
        waves: Sequence[float] = (),
        context_channels: int = 0,
    ) -> None:
        super().__init__()
        self.map = AffineMap() if map is None else map
        self.solver = CachedSolver() if solver is None else solver
        check_kind("map", self.map, ElementwiseMap)
        check_kind("solver", self.solver, Solver)
        self.image_size, self.order_name = tuple(image_size), order
        self.context_channels = context_channels
        height, width = self.image_size
        numbers = token_order(order, height, width).to(torch.get_default_device())
        self.register_buffer("order", numbers, persistent=False)
        self.register_buffer("places", numbers.argsort(), persistent=False)
        start = self.map.start()
        self.start = None
        if start is not None:
            self.start = nn.Parameter(start[:, None].repeat(1, num_channels))
        features = self.map.num_parameters * num_channels
        grid = (width, height) if order.startswith("columns") else (height, width)
        place = (num_channels, features, grid)
        options = {"waves": tuple(waves)} if waves else {}
        self.net = call("net", net, *place, context_channels=context_channels, **options)
        check_kind("net", self.net, nn.Module)

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor]:
        tokens = self._tokens(x)
        parameters = self.reader(context).all(tokens)
        z, log_derivative = self.map.forward(tokens, parameters)
        return self._image(z), sum_per_sample(log_derivative)

    def inverse(self, z: Tensor, context: Context | None = None) -> Tensor:
        return self._image(self.solve(z, context).tokens)

    @torch.no_grad()
    def solve(
        self, z: Tensor, context: Context | None = None, solver: Solver | None = None
    ) -> Solution:
        """The tokens x, in the block's order, with ``forward(x) == z``, and how they were found.

        Args:
            z: (B, D, H, W).
            context: the condition, or None.
            solver: the block's own by default.
        """
        solver = self.solver if solver is None else solver
        return solver.solve(self._tokens(z), self.map, self.reader(context))

    def token_attention(self, x: Tensor, context: Context | None = None) -> list[Tensor]:
        """How much each position's token reads of each, row by row, in every layer of the net.

        Args:
            x: what the block is applied to, (B, D, H, W).
            context: the condition, or None.

        Returns:
            Weights (B, heads, T, T), one a layer; rows sum to 1, and hold NaN for later tokens.
        """
        later = self.places[:, None] < self.places
        weights = self.net.weights(self._tokens(x), self._condition(context))
        placed = [each[..., self.places, :][..., self.places] for each in weights]
        return [each.masked_fill(later, torch.nan) for each in placed]

    def at_bound(self, x: Tensor, context: Context | None = None) -> Tensor | None:
        """Where the scale of a value is at its bound, (B, T, D) in the block's order, or None.

        x is what the block is applied to, (B, D, H, W).
        """
        return self.map.at_bound(self.reader(context).all(self._tokens(x)))

    def reader(self, context: Context | None) -> Reader:
        """What reads the map's parameters, under a condition, and with guidance beyond it."""
        condition = self._condition(context)
        reader = NetReader(self, condition)
        if condition is None or context is None or context.guidance is None:
            return reader
        weights = context.guidance.over_tokens(len(self.order), condition)
        without = self.reader(context.guidance.without)
        return GuidedReader(reader, without, weights, self.map)

    def _condition(self, context: Context | None) -> Tensor | None:
        """The condition of every token, (B, T, F), in the block's order; None where none is."""
        if not self.context_channels:
            return None
        return self._tokens(required(context).as_map(*self.image_size))

    def extra_repr(self) -> str:
        return f"{self.map}, order={self.order_name}"

    def _tokens(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, T, C), in the block's order."""
        return image.flatten(2).mT.index_select(1, self.order)

    def _image(self, tokens: Tensor) -> Tensor:
        """(B, T, C) -> (B, C, H, W)."""
        return tokens.index_select(1, self.places).mT.unflatten(2, self.image_size).contiguous()


@dataclass(frozen=True)
class NetReader(Reader):
    """Reads what a block's own net gives under one condition.

    Attributes:
        block: whose net reads.
        condition: of every token, (B, T, F), or None.
    """

    block: Autoregressive
    condition: Tensor | None

    def all(self, tokens: Tensor) -> Tensor:
        return self._parameters(self.block.net(tokens, self.condition), tokens)

    def cache(self, rows: int) -> Cache:
        return self.block.net.cache(rows)

    def some(self, tokens: Tensor, places: slice, cache: Cache) -> Tensor:
        return self._parameters(self.block.net.step(tokens, places, cache, self.condition), tokens)

    def _parameters(self, features: Tensor, like: Tensor) -> Tensor:
        features, start = features.to(like.dtype), self.block.start
        if start is not None:
            features = features + start.flatten()
        return parameters_first(features, self.block.map.num_parameters, dim=2)
