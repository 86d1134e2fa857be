"""What attention adds to bits/dim in each kind of flow, also where it adds nothing.

    python benchmarks/attention.py --data photos --steps 400 --seeds 3 --processes 2
    python benchmarks/attention.py --data photos natural16 longrange --seconds 240

Glow, Jet and TarFlow without attention, with iMap, with iTrans and with linear iTrans: the same
seeds, batches and noise, equal steps (with --seconds: equal CPU seconds of one thread), and the
best weights by validation. The difference to the flow without attention is taken seed by seed.
Writes a table for each data set to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import statistics
from itertools import product

import torch
from loop import Outcome, train_for
from pool import each
from recipes import DATA, FLOWS, load_data, make_ours, our_bits
from tables import save_table, standard_error

ATTENTIONS = ("none", "imap", "itrans", "itrans_linear")
COLUMNS = (
    "flow",
    "attention",
    "test bpd",
    "std err",
    "less than none",
    "std err",
    "steps",
    "params",
)
# Data, flow, attention, seed; steps or None, CPU seconds.
Job = tuple[str, str, str, int, int | None, float]
Outcomes = dict[tuple[str, str], list[Outcome]]


def run(job: Job) -> Outcome:
    """Train one flow on one thread."""
    name, flow, attention, seed, steps, seconds = job
    torch.set_num_threads(1)
    data = load_data(name)
    torch.manual_seed(seed)
    model, recipe = make_ours([*FLOWS[flow][name], f"attention={attention}"], data)
    return train_for(seconds, model, our_bits, data, recipe, seed, max_steps=steps, validations=8)


def rows_of(outcomes: Outcomes) -> list[list[str]]:
    """One row for each flow and attention."""
    rows = []
    for (flow, attention), runs in outcomes.items():
        tests = [outcome.test_bpd for outcome in runs]
        pairs = zip(outcomes[flow, ATTENTIONS[0]], runs, strict=True)
        gains = [none.test_bpd - other.test_bpd for none, other in pairs]
        rows.append(
            [
                flow,
                attention,
                f"{statistics.mean(tests):.4f}",
                f"{standard_error(tests):.4f}",
                f"{statistics.mean(gains):+.4f}",
                f"{standard_error(gains):.4f}",
                f"{statistics.mean(outcome.steps for outcome in runs):,.0f}",
                f"{runs[0].params:,}",
            ]
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    default = ["photos", "natural16", "longrange"]
    parser.add_argument("--data", nargs="+", default=default, choices=DATA)
    parser.add_argument("--flows", nargs="+", default=list(FLOWS), choices=FLOWS)
    parser.add_argument("--steps", type=int, default=400, help="training steps of each flow")
    parser.add_argument("--seconds", type=float, help="CPU seconds each, in place of steps")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=1, help="trainings at a time")
    arguments = parser.parse_args()
    for name in ("steps", "seeds", "processes"):
        if getattr(arguments, name) < 1:
            parser.error(f"{name}: expected 1 or more, got {getattr(arguments, name)}")
    timed = arguments.seconds is not None
    if timed and arguments.seconds <= 0:
        parser.error(f"seconds: expected a number above 0, got {arguments.seconds}")
    budget = (None, arguments.seconds) if timed else (arguments.steps, 0.0)
    spent = f"{arguments.seconds:g} CPU seconds" if timed else f"{arguments.steps} steps"
    for data in arguments.data:
        outcomes: Outcomes = {}
        runs = product(range(arguments.seeds), arguments.flows, ATTENTIONS)
        jobs = [(data, flow, attention, seed, *budget) for seed, flow, attention in runs]
        for (_, flow, attention, seed, *_), outcome in each(run, jobs, arguments.processes):
            outcomes.setdefault((flow, attention), []).append(outcome)
            bpd = outcome.test_bpd
            print(f"{data}, {flow}, {attention}, seed {seed}: {bpd:.4f}", flush=True)
        title = f"{data}: bits/dim after {spent}, mean of {arguments.seeds} seeds"
        file = f"attention_{data}_seconds" if timed else f"attention_{data}"
        save_table(file, title, COLUMNS, rows_of(outcomes))


if __name__ == "__main__":
    main()
