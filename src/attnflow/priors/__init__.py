"""Priors: the last transform of a level, which takes its latents to a standard normal base."""

from attnflow.priors.gaussian import GaussianPrior, SplitGaussianPrior
from attnflow.priors.mar import MultiScaleAutoregressivePrior

__all__ = ["GaussianPrior", "MultiScaleAutoregressivePrior", "SplitGaussianPrior"]
