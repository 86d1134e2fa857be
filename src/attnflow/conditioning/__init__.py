"""From a batch to a context: what a conditional flow is conditioned on."""

from attnflow.conditioning.base import Conditioning
from attnflow.conditioning.classes import ClassConditioning
from attnflow.conditioning.images import ImageConditioning

__all__ = ["ClassConditioning", "Conditioning", "ImageConditioning"]
