"""Sample quality: distances between features of samples and of real images."""

from attnflow.metrics.domain import DomainClassifier
from attnflow.metrics.extractor import FeatureExtractor
from attnflow.metrics.inception import Inception

__all__ = ["DomainClassifier", "FeatureExtractor", "Inception"]
