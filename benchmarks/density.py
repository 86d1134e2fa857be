"""Bits/dim at equal CPU seconds: the flows of this framework against what installs from PyPI.

    python benchmarks/density.py --data digits --budget 60 --seeds 3
    python benchmarks/density.py --data natural16 --budget 240 \
        --recipe "tarflow, 8 blocks" model=tarflow model.blocks=8 attention=none

Every model gets the same images, augmentation and uniform dequantization noise, the same CPU
seconds of training on one thread (a process's own, so that other work does not count; nor do
set-up, reading and evaluation), AdamW with a warm-up and a cosine over these seconds, averaged
weights, and early stopping by validation. Beside the bits/dim stands what log_prob and sampling
cost. With --rates and --batch-sizes each peer is first trained once with each pair of these, and
keeps the one with the lowest validation bits/dim. Writes a table and a plot to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import matplotlib.pyplot as plt
import torch
from loop import BitsPerDim, Data, Outcome, Recipe, dequantized, train_for
from peers import PEERS
from pool import each
from recipes import DATA, FLOWS, load_data, make_ours, our_bits
from tables import RESULTS, save_table, standard_error
from torch import Tensor, nn

from attnflow.models.bits import bits_per_dim

# The attentions that stand in a flow's row of the table by default.
ATTENTIONS = ("none", "itrans")
IMAGES = 64  # that log_prob and sampling are timed on
COLUMNS = (
    "model",
    "test bpd",
    "std err",
    "val bpd",
    "params",
    "steps",
    "images/s",
    f"log_prob of {IMAGES} (ms)",
    f"sample of {IMAGES} (ms)",
)


@dataclass(frozen=True)
class Job:
    """One training: a peer, or a model of ours.

    Attributes:
        name: of the table's row.
        data: of :data:`~recipes.DATA`.
        options: of train.py; None for a peer.
        budget: CPU seconds.
        validations: how often the weights are looked at.
        learning_rate, batch_size: of a peer, in place of its own.
    """

    name: str
    data: str
    options: tuple[str, ...] | None
    seed: int
    budget: float
    validations: int
    learning_rate: float | None = None
    batch_size: int | None = None


@dataclass(frozen=True)
class Result:
    """Of a training, with the CPU milliseconds of a call on :data:`IMAGES` images."""

    outcome: Outcome
    log_prob_ms: float
    sample_ms: float


def our_rows(data: str) -> dict[str, tuple[str, ...]]:
    """Each kind of flow with each attention, and its options."""
    return {
        f"{flow}, {attention}": (*options[data], f"attention={attention}")
        for flow, options in FLOWS.items()
        for attention in ATTENTIONS
    }


def peer_bits(num_bins: int) -> BitsPerDim:
    """Bits/dim of a peer, from its log-density of images in [0, 1)."""

    def bits(model: nn.Module, images: Tensor, rows: Tensor, epoch: int) -> Tensor:
        y = dequantized(images, rows, epoch, num_bins)
        return bits_per_dim(model.log_prob(y), images.shape[1:], num_bins)

    return bits


def make_peer(job: Job, data: Data) -> tuple[nn.Module, Recipe]:
    """A job's peer, and how it is trained."""
    rows, peer = torch.arange(len(data.train)), PEERS[job.name]
    model = peer.make(dequantized(data.train, rows, 0, data.spec.num_bins))
    rate, size = job.learning_rate or peer.learning_rate, job.batch_size or peer.batch_size
    return model, Recipe(learning_rate=rate, batch_size=size)


@torch.no_grad()
def milliseconds(call: Callable[[], object]) -> float:
    """The median CPU time of three calls; of fewer, where they take longer than 10 s."""
    times: list[float] = []
    while len(times) < 3 and sum(times) < 1e4:
        started = time.process_time()
        call()
        times.append(1000 * (time.process_time() - started))
    return statistics.median(times)


def run(job: Job) -> Result:
    """Train one model on one thread."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")  # the peers' own deprecations
    data = load_data(job.data)
    torch.manual_seed(job.seed)
    if job.options is None:
        bits = peer_bits(data.spec.num_bins)
        model, recipe = make_peer(job, data)
    else:
        bits = our_bits
        model, recipe = make_ours(job.options, data)
    outcome = train_for(
        job.budget, model, bits, data, recipe, job.seed, validations=job.validations
    )
    model.eval()
    images, rows = data.test[:IMAGES], torch.arange(len(data.test))[:IMAGES]
    return Result(
        outcome,
        log_prob_ms=milliseconds(lambda: bits(model, images, rows, -1)),
        sample_ms=milliseconds(lambda: model.sample(IMAGES)),
    )


def preferred(
    jobs: Sequence[Job],
    rates: Sequence[float | None],
    batch_sizes: Sequence[int | None],
    processes: int,
) -> list[Job]:
    """The jobs, of which peers have what validation prefers at the first seed."""
    tried = [
        replace(job, learning_rate=rate, batch_size=size)
        for job in jobs
        if job.options is None and job.seed == 0
        for rate, size in product(rates, batch_sizes)
    ]
    best: dict[str, tuple[float, Job]] = {}
    for job, result in each(run, tried, processes):
        bpd = result.outcome.val_bpd
        own = {"rate": job.learning_rate, "batch": job.batch_size}
        at = ", ".join(f"{name} {value}" for name, value in own.items() if value is not None)
        print(f"{job.name} at {at}: val {bpd:.4f}", flush=True)
        if job.name not in best or bpd < best[job.name][0]:
            best[job.name] = bpd, job
    return [replace(best[job.name][1], seed=job.seed) if job.name in best else job for job in jobs]


def rows_of(results: dict[str, list[Result]]) -> list[list[str]]:
    """One row a model, the best first."""
    means = {
        name: statistics.mean(r.outcome.test_bpd for r in runs) for name, runs in results.items()
    }
    rows = []
    for name in sorted(means, key=means.__getitem__):
        runs = results[name]
        outcomes = [result.outcome for result in runs]
        rows.append(
            [
                name,
                f"{means[name]:.3f}",
                f"{standard_error([o.test_bpd for o in outcomes]):.3f}",
                f"{statistics.mean(o.val_bpd for o in outcomes):.3f}",
                f"{outcomes[0].params:,}",
                f"{statistics.mean(o.steps for o in outcomes):,.0f}",
                f"{statistics.median(o.images_per_second for o in outcomes):,.0f}",
                f"{statistics.median(result.log_prob_ms for result in runs):,.0f}",
                f"{statistics.median(result.sample_ms for result in runs):,.0f}",
            ]
        )
    return rows


def draw(file: str, curves: dict[str, list[tuple[float, float]]], title: str) -> None:
    """Validation bits/dim against CPU seconds, as PNG."""
    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    for number, (name, curve) in enumerate(curves.items()):
        style = ("-", "--", ":")[number // 10 % 3]
        axes.plot(*zip(*curve, strict=True), style, label=name, linewidth=1.5)
    lowest = min(value for curve in curves.values() for _, value in curve)
    axes.set(xlabel="CPU seconds of training (seed 0)", ylabel="validation bits/dim", title=title)
    axes.set_ylim(lowest - 0.05, lowest + 1.5)
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    figure.savefig(RESULTS / f"{file}.png", dpi=110)
    plt.close(figure)


def compare(
    data: str, models: dict[str, tuple[str, ...] | None], arguments: argparse.Namespace
) -> None:
    """Train all models of one data set, seeds outermost; print and write what comes of it."""
    jobs = [
        Job(name, data, options, seed, arguments.budget, arguments.validations)
        for seed in range(arguments.seeds)
        for name, options in models.items()
    ]
    if arguments.rates or arguments.batch_sizes:
        tried = arguments.rates or [None], arguments.batch_sizes or [None]
        jobs = preferred(jobs, *tried, arguments.processes)
    results: dict[str, list[Result]] = {}
    for job, result in each(run, jobs, arguments.processes):
        results.setdefault(job.name, []).append(result)
        bpd = result.outcome.test_bpd
        print(f"{data}, {job.name}, seed {job.seed}: test {bpd:.4f} bits/dim", flush=True)
    title = (
        f"{data}: {arguments.budget:g} CPU seconds of training each, one thread, mean of "
        f"{arguments.seeds} seeds"
    )
    file = f"density_{data}_{arguments.budget:g}"
    rows = rows_of(results)
    save_table(file, title, COLUMNS, rows)
    draw(file, {name: results[name][0].outcome.curve for name, *_ in rows}, title)


def chosen(data: str, arguments: argparse.Namespace) -> dict[str, tuple[str, ...] | None]:
    """The models of one data set by name, with the options of ours; those that are installed."""
    known: dict[str, tuple[str, ...] | None] = {**our_rows(data), **dict.fromkeys(PEERS)}
    models = {name: known[name] for name in arguments.models}
    models |= {name: tuple(options) for name, *options in arguments.recipe}
    missing = [n for n, options in models.items() if options is None and not PEERS[n].is_installed]
    for name in missing:
        print(f"{name} is left out: {PEERS[name].package} is not installed", flush=True)
    return {name: options for name, options in models.items() if name not in missing}


def main() -> None:
    names = [*our_rows("digits"), *PEERS]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", default=["digits"], choices=DATA)
    parser.add_argument("--budget", type=float, default=60, help="CPU seconds of training each")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--validations", type=int, default=30, help="of each training")
    parser.add_argument("--models", nargs="*", default=names, choices=names)
    parser.add_argument(
        "--recipe",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "OPTION"),
        help="one more model of ours: its name, and options of train.py",
    )
    parser.add_argument("--rates", type=float, nargs="+", help="to choose a peer's own from")
    parser.add_argument("--batch-sizes", type=int, nargs="+", help="to choose a peer's own from")
    parser.add_argument("--processes", type=int, default=1, help="trainings at a time")
    arguments = parser.parse_args()
    if arguments.budget <= 0:
        parser.error(f"budget: expected a number above 0, got {arguments.budget}")
    for name in ("seeds", "validations", "processes"):
        if getattr(arguments, name) < 1:
            parser.error(f"{name}: expected 1 or more, got {getattr(arguments, name)}")
    for data in arguments.data:
        compare(data, chosen(data, arguments), arguments)


if __name__ == "__main__":
    main()
