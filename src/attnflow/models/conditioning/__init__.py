"""Conditionings, which turn a batch into the context that a flow is conditioned on."""

from attnflow.models.conditioning.base import Conditioning
from attnflow.models.conditioning.classes import ClassConditioning
from attnflow.models.conditioning.images import ImageConditioning

__all__ = ["ClassConditioning", "Conditioning", "ImageConditioning"]
