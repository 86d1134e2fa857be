"""Invertible attentions: one half of the image is transformed by what the other half says."""

from attnflow.transforms.attention.base import MaskedTransform
from attnflow.transforms.attention.coupling import AttentionCoupling
from attnflow.transforms.attention.imap import IMap
from attnflow.transforms.attention.itrans import ITrans
from attnflow.transforms.attention.sequence import AttentionSequence

__all__ = ["AttentionCoupling", "AttentionSequence", "IMap", "ITrans", "MaskedTransform"]
