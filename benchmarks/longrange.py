"""How much of a long-range dependence each attention finds, against the exact entropy.

    python benchmarks/longrange.py --steps 1000 --seeds 3 --processes 2

Images of 16 x 16 pixels whose right half repeats the left half, moved down by four rows,
with a tenth of the pixels replaced: the entropy is known, and the copy lies beyond the
coupling nets' receptive field. Every flow has one level of six steps, equal training steps
(with --seconds: equal wall clock on one thread) and about equal parameters. Writes a table and
a plot to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial

import matplotlib.pyplot as plt
import torch
from density import our_bits
from loop import Data, Outcome, Recipe, train_for
from pool import each
from tables import RESULTS, save_table, standard_error

from attnflow.data import LongRangeDataModule
from attnflow.data.base import SPLITS
from attnflow.flows.glow import Glow
from attnflow.models.dequantization import UniformDequantizer
from attnflow.models.image_model import ImageModel
from attnflow.nets import ConvNet
from attnflow.transforms import (
    AffineCoupling,
    AttentionCoupling,
    AttentionSequence,
    IMap,
    InvertibleConv1x1,
    ITrans,
    MixLogCDFCoupling,
)
from attnflow.utils.noise import sample_keys, uniform_noise

COUPLINGS = {
    "affine": AffineCoupling,
    "mixlogcdf": partial(MixLogCDFCoupling, num_components=4),
}
HIDDEN_CHANNELS = 32
# "none, wide" has as many parameters as the largest attention brings.
WIDE_HIDDEN_CHANNELS = {"affine": 82, "mixlogcdf": 60}
ITRANS = partial(ITrans, patch_size=1, position_embedding="both")
ATTENTIONS = {
    "none": None,
    "none, wide": None,
    "imap": IMap,
    "imap, global": partial(IMap, kernel_size=3, global_context=True),
    "itrans, positive": partial(ITRANS, signed=False),
    "itrans, signed": ITRANS,
    "itrans, signed, reading": partial(
        AttentionSequence,
        attentions={
            "mixing": partial(ITRANS, mask="coarse"),
            "reading": partial(AttentionCoupling, mask="coarse"),
        },
    ),
    "itrans_causal": partial(ITRANS, variant="causal"),
    # A slot for each of the tokens that a group of 32 can read.
    "itrans_linear": partial(ITRANS, variant="linear", position_embedding="absolute", rank=32),
}
COLUMNS = (
    "coupling",
    "attention",
    "test bpd",
    "std err",
    "above entropy",
    "gap closed",
    "steps",
    "params",
)


def make(coupling: str, attention: str, data: Data, seed: int) -> ImageModel:
    """One flow of the comparison, initialised from data."""
    torch.manual_seed(seed)
    width = WIDE_HIDDEN_CHANNELS[coupling] if attention == "none, wide" else HIDDEN_CHANNELS
    flow = Glow(
        data.train.shape[1:],
        levels=1,
        steps=6,
        attention=ATTENTIONS[attention],
        coupling=partial(COUPLINGS[coupling], net=partial(ConvNet, hidden_channels=width)),
        conv1x1=partial(InvertibleConv1x1, start="permutation"),
    )
    model = ImageModel(flow, UniformDequantizer(data.num_bins, data.train.shape[1:]))
    rows = torch.arange(256)
    noise = uniform_noise(sample_keys(0, -1, rows), tuple(data.train.shape[1:]))
    model.initialize({"image": data.train[rows]}, noise)
    return model


def run(job: tuple[str, str, int, int | None, float]) -> Outcome:
    """Train one flow, on one thread: (coupling, attention, seed, steps or None, seconds)."""
    coupling, attention, seed, steps, seconds = job
    torch.set_num_threads(1)
    module = LongRangeDataModule()
    images = {split: module.dataset(split).fields["image"] for split in SPLITS}
    data = Data(**images, num_bins=module.spec.num_bins)
    model = make(coupling, attention, data, seed)
    recipe = Recipe(learning_rate=5e-3)
    return train_for(seconds, model, our_bits, data, recipe, seed, max_steps=steps, validations=5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=1000, help="training steps of each flow")
    parser.add_argument("--seconds", type=float, help="seconds of training each, in place of steps")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=1, help="trainings at a time")
    parser.add_argument("--couplings", nargs="+", default=list(COUPLINGS), choices=COUPLINGS)
    parser.add_argument("--attentions", nargs="+", default=list(ATTENTIONS), choices=ATTENTIONS)
    arguments = parser.parse_args()
    for name in ("steps", "seeds", "processes"):
        if getattr(arguments, name) < 1:
            parser.error(f"{name}: expected 1 or more, got {getattr(arguments, name)}")
    timed = arguments.seconds is not None
    if timed and arguments.seconds <= 0:
        parser.error(f"seconds: expected a number above 0, got {arguments.seconds}")
    budget = (None, arguments.seconds) if timed else (arguments.steps, 0.0)
    jobs = [
        (coupling, attention, seed, *budget)
        for seed in range(arguments.seeds)
        for coupling in arguments.couplings
        for attention in arguments.attentions
    ]
    outcomes: dict[tuple[str, str], list[Outcome]] = {}
    for (coupling, attention, seed, *_), outcome in each(run, jobs, arguments.processes):
        outcomes.setdefault((coupling, attention), []).append(outcome)
        print(f"{coupling}, {attention}, seed {seed}: {outcome.test_bpd:.3f}", flush=True)
    module = LongRangeDataModule()
    spent = f"{arguments.seconds:g} s each" if timed else f"{arguments.steps} steps"
    title = (
        f"Bits/dim above the entropy ({module.entropy:.3f}): {spent}, mean of "
        f"{arguments.seeds} seeds"
    )
    save("longrange_seconds" if timed else "longrange", outcomes, module.entropy, title)


def save(
    name: str, outcomes: dict[tuple[str, str], list[Outcome]], entropy: float, title: str
) -> None:
    """Print the table; write it as Markdown, and the gaps as a bar chart."""
    means = {key: statistics.mean(o.test_bpd for o in runs) for key, runs in outcomes.items()}
    rows = []
    for (coupling, attention), runs in outcomes.items():
        mean, none = means[coupling, attention], means.get((coupling, "none"), float("nan"))
        tests = [o.test_bpd for o in runs]
        rows.append(
            [
                coupling,
                attention,
                f"{mean:.3f}",
                f"{standard_error(tests):.3f}",
                f"{mean - entropy:.3f}",
                f"{100 * (none - mean) / (none - entropy):.0f}%",
                f"{statistics.mean(o.steps for o in runs):.0f}",
                f"{runs[0].params:,}",
            ]
        )
    save_table(name, title, COLUMNS, rows)
    draw(name, {key: mean - entropy for key, mean in means.items()}, title)


def draw(name: str, gaps: dict[tuple[str, str], float], title: str) -> None:
    """Bars of bits/dim above the entropy, by (coupling, attention), as PNG."""
    figure, axes = plt.subplots(figsize=(8, 0.3 * len(gaps) + 1.2), layout="constrained")
    couplings = list(dict.fromkeys(coupling for coupling, _ in gaps))
    colours = [f"C{couplings.index(coupling)}" for coupling, _ in gaps]
    labels = [f"{attention} ({coupling})" for coupling, attention in gaps]
    bars = axes.barh(labels, list(gaps.values()), color=colours)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.margins(x=0.1)
    axes.invert_yaxis()
    axes.set(xlabel="bits/dim above the entropy", title=title)
    figure.savefig(RESULTS / f"{name}.png", dpi=110)


if __name__ == "__main__":
    main()
