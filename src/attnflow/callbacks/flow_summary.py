"""What a model is made of: its flow's levels and steps, and where attention stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.table import Table
from torch import nn

from attnflow.flows import Flow
from attnflow.models.image_model import ImageModel
from attnflow.training.declared import flow_module
from attnflow.transforms.base import Composition, Transform
from attnflow.transforms.step import Step

__all__ = ["FlowSummary", "count_parameters", "summary_of"]


@dataclass(frozen=True)
class Entry:
    """A transform of a flow, or a step of several.

    Attributes:
        level: that it stands in; "" in a flow of one scale.
        name: of it, such as "step 3".
        parts: classes, in the order in which data pass through them.
        params: how many numbers training adjusts in it.
    """

    level: str
    name: str
    parts: tuple[str, ...]
    params: int

    @property
    def kind(self) -> tuple[object, ...]:
        """What is alike in steps that follow one another and need one row."""
        return self.level, self.name.split(" ")[0], self.parts, self.params


class FlowSummary(Callback):
    """Prints the flow's levels, steps and attentions, and their parameters, before training."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            Console().print(summary_of(flow_module(pl_module).model))


def summary_of(model: ImageModel) -> Table:
    """A row for each run of like steps, with where they stand and their parameters."""
    flow = model.flow
    latents = " and ".join(" x ".join(map(str, shape)) for shape in flow.latent_shapes)
    shape = " x ".join(map(str, flow.image_shape))
    title = f"{type(flow).__name__} of {shape} images; latents of {latents}"
    table = Table("place", "transforms", "parameters", title=title, title_justify="left")
    table.columns[2].justify = "right"
    for _, alike in groupby(entries(flow), key=lambda entry: entry.kind):
        first, *others = alike
        names = first.name
        if others:
            names = f"{first.name} to {others[-1].name.split(' ')[-1]}"
        place = ", ".join(part for part in (first.level, names) if part)
        params = first.params * (1 + len(others))
        table.add_row(place, ", ".join(first.parts), f"{params:,}" if params else "")
    for name in ("dequantizer", "conditioning"):
        part = getattr(model, name)
        if part is not None and count_parameters(part):
            table.add_row(name, type(part).__name__, f"{count_parameters(part):,}")
    table.add_section()
    table.add_row("all", "", f"{count_parameters(model):,}")
    return table


def entries(flow: Flow) -> Iterator[Entry]:
    """The steps of a flow and its other transforms, in order."""
    for path, transform in transforms(flow):
        *above, name = path
        level = f"level {above[above.index('levels') + 1]}" if "levels" in above else ""
        children = transform.children() if isinstance(transform, Step) else [transform]
        parts = tuple(type(child).__name__ for child in children)
        yield Entry(level, name.replace("_", " "), parts, count_parameters(transform))


def transforms(
    module: nn.Module, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Transform]]:
    """The outermost transforms below a module, with the names that lead to them."""
    for name, child in module.named_children():
        if isinstance(child, Transform) and type(child) is not Composition:
            yield (*path, name), child
        else:
            yield from transforms(child, (*path, name))


def count_parameters(module: nn.Module) -> int:
    """How many numbers training adjusts."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
