"""Two models beside each other: what they are, and what they say of the same test images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from attnflow.errors import AttnFlowError
from attnflow.explore.opened import Opened
from attnflow.metrics.images import fetch, spread
from attnflow.models.build import with_references

__all__ = ["Comparison", "Fact", "compared"]

ALWAYS = ("data", "model", "dequantization", "conditioning")
PARTS = ("attention", "placement", "coupling", "map", "prior")


@dataclass(frozen=True)
class Fact:
    """A fact of two models.

    Attributes:
        name: of it.
        first, second: in words.
    """

    name: str
    first: str
    second: str

    @property
    def differs(self) -> bool:
        """Whether the two differ in it."""
        return self.first != self.second


@dataclass(frozen=True)
class Comparison:
    """Two models beside each other.

    Attributes:
        facts: of both.
        bits: of the test images under each, by the models' names; those of one alone, or of none,
            where others are not here.
        words: on the difference of both on the same images, or why there is none.
    """

    facts: list[Fact]
    bits: dict[str, Tensor]
    words: str


def compared(first: Opened, second: Opened) -> Comparison:
    """Compare two models; what cannot be compared is said in words."""
    found: list[Tensor | None] = []
    reasons = []
    for each in (first, second):
        try:
            found.append(each.test_scores.bits.cpu())
        except AttnFlowError as error:
            found.append(None)
            reasons.append(str(error))
    names = (f"1: {first.name}", f"2: {second.name}")
    bits = {name: each for name, each in zip(names, found, strict=True) if each is not None}
    facts = list(facts_of(first, second))
    if reasons:
        return Comparison(facts, bits, " ".join(dict.fromkeys(reasons)))
    facts.append(Fact("bits/dim of test images", *(mean(each) for each in bits.values())))
    return Comparison(facts, bits, difference(first, second, *bits.values()))


def facts_of(first: Opened, second: Opened) -> Iterator[Fact]:
    """The choices, sizes and training of two models."""
    for name in (*ALWAYS, *PARTS):
        fact = Fact(name, *(choice(each, name) for each in (first, second)))
        if name in ALWAYS or {fact.first, fact.second} != {"none"}:
            yield fact
    yield Fact("parameters", *(f"{parameters(each):,}" for each in (first, second)))
    yield Fact("steps of training", *(f"{each.steps:,}" for each in (first, second)))
    yield Fact("images", *(sizes(each) for each in (first, second)))


def choice(opened: Opened, name: str) -> str:
    """What was chosen of a config group; "none" of a group that the model has no part of."""
    model = with_references(opened.held["config"]).get("model")
    if name in PARTS and f"${{{name}}}" not in str(model):
        return "none"
    return str(opened.loaded.choices.get(name, "none"))


def parameters(opened: Opened) -> int:
    """How many weights are learned."""
    return sum(parameter.numel() for parameter in opened.loaded.parameters())


def sizes(opened: Opened) -> str:
    """The shape and depth of a model's images, in words."""
    return f"{' x '.join(map(str, opened.shape))} in {opened.spec.num_bins} grey values"


def mean(bits: Tensor) -> str:
    """Mean and standard error in words."""
    error = float(bits.double().std()) / math.sqrt(len(bits)) if len(bits) > 1 else math.nan
    return f"{float(bits.double().mean()):.3f} ± {error:.3f}"


def difference(first: Opened, second: Opened, bits: Tensor, others: Tensor) -> str:
    """How far apart two models are on the same images, of which each is a pair."""
    if not same_images(first, second):
        return "The two have other test images: their bits/dim are not to be compared."
    apart = (others - bits).double()
    error = float(apart.std()) / math.sqrt(len(apart)) if len(apart) > 1 else math.nan
    better = int((apart < 0).sum())
    return (
        f"On the same {len(apart)} test images, the second takes {float(apart.mean()):+.3f} ± "
        f"{error:.3f} bits/dim beside the first, and fewer on {better} of them."
    )


def same_images(first: Opened, second: Opened) -> bool:
    """Whether the two models were scored on the same test images."""
    if first.spec != second.spec or len(first.tests) != len(second.tests):
        return False
    numbers = spread(len(first.tests), first.most)
    ours, theirs = (fetch(each.tests, numbers)["image"] for each in (first, second))
    return torch.equal(ours, theirs)
