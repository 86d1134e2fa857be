"""From a batch to a context: what a conditional flow is conditioned on."""

from attnflow.models.conditioning.base import Conditioning
from attnflow.models.conditioning.classes import ClassConditioning
from attnflow.models.conditioning.images import ImageConditioning

__all__ = ["ClassConditioning", "Conditioning", "ImageConditioning"]
