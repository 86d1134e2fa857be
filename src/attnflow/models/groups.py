"""The config groups that a model is made of."""

from __future__ import annotations

__all__ = ["MODEL_GROUPS"]

# The config groups that decide a model's parameters and their shapes; ``model`` holds most of the
# others as its parts, those that its kind of flow has, and ``coupling`` its net.
MODEL_GROUPS = (
    "model",
    "attention",
    "placement",
    "coupling",
    "coupling_net",
    "prior",
    "map",
    "causal_net",
    "solver",
    "dequantization",
    "conditioning",
)
