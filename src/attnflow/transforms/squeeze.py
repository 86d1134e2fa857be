"""Space to channels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from attnflow.context import Context
from attnflow.errors import AttnFlowError
from attnflow.transforms.base import Transform, zero_log_det

__all__ = ["Squeeze"]


class Squeeze(Transform):
    """(B, C, H, W) -> (B, f^2 C, H / f, W / f): every f x f block becomes channels.

    A permutation of the values, so log_det is 0. Dinh et al., RealNVP (2017), section 3.6.

    Args:
        factor: f, the side of a block.

    Example:
        >>> z, log_det = Squeeze()(torch.rand(2, 3, 8, 8))
        >>> z.shape, log_det
        (torch.Size([2, 12, 4, 4]), tensor([0., 0.]))
    """

    def __init__(self, factor: int = 2) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor]:
        if x.shape[2] % self.factor or x.shape[3] % self.factor:
            raise AttnFlowError(
                f"Squeeze: expected sides that are multiples of {self.factor}, got an image of "
                f"{x.shape[2]} x {x.shape[3]}."
            )
        return F.pixel_unshuffle(x, self.factor), zero_log_det(x)

    def inverse(self, z: Tensor, context: Context | None = None) -> Tensor:
        return F.pixel_shuffle(z, self.factor)

    def extra_repr(self) -> str:
        return f"factor={self.factor}"
