"""Invertible layers with exact log-determinants."""

from attnflow.transforms.actnorm import ActNorm
from attnflow.transforms.attention import (
    AttentionCoupling,
    AttentionSequence,
    IMap,
    ITrans,
    MaskedTransform,
)
from attnflow.transforms.autoregressive import Autoregressive
from attnflow.transforms.base import Composition, Transform
from attnflow.transforms.centre import Centre
from attnflow.transforms.conv1x1 import InvertibleConv1x1
from attnflow.transforms.coupling import (
    AdditiveCoupling,
    AffineCoupling,
    Coupling,
    MixLogCDFCoupling,
)
from attnflow.transforms.spatial import SpatialCoupling
from attnflow.transforms.squeeze import Squeeze
from attnflow.transforms.step import Step

__all__ = [
    "ActNorm",
    "AdditiveCoupling",
    "AffineCoupling",
    "AttentionCoupling",
    "AttentionSequence",
    "Autoregressive",
    "Centre",
    "Composition",
    "Coupling",
    "IMap",
    "ITrans",
    "InvertibleConv1x1",
    "MaskedTransform",
    "MixLogCDFCoupling",
    "SpatialCoupling",
    "Squeeze",
    "Step",
    "Transform",
]
