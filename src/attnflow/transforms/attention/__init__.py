"""Invertible attentions: one half of the image is transformed by what the other half says."""

from attnflow.transforms.attention.imap import IMap
from attnflow.transforms.attention.itrans import ITrans

__all__ = ["IMap", "ITrans"]
