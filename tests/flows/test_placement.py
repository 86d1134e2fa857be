"""Which places a placement selects."""

from __future__ import annotations

import pytest

from attnflow import AttnFlowError, Glow, Placement
from attnflow.flows.placement import as_placements
from attnflow.transforms import IMap


def steps_selected(placement: Placement, num_steps: int = 4) -> list[int]:
    return [s for s in range(num_steps) if placement.selects("after_coupling", 0, s, num_steps)]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("all", [0, 1, 2, 3]),
        ("first", [0]),
        ("last", [3]),
        ("every 2", [1, 3]),
        ("every_3", [2]),
        ("every 1", [0, 1, 2, 3]),
    ],
)
def test_steps(steps, expected) -> None:
    assert steps_selected(Placement(steps=steps)) == expected


def test_levels_and_positions() -> None:
    placement = Placement(["after_actnorm", "level_end"], levels=[1], steps="first")
    assert placement.selects("after_actnorm", 1, 0, 4)
    assert not placement.selects("after_actnorm", 0, 0, 4)
    assert not placement.selects("after_coupling", 1, 0, 4)
    assert placement.selects("level_end", 1, 4, 4)


def test_no_position_means_no_attention() -> None:
    flow = Glow((1, 8, 8), attention=IMap, placement=Placement([]))
    assert not any(isinstance(m, IMap) for m in flow.modules())


def test_several_placements_add_up() -> None:
    several = [Placement("after_actnorm", levels=[0], steps="first"), Placement("level_end")]
    flow = Glow((1, 8, 8), attention=IMap, placement=several)
    assert sum(isinstance(m, IMap) for m in flow.modules()) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"levels": "first"}, "'first'"),
        ({"steps": "every 0"}, "'every 0'"),
        ({"steps": "odd"}, "'odd'"),
    ],
)
def test_bad_placements_are_named(arguments, message) -> None:
    with pytest.raises(AttnFlowError, match=message):
        Placement(**arguments)


def test_a_list_of_positions_is_a_placement_of_them() -> None:
    names = ["after_actnorm", "after_coupling"]
    listed, placed = (
        Glow((1, 8, 8), levels=1, attention=IMap, placement=placement)
        for placement in (names, Placement(names))
    )
    found = [name for name, module in listed.named_modules() if isinstance(module, IMap)]
    assert found == [name for name, module in placed.named_modules() if isinstance(module, IMap)]
    assert len(found) == 8


def test_positions_and_levels_are_those_of_a_flow() -> None:
    with pytest.raises(AttnFlowError, match="position: expected one of first, last, got 'inside'"):
        as_placements(["first", "inside"], ("first", "last"), 1)
    with pytest.raises(
        AttnFlowError,
        match=r"levels: expected numbers from 0 to 0, as the flow has 1 levels, got \[1\]",
    ):
        as_placements(Placement("first", levels=[1]), ("first", "last"), 1)
    assert as_placements("last", ("first", "last"), 1) == (Placement("last"),)


@pytest.mark.parametrize("options", [{"positions": 3}, {"levels": 1}, {"levels": [True]}])
def test_placements_of_another_type_are_named(options) -> None:
    with pytest.raises(AttnFlowError, match=r"placement (positions|levels)"):
        Placement(**options)
