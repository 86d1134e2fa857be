"""How much of a long-range dependence each flow and attention finds, against the exact entropy.

    python benchmarks/longrange.py --seconds 240 --seeds 1 --processes 2
    python benchmarks/longrange.py --steps 1000 --offsets 4,8 --flows mixlogcdf

Images of 16 x 16 pixels whose right half repeats what stands so many rows above and columns to the
left, with a tenth of the pixels replaced: the entropy is known, and the copy lies beyond what a
convolution of a few layers sees. Each flow and attention is the same at every offset. The gap is
that between independent pixels, which a model of single pixels reaches, and the entropy. Equal
CPU seconds of one thread, or with --steps equal steps. Writes tables and a plot to
benchmarks/results/.
"""

from __future__ import annotations

import argparse
import math
import statistics
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import torch
from loop import Outcome, train_for
from pool import each
from recipes import FLOWS as RECIPES
from recipes import load_data, make_ours, our_bits
from tables import RESULTS, save_tables, standard_error

from attnflow.data import LongRangeDataModule

Offset = tuple[int, int]
OFFSETS = ("0,8", "4,8", "3,8", "7,5")
GLOW, JET, TARFLOW = (RECIPES[name]["longrange"] for name in ("glow", "jet", "tarflow"))
FLOWS = {
    "affine": [*GLOW, "coupling=affine"],
    "mixlogcdf": GLOW,
    # As many parameters as the largest attention brings.
    "mixlogcdf, wide": [*GLOW, "coupling_net.hidden_channels=60"],
    "jet": JET,
    "tarflow": TARFLOW,
    "tarflow, patch 2": [*TARFLOW, "model.patch_size=2"],
}
ATTENTIONS = {
    "none": ["attention=none"],
    "imap": ["attention=imap"],
    "imap, global": ["attention=imap_global"],
    "itrans": ["attention=itrans"],
    "itrans, positive": ["attention=itrans", "attention.signed=false"],
    "itrans_reading": ["attention=itrans_reading"],
    "itrans_causal": ["attention=itrans_causal"],
    "itrans_linear": ["attention=itrans_linear"],
    # A slot for each of the tokens that a group of 32 can read.
    "itrans_linear, rank 32": ["attention=itrans_linear", "attention.rank=32"],
}
COLUMNS = (
    "offset",
    "flow",
    "attention",
    "test bpd",
    "std err",
    "above entropy",
    "gap closed",
    "steps",
    "params",
)
# Offset, flow, attention, seed; steps or None, CPU seconds.
Job = tuple[Offset, str, str, int, int | None, float]
Outcomes = dict[tuple[Offset, str, str], list[Outcome]]


def run(job: Job) -> Outcome:
    """Train one flow on one thread."""
    offset, flow, attention, seed, steps, seconds = job
    torch.set_num_threads(1)
    data = load_data("longrange", [f"data.offset={list(offset)}"])
    torch.manual_seed(seed)
    model, recipe = make_ours([*FLOWS[flow], *ATTENTIONS[attention]], data)
    return train_for(seconds, model, our_bits, data, recipe, seed, max_steps=steps, validations=5)


def gap_closed(bpd: float, module: LongRangeDataModule) -> float:
    """Which share of the way from independent pixels to the entropy a model has gone."""
    independent = math.log2(module.num_levels)
    return (independent - bpd) / (independent - module.entropy)


def summary(outcomes: Outcomes, module: LongRangeDataModule) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the gap closed at every offset, and at the hardest of them."""
    offsets = list(dict.fromkeys(offset for offset, *_ in outcomes))
    rows = []
    for model in dict.fromkeys((flow, attention) for _, flow, attention in outcomes):
        closed = [
            gap_closed(statistics.mean(o.test_bpd for o in outcomes[(offset, *model)]), module)
            for offset in offsets
        ]
        rows.append([*model, *(f"{share:.0%}" for share in closed), f"{min(closed):.0%}"])
    return ["flow", "attention", *map(str, offsets), "least"], rows


def rows_of(outcomes: Outcomes, module: LongRangeDataModule) -> list[list[str]]:
    """One row for each offset, flow and attention."""
    rows = []
    for (offset, flow, attention), runs in outcomes.items():
        tests = [outcome.test_bpd for outcome in runs]
        mean = statistics.mean(tests)
        rows.append(
            [
                str(offset),
                flow,
                attention,
                f"{mean:.3f}",
                f"{standard_error(tests):.3f}",
                f"{mean - module.entropy:.3f}",
                f"{gap_closed(mean, module):.0%}",
                f"{statistics.mean(outcome.steps for outcome in runs):,.0f}",
                f"{runs[0].params:,}",
            ]
        )
    return rows


def draw(file: str, outcomes: Outcomes, module: LongRangeDataModule, title: str) -> None:
    """Bars of the gap closed, a group for each flow and attention, as PNG."""
    offsets = list(dict.fromkeys(offset for offset, *_ in outcomes))
    models = list(dict.fromkeys((flow, attention) for _, flow, attention in outcomes))
    figure, axes = plt.subplots(figsize=(8, 0.7 * len(models) + 1.5), layout="constrained")
    height = 0.8 / len(offsets)
    for number, offset in enumerate(offsets):
        runs = [outcomes[(offset, *model)] for model in models]
        means = [statistics.mean(o.test_bpd for o in each_run) for each_run in runs]
        closed = [100 * gap_closed(mean, module) for mean in means]
        places = np.arange(len(models)) + (number + 0.5) * height - 0.4
        axes.barh(places, closed, height, label=f"offset {offset}")
    axes.set_yticks(range(len(models)), [f"{flow}, {attention}" for flow, attention in models])
    axes.invert_yaxis()
    axes.set(xlabel="gap closed (%)", title=title)
    axes.legend()
    figure.savefig(RESULTS / f"{file}.png", dpi=110)
    plt.close(figure)


def as_offset(text: str) -> Offset:
    """Rows and columns of an offset, ``ROWS,COLUMNS``, which the data set admits."""
    try:
        rows, columns = map(int, text.split(","))
        LongRangeDataModule(offset=(rows, columns))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected ROWS,COLUMNS, got {text} ({error})") from error
    return rows, columns


def parsed() -> argparse.Namespace:
    """The arguments; it ends the program where there is nothing to measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=240, help="CPU seconds of training each")
    parser.add_argument("--steps", type=int, help="training steps of each, in place of seconds")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1, help="trainings at a time")
    offsets = [as_offset(text) for text in OFFSETS]
    parser.add_argument(
        "--offsets", nargs="+", type=as_offset, default=offsets, help="ROWS,COLUMNS"
    )
    flows = ["mixlogcdf", "jet", "tarflow"]
    parser.add_argument("--flows", nargs="+", default=flows, choices=FLOWS)
    attentions = ["none", "imap", "itrans", "itrans_linear", "itrans_reading"]
    parser.add_argument("--attentions", nargs="+", default=attentions, choices=ATTENTIONS)
    arguments = parser.parse_args()
    for name in ("steps", "seeds", "processes"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            parser.error(f"{name}: expected 1 or more, got {value}")
    if arguments.seconds <= 0:
        parser.error(f"seconds: expected a number above 0, got {arguments.seconds}")
    return arguments


def main() -> None:
    arguments = parsed()
    timed = arguments.steps is None
    budget = (None, arguments.seconds) if timed else (arguments.steps, 0.0)
    runs = product(range(arguments.seeds), arguments.offsets, arguments.flows, arguments.attentions)
    jobs = [(offset, flow, attention, seed, *budget) for seed, offset, flow, attention in runs]
    module = LongRangeDataModule()  # all offsets leave the entropy the same
    outcomes: Outcomes = {}
    for (offset, flow, attention, seed, *_), outcome in each(run, jobs, arguments.processes):
        outcomes.setdefault((offset, flow, attention), []).append(outcome)
        closed = f"{gap_closed(outcome.test_bpd, module):.0%} of the gap"
        print(f"{offset}, {flow}, {attention}, seed {seed}: {closed}", flush=True)
    spent = f"{arguments.seconds:g} CPU seconds each" if timed else f"{arguments.steps} steps"
    title = f"Gap closed between independent pixels and the entropy: {spent}"
    detail = (
        f"Bits/dim, of an entropy of {module.entropy:.3f}: {spent}, mean of {arguments.seeds} seeds"
    )
    file = "longrange_seconds" if timed else "longrange"
    save_tables(
        file,
        [
            (title, *summary(outcomes, module)),
            (detail, COLUMNS, rows_of(outcomes, module)),
        ],
    )
    draw(file, outcomes, module, title)


if __name__ == "__main__":
    main()
