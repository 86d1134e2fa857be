"""Bits/dim on the digits at equal wall clock: attnflow against what installs from PyPI.

    python benchmarks/density.py --budget 60 --seeds 3

Every model gets the same split, the same uniform dequantization noise, the same seconds of
training on one thread, AdamW with a warm-up and a cosine over these seconds, averaged
weights, and early stopping by validation. Writes a table and a plot to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from hydra import compose, initialize_config_dir
from loop import Data, Outcome, Recipe, dequantized, train_for
from omegaconf import DictConfig, OmegaConf
from peers import PEERS
from tables import RESULTS, save_table, standard_error
from torch import Tensor, nn

from attnflow.data import DigitsDataModule
from attnflow.models.bits import bits_per_dim
from attnflow.models.build import build_model
from attnflow.utils.noise import sample_keys, uniform_noise

ROOT = Path(__file__).parents[1]
# The recipe of the digits with each attention, by the names of the table's rows.
OURS = {f"digits, {attention}": ("digits", attention) for attention in ("none", "imap", "itrans")}
COLUMNS = ("model", "test bpd", "std err", "val bpd", "params", "images/s", "sample 64 (ms)")


def our_bits(model: nn.Module, images: Tensor, rows: Tensor, epoch: int) -> Tensor:
    """Bits/dim of an attnflow model."""
    noise = uniform_noise(sample_keys(0, epoch, rows), tuple(images.shape[1:]))
    return model({"image": images}, noise)


def peer_bits(num_bins: int) -> Callable[[nn.Module, Tensor, Tensor, int], Tensor]:
    """Bits/dim of a peer, from its log-density of images in [0, 1)."""

    def bits(model: nn.Module, images: Tensor, rows: Tensor, epoch: int) -> Tensor:
        y = dequantized(images, rows, epoch, num_bins)
        return bits_per_dim(model.log_prob(y), images.shape[1:], num_bins)

    return bits


def recipe_config(experiment: str, attention: str) -> DictConfig:
    """The composed config of a recipe of conf/experiment with an attention."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", [f"experiment={experiment}", f"attention={attention}"])


def make_ours(names: tuple[str, str], data: Data, spec: object) -> tuple[nn.Module, Recipe]:
    """A recipe of conf/experiment with an attention: its model, initialised, and its training."""
    config = recipe_config(*names)
    parts = {
        key: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        for key in config
        if key not in ("paths", "hydra", "callbacks", "logger", "trainer", "data")
        for value in [config[key]]
    }
    model = build_model(parts, spec)
    images = data.train[:512]
    noise = uniform_noise(sample_keys(0, -1, torch.arange(len(images))), tuple(images.shape[1:]))
    model.initialize({"image": images}, noise)
    recipe = Recipe(
        learning_rate=config.optimizer.lr,
        weight_decay=config.optimizer.get("weight_decay", 0.0),
        batch_size=config.data.global_batch_size,
        ema_decay=config.callbacks.ema.decay,
        warmup_steps=config.scheduler.warmup_steps or Recipe.warmup_steps,
    )
    return model, recipe


def make_peer(name: str, data: Data) -> tuple[nn.Module, Recipe]:
    """A peer at the learning rate that its own validation prefers."""
    make, learning_rate = PEERS[name]
    rows = torch.arange(len(data.train))
    model = make(dequantized(data.train, rows, 0, data.num_bins))
    return model, Recipe(learning_rate=learning_rate)


@torch.no_grad()
def milliseconds_to_sample(model: nn.Module, n: int = 64, repeats: int = 3) -> float:
    """The median time of drawing n images."""
    model.eval()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        model.sample(n)
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def run(names: list[str], budget: float, seeds: int) -> dict[str, list[tuple[Outcome, float]]]:
    """Train every model with every seed, one after another, seeds outermost."""
    module = DigitsDataModule()
    images = {split: module.dataset(split).fields["image"] for split in ("train", "val", "test")}
    spec = module.spec
    data = Data(**images, num_bins=spec.num_bins)
    outcomes: dict[str, list[tuple[Outcome, float]]] = {name: [] for name in names}
    for seed in range(seeds):
        for name in names:
            torch.manual_seed(seed)
            peer = name in PEERS
            model, recipe = make_peer(name, data) if peer else make_ours(OURS[name], data, spec)
            bits = peer_bits(data.num_bins) if peer else our_bits
            outcome = train_for(budget, model, bits, data, recipe, seed)
            outcomes[name].append((outcome, milliseconds_to_sample(model)))
            print(f"{name}, seed {seed}: test {outcome.test_bpd:.4f} bits/dim", flush=True)
    return outcomes


def rows_of(outcomes: dict[str, list[tuple[Outcome, float]]]) -> list[list[str]]:
    """One row a model, the best first."""
    rows = []
    for name, runs in outcomes.items():
        tests = [outcome.test_bpd for outcome, _ in runs]
        rows.append(
            [
                name,
                f"{statistics.mean(tests):.3f}",
                f"{standard_error(tests):.3f}",
                f"{statistics.mean(o.val_bpd for o, _ in runs):.3f}",
                f"{runs[0][0].params:,}",
                f"{statistics.median(o.images_per_second for o, _ in runs):.0f}",
                f"{statistics.median(ms for _, ms in runs):.0f}",
            ]
        )
    return sorted(rows, key=lambda row: float(row[1]))


def save(outcomes: dict[str, list[tuple[Outcome, float]]], title: str) -> None:
    """Print the table; write it as Markdown, and the curves as PNG."""
    rows = rows_of(outcomes)
    save_table("density", title, COLUMNS, rows)
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for name, *_ in rows:
        curve = outcomes[name][0][0].curve
        axes.plot(*zip(*curve, strict=True), label=name, linewidth=1.5)
    lowest = min(value for name, *_ in rows for _, value in outcomes[name][0][0].curve)
    axes.set(xlabel="seconds of training (seed 0)", ylabel="validation bits/dim", title=title)
    axes.set_ylim(lowest - 0.05, lowest + 1.0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(RESULTS / "density.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--budget", type=float, default=60, help="seconds of training each")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=[*OURS, *PEERS])
    arguments = parser.parse_args()
    if arguments.budget <= 0 or arguments.seeds < 1:
        parser.error(
            "expected a budget above 0 and 1 seed or more, got "
            f"{arguments.budget} and {arguments.seeds}"
        )
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")  # the peers' own deprecations
    title = (
        f"Digits, {arguments.budget:g} s of training each, one thread, mean of "
        f"{arguments.seeds} seeds"
    )
    save(run(arguments.models, arguments.budget, arguments.seeds), title)


if __name__ == "__main__":
    main()
