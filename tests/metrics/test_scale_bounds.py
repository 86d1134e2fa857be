"""The share of scales at their bound, of every map and of every flow."""

from __future__ import annotations

import csv
from functools import partial

import pytest
import torch
from torch import nn

from attnflow.flows import Glow, Jet, TarFlow
from attnflow.metrics.scale_bounds import share_at_bound
from attnflow.models.dequantization import UniformDequantizer
from attnflow.models.image_model import ImageModel
from attnflow.nets import CausalTransformer, ConvNet
from attnflow.transforms import AdditiveCoupling, AffineCoupling, Autoregressive, MixLogCDFCoupling
from attnflow.transforms.maps import AdditiveMap, AffineMap, GaussianMap, MixtureCDFMap

SHAPE = (1, 4, 4)
NET = partial(ConvNet, hidden_channels=4)
CAUSAL = partial(CausalTransformer, width=4)
FLOWS = {
    "glow": partial(Glow, levels=1, steps=2, coupling=partial(AffineCoupling, net=NET)),
    "jet": partial(Jet, steps=2, spatial_every=2, coupling=partial(AffineCoupling, net=NET)),
    "tarflow": partial(TarFlow, blocks=2, transformer=partial(Autoregressive, net=CAUSAL)),
}


def share(flow: nn.Module) -> float | None:
    model = ImageModel(flow, UniformDequantizer(4, SHAPE))
    batch = {"image": torch.randint(4, (3, *SHAPE)), "index": torch.arange(3)}
    found = share_at_bound(model, batch, torch.rand(3, *SHAPE))
    return None if found is None else float(found)


@pytest.mark.parametrize("name", FLOWS)
def test_the_share_of_the_transform_with_most(name) -> None:
    flow = FLOWS[name](SHAPE)
    assert share(flow) == 0
    layers = [part for part in flow.modules() if isinstance(part, AffineCoupling | Autoregressive)]
    last = [part for part in layers[-1].net.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    bias = last[-1].bias.data
    bias[len(bias) // 2 : 3 * len(bias) // 4] = -50  # half of the log-scales; shifts come first
    assert share(flow) == pytest.approx(0.5)


@pytest.mark.parametrize("coupling", [AdditiveCoupling, MixLogCDFCoupling])
def test_other_maps(coupling) -> None:
    flow = Glow(SHAPE, levels=1, steps=1, coupling=partial(coupling, net=NET))
    assert share(flow) == (None if coupling is AdditiveCoupling else 0)


def test_maps_say_where() -> None:
    x = torch.tensor([0.0, 0.0, 0.0])
    raw = torch.tensor([0.0, 5.0, -50.0])
    for map in (AffineMap(2.0), GaussianMap(2.0)):
        assert map.at_bound(torch.stack([x, raw])).tolist() == [False, False, True]
    assert AdditiveMap().at_bound(x[None]) is None
    parameters = torch.zeros(MixtureCDFMap(2).num_parameters, 3)
    parameters[5] = raw  # the second component's log-scale, of a bound of 3
    assert MixtureCDFMap(2).at_bound(parameters).tolist() == [False, False, True]


def test_training_logs_it(train) -> None:
    run_dir = train("debug=fast", "coupling=affine", "trainer.accelerator=cpu")
    with (run_dir / "csv" / "version_0" / "metrics.csv").open(newline="") as file:
        logged = [row["val/scale_at_bound"] for row in csv.DictReader(file)]
    assert {float(value) for value in logged if value} == {0}
