"""What attention adds to bits/dim at equal training steps, also where it adds nothing.

    python benchmarks/attention.py --data digits photos --steps 400 --seeds 3 --processes 2

The recipes of conf/experiment with none, imap and itrans: the same seeds, steps, batches and
noise, and the best weights by validation. The difference to the flow without attention is
taken seed by seed. Writes a table to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import statistics

import torch
from density import make_ours, our_bits, recipe_config
from hydra.utils import instantiate
from loop import Data, Outcome, train_for
from pool import each
from tables import save_table, standard_error

from attnflow.data.augmentation import Augmented
from attnflow.data.base import SPLITS

DATA = ("digits", "photos")
ATTENTIONS = ("none", "imap", "itrans")
COLUMNS = ("data", "attention", "test bpd", "std err", "less than none", "std err", "params")
Job = tuple[str, str, int, int]


def run(job: Job) -> Outcome:
    """Train one recipe on one thread: (data, attention, seed, steps)."""
    name, attention, seed, steps = job
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    module = instantiate(recipe_config(name, attention).data)
    images = {split: module.dataset(split).fields["image"] for split in SPLITS}
    augmented = Augmented(module.dataset("train"), module.augment) if module.augment else None
    data = Data(**images, num_bins=module.spec.num_bins, augmented=augmented)
    model, recipe = make_ours((name, attention), data, module.spec)
    return train_for(0, model, our_bits, data, recipe, seed, max_steps=steps, validations=8)


def rows_of(outcomes: dict[tuple[str, str], list[Outcome]]) -> list[list[str]]:
    """One row for each data set and attention."""
    rows = []
    for (name, attention), runs in outcomes.items():
        tests = [outcome.test_bpd for outcome in runs]
        pairs = zip(outcomes[name, "none"], runs, strict=True)
        gains = [none.test_bpd - other.test_bpd for none, other in pairs]
        rows.append(
            [
                name,
                attention,
                f"{statistics.mean(tests):.4f}",
                f"{standard_error(tests):.4f}",
                f"{statistics.mean(gains):+.4f}",
                f"{standard_error(gains):.4f}",
                f"{runs[0].params:,}",
            ]
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", default=DATA, choices=DATA)
    parser.add_argument("--steps", type=int, default=400, help="training steps of each flow")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=1, help="trainings at a time")
    arguments = parser.parse_args()
    for name in ("steps", "seeds", "processes"):
        if getattr(arguments, name) < 1:
            parser.error(f"{name}: expected 1 or more, got {getattr(arguments, name)}")
    jobs = [
        (name, attention, seed, arguments.steps)
        for name in arguments.data
        for seed in range(arguments.seeds)
        for attention in ATTENTIONS
    ]
    outcomes: dict[tuple[str, str], list[Outcome]] = {}
    for (name, attention, seed, _), outcome in each(run, jobs, arguments.processes):
        outcomes.setdefault((name, attention), []).append(outcome)
        print(f"{name}, {attention}, seed {seed}: {outcome.test_bpd:.4f}", flush=True)
    title = f"Bits/dim after {arguments.steps} steps, mean of {arguments.seeds} seeds"
    save_table(f"attention_{'_'.join(arguments.data)}", title, COLUMNS, rows_of(outcomes))


if __name__ == "__main__":
    main()
