"""The histogram of bits/dim: its axis shows most values, and no value is lost."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attnflow.pictures.histogram import histogram, limits


def shares(figure) -> list[float]:
    """The summed heights of each kind's bars."""
    counted = figure.axes[0].containers
    return [sum(bar.get_height() for bar in bars) for bars in counted]


def test_values_far_outside_stand_in_the_end_bars() -> None:
    values = torch.cat([torch.linspace(2, 4, 400), torch.tensor([150.0])])
    figure = histogram({"scored": values}, "bits/dim", "A title")
    assert figure.axes[0].get_xlim()[1] < 10
    assert figure.axes[0].get_xlabel() == "bits/dim (1 beyond the ends stand in the end bars)"
    assert shares(figure) == pytest.approx([1.0])


def test_an_axis_holds_all_values_where_none_is_far() -> None:
    values = np.linspace(0, 1, 50)
    assert limits(values) == (0.0, 1.0)
    assert limits(np.ones(3)) == (1.0, 1.0)
    figure = histogram({"a": torch.tensor(values), "b": torch.ones(3)}, "nats", "A title")
    assert figure.axes[0].get_xlabel() == "nats"
    assert shares(figure) == pytest.approx([1.0, 1.0])
