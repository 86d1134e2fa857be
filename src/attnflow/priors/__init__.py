"""Priors: the last transform of a level, which takes its latents to a standard normal base."""

from attnflow.priors.gaussian import GaussianPrior, SplitGaussianPrior

__all__ = ["GaussianPrior", "SplitGaussianPrior"]
