"""Priors: the last transform of a level, which takes its latents to a standard normal base."""

from attnflow.transforms.priors.gaussian import GaussianPrior, SplitGaussianPrior
from attnflow.transforms.priors.mar import MultiScaleAutoregressivePrior

__all__ = ["GaussianPrior", "MultiScaleAutoregressivePrior", "SplitGaussianPrior"]
