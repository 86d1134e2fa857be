"""torchmetrics' distances and scores, fed with features that are extracted once for all."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from torchmetrics import Metric
from torchmetrics.image import (
    FrechetInceptionDistance,
    InceptionScore,
    KernelInceptionDistance,
)
from torchmetrics.utilities import dim_zero_cat

from attnflow.metrics.extractor import FeatureExtractor
from attnflow.metrics.reference import Reference
from attnflow.utils.distributed import rank

__all__ = ["KEEPING", "NEIGHBOURS", "Measures", "real_distance"]

# The measures that keep features of samples and of real images.
KEEPING = ("kernel", "precision_recall")
# A sample is near where it is nearer than an image's third neighbour, as in the paper.
NEIGHBOURS = 3
ROWS = 1_000  # of distances held at once


class Given(nn.Module):
    """Passes features through, as torchmetrics would extract them anew for each metric."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


class PrecisionRecall(Metric):
    """The share of samples among the real images (precision), and the reverse (recall).

    Among: within the distance of some real image's third nearest real image. Kynkaanniemi et
    al. (2019), equation 2, by torch-fidelity's computation on the features that are given.
    """

    real_features: list[Tensor]
    fake_features: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("real_features", [], dist_reduce_fx="cat")
        self.add_state("fake_features", [], dist_reduce_fx="cat")

    def update(self, features: Tensor, real: bool) -> None:
        (self.real_features if real else self.fake_features).append(features)

    def compute(self) -> tuple[Tensor, Tensor]:
        fake, real = dim_zero_cat(self.fake_features), dim_zero_cat(self.real_features)
        figures = prc_features_to_metric(
            fake,
            real,
            prc_neighborhood=NEIGHBOURS,
            prc_batch_size=ROWS,
            save_cpu_ram=True,
            verbose=False,
        )
        return torch.tensor(figures["precision"]), torch.tensor(figures["recall"])


class Measures:
    """The measures of one set of samples against one reference.

    frechet: the Frechet distance of Gaussians, FID on Inception's features; Heusel et al.
    (2017). It keeps sums, so memory does not grow with the samples.
    kernel: the squared MMD with a cubic kernel, KID on Inception's features; Binkowski et al.
    (2018). It keeps the features of ``max_kept`` samples.
    precision_recall: :class:`PrecisionRecall`. It keeps the features of ``max_kept`` samples.
    inception_score: Salimans et al. (2016). It keeps the logits of all samples, 4 KB each.

    Args:
        kinds: which of them.
        extractor: whose features are compared.
        reference: of the real images; the same on all ranks.
        ranks: that share the samples; torchmetrics sums over them.
        subset_size, num_subsets: of the kernel distance.
        max_kept: how many samples' features a measure keeps, over all ranks.
        device: of the features.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        extractor: FeatureExtractor,
        reference: Reference,
        ranks: int,
        subset_size: int,
        num_subsets: int,
        max_kept: int,
        device: torch.device,
    ) -> None:
        self.names = extractor.names
        self.max_kept = max_kept
        given = Given(extractor.num_features)
        with warnings.catch_warnings():
            # The warning is about buffers, whose size the docstring above states.
            warnings.filterwarnings("ignore", message=".*will save all extracted features.*")
            makers = {
                "frechet": lambda: frechet(given, reference),
                "kernel": lambda: kernel(given, reference, ranks, subset_size, num_subsets),
                "precision_recall": lambda: precision_recall(reference, ranks),
                "inception_score": lambda: InceptionScore(extractor.class_scores()),
            }
            self.metrics: dict[str, Metric] = {k: makers[k]().to(device) for k in kinds}

    def update(self, features: Tensor, start: int) -> None:
        """Take in features of samples: (B, D).

        Args:
            features: of consecutive samples.
            start: the number of the first of them, counted over all ranks.
        """
        kept = max(0, self.max_kept - start)
        for kind, metric in self.metrics.items():
            if kind == "frechet":
                metric.update(features, real=False)
            elif kind in KEEPING:
                # Updated even with no features, as every rank needs a tensor to gather.
                metric.update(features[:kept], real=False)
            else:
                metric.update(features)

    def compute(self, seed: int) -> dict[str, float]:
        """Every figure by its name, from all ranks' samples, the same on all ranks.

        Args:
            seed: of the random subsets; the global generator is left as it was.
        """
        figures: dict[str, float] = {}
        for kind, metric in self.metrics.items():
            join_buffers(metric)
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)
                values = metric.compute()
            values = values if isinstance(values, tuple) else (values,)
            # An extractor may name the mean alone.
            figures |= {n: float(v) for n, v in zip(self.names[kind], values, strict=False)}
        return figures


def join_buffers(metric: Metric) -> None:
    """Join each buffer of a metric into one tensor.

    torchmetrics gathers a buffer's tensors one by one, which goes wrong where ranks hold
    different numbers of them. Logits become float64, as in the reference code: a confident
    classifier's probabilities underflow float32, and the Inception score is NaN.
    """
    for name in ("real_features", "fake_features", "features"):
        if isinstance(getattr(metric, name, None), list):
            joined = torch.cat(getattr(metric, name))
            setattr(metric, name, [joined.double() if name == "features" else joined])


def frechet(given: Given, reference: Reference) -> FrechetInceptionDistance:
    """Make an FID metric; one rank alone holds the real sums, as torchmetrics adds all ranks'."""
    metric = FrechetInceptionDistance(given).to(reference.total.device)
    if rank() == 0:
        metric.real_features_sum += reference.total
        metric.real_features_cov_sum += reference.outer
        metric.real_features_num_samples += reference.count
    return metric


def real_distance(one: Reference, other: Reference) -> float:
    """The Frechet distance of two sets of real images, by torch-fidelity's computation."""
    given = (moments(reference) for reference in (one, other))
    figures = fid_statistics_to_metric(*given, verbose=False)
    return float(figures["frechet_inception_distance"])


def moments(reference: Reference) -> dict[str, np.ndarray]:
    """Mean and covariance of features."""
    count = float(reference.count)
    mean = reference.total / count
    covariance = (reference.outer - count * mean.outer(mean)) / (count - 1)
    return {"mu": mean.cpu().numpy(), "sigma": covariance.cpu().numpy()}


def kernel(
    given: Given, reference: Reference, ranks: int, subset_size: int, num_subsets: int
) -> KernelInceptionDistance:
    """Make a KID metric that holds this rank's real features; torchmetrics gathers all ranks'."""
    metric = KernelInceptionDistance(given, subsets=num_subsets, subset_size=subset_size)
    metric.real_features.append(reference.features[rank() :: ranks])
    return metric


def precision_recall(reference: Reference, ranks: int) -> PrecisionRecall:
    """Make the metric with this rank's real features; torchmetrics gathers all ranks'."""
    metric = PrecisionRecall()
    metric.update(reference.features[rank() :: ranks], real=True)
    return metric
