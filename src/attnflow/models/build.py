"""Build a model from a config: the only place that knows which config group makes what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attnflow.data.base import ImageDataModule
from attnflow.errors import ArgumentError
from attnflow.flows.base import Flow
from attnflow.models.conditioning import Conditioning
from attnflow.models.dequantization import Dequantizer
from attnflow.models.groups import MODEL_GROUPS
from attnflow.models.image_model import ImageModel
from attnflow.spec import DataSpec
from attnflow.utils.arguments import call, check_kind
from attnflow.utils.making import make

__all__ = ["build_data", "build_model", "with_references"]

T = TypeVar("T")


def build_model(config: Mapping, spec: DataSpec) -> ImageModel:
    """Assemble the model that ``config`` describes for data of ``spec``.

    Args:
        config: the groups of :data:`MODEL_GROUPS`, plain values.
        spec: shapes and numbers of the data.

    Raises:
        AttnFlowError: parts that do not fit each other or the data.
    """
    conditioning, conditional = None, {}
    if config.get("conditioning") is not None:
        conditioning = make_part(config, "conditioning", Conditioning, spec)
        conditional["context_channels"] = conditioning.context_channels
        conditional["conditions"] = conditioning.conditions
    flow = make_part(config, "model", Flow, spec.image_shape, **conditional)
    if flow.grey_levels not in (None, spec.num_bins):
        expected = f"{spec.num_bins}, those of the images, or null"
        raise ArgumentError("model.grey_levels", expected, flow.grey_levels)
    dequantizer = make_part(
        config, "dequantization", Dequantizer, spec.num_bins, image_shape=spec.image_shape
    )
    return ImageModel(flow, dequantizer, conditioning, spec.unpadded_shape)


def build_data(config: Mapping) -> ImageDataModule:
    """The data set that the ``data`` group describes; none of its files is read.

    Raises:
        AttnFlowError: a class of another kind.
    """
    datamodule = make(config, "data")
    check_kind("data", datamodule, ImageDataModule)
    return datamodule


def with_references(config: Mapping) -> dict[str, Any]:
    """A composed config in which a part stands under its own group, and a reference elsewhere.

    ``model.attention``, which holds what ``attention`` holds, becomes ``${attention}`` again.
    """
    groups = {group: config.get(group) for group in MODEL_GROUPS}

    def referred(name: str, value: object) -> object:
        for group, part in groups.items():
            if value == part and (name == group or isinstance(part, Mapping)):
                return f"${{{group}}}"
        return inner(value)

    def inner(value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        return {name: referred(name, held) for name, held in value.items()}

    return {group: inner(value) for group, value in config.items()}


def make_part(config: Mapping, group: str, kind: type[T], *args: object, **kwargs: object) -> T:
    """Call what a config group names; raises unless that gives an object of ``kind``."""
    made = call(group, make(config.get(group), group), *args, **kwargs)
    check_kind(group, made, kind)
    return made
