"""What the recipes cost: a training step and where its time goes, log_prob, samples and memory.

    python benchmarks/recipe_speed.py --repeats 9
    git worktree add ../baseline b303d23
    python benchmarks/recipe_speed.py --baseline ../baseline --ranks

- For each recipe the step of a training (forward, backward, clipping, optimizer); the share of it
  that its nets take by themselves, on the same inputs, with their own optimizer; with --compiled
  the same step under torch.compile, whose graphs take minutes to make; images a second of training,
  log_prob and sampling; and on a GPU the peak memory, and the step with nets in bfloat16.
- With --baseline, the steps of another checkout, that take turns with this one's.
- With --ranks, the step of two CPU processes that share a batch against that of one.

Medians of interleaved repeats; a ratio is the median of the ratios within each repeat. One CPU
thread, or a GPU by CUDA events. Images are made up, so that nothing has to be fetched. Writes
tables to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from ranks import COLUMNS as COLUMNS_OF_RANKS
from ranks import timed_over_ranks
from recipes import ROOT
from stepper import RECIPES, Stepper
from tables import Contents, save_tables
from timing import Times, interleaved, ratio
from workload import IMAGES, Workload

from attnflow.flows.compilation import compile_flow

STEP, NETS, COMPILED, BFLOAT16 = "step", "nets", "compiled", "bfloat16"
LOG_PROB, SAMPLE = "log_prob", "sample"
COLUMNS = (
    "recipe",
    "batch",
    "step ms",
    "nets / step",
    "compiled / step",
    "bf16 / step",
    "images/s",
    f"log_prob of {IMAGES} (ms)",
    f"sample of {IMAGES} (ms)",
    "peak MB",
)


def measured(name: str, arguments: argparse.Namespace) -> list[str]:
    """A recipe's row of the table."""
    device = arguments.device
    work = Workload(RECIPES[name], device)
    runs: dict[str, Callable[[], object]] = {STEP: work.step(), NETS: work.nets_step()}
    if device.type == "cuda":
        runs[BFLOAT16] = work.step(torch.bfloat16)
    if arguments.compiled:
        other = Workload(RECIPES[name], device)
        compile_flow(other.model.flow)
        runs[COMPILED] = other.step()
    peak = peak_megabytes(runs[STEP], device)
    times = interleaved(runs, arguments.repeats, device)
    times |= interleaved(
        {LOG_PROB: work.log_prob, SAMPLE: work.sample}, max(1, arguments.repeats // 3), device, 1
    )
    milliseconds = {run: statistics.median(each) for run, each in times.items()}
    batch = work.recipe.batch_size
    return [
        name,
        str(batch),
        f"{milliseconds[STEP]:.1f}",
        *(relative(times, run) for run in (NETS, COMPILED, BFLOAT16)),
        f"{1000 * batch / milliseconds[STEP]:,.0f}",
        f"{milliseconds[LOG_PROB]:,.0f}",
        f"{milliseconds[SAMPLE]:,.0f}",
        peak,
    ]


def relative(times: Times, run: str) -> str:
    """A run's time over the step's; nothing where it did not run."""
    return f"{ratio(times, run, STEP):.3f}" if run in times else ""


def peak_megabytes(step: Callable[[], object], device: torch.device) -> str:
    """The most that a GPU holds in a step; nothing on a CPU, whose processes share their memory."""
    if device.type != "cuda":
        return ""
    step()
    torch.cuda.reset_peak_memory_stats()
    step()
    return f"{torch.cuda.max_memory_allocated() / 1e6:,.0f}"


def against(baseline: Path, recipes: list[str], repeats: int) -> list[list[str]]:
    """A row for each recipe: steps of this checkout and of another, which take turns."""
    rows = []
    for name in recipes:
        try:
            with Stepper(ROOT, name) as ours, Stepper(baseline, name) as theirs:
                pairs = [(ours.step(), theirs.step()) for _ in range(repeats)]
        except RuntimeError as error:
            print(f"{name} is left out: {error}", flush=True)
            continue
        now, before = (statistics.median(each) for each in zip(*pairs, strict=True))
        quotient = statistics.median(a / b for a, b in pairs)
        rows.append([name, f"{now:.1f}", f"{before:.1f}", f"{quotient:.3f}"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipes", nargs="*", default=list(RECIPES), choices=RECIPES)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--compiled", action="store_true", help="also under torch.compile")
    parser.add_argument("--baseline", type=Path, help="a checkout whose steps take turns with ours")
    parser.add_argument("--ranks", action="store_true", help="also two CPU processes against one")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error(f"repeats: expected 1 or more, got {arguments.repeats}")
    if arguments.baseline is not None and not (arguments.baseline / "src").is_dir():
        parser.error(f"baseline: expected a checkout, with a folder src, got {arguments.baseline}")
    arguments.device = torch.device(arguments.device)
    torch.set_num_threads(1)
    save_tables("recipe_speed", tables_of(arguments))


def tables_of(arguments: argparse.Namespace) -> list[Contents]:
    """What was asked for, measured."""
    on_gpu = arguments.device.type == "cuda"
    place = torch.cuda.get_device_name() if on_gpu else "one CPU thread"
    rows = [measured(name, arguments) for name in arguments.recipes]
    tables: list[Contents] = [(f"Recipes, {place}", COLUMNS, rows)]
    if arguments.baseline is not None:
        columns = ("recipe", "step ms", "baseline ms", "step / baseline")
        compared = against(arguments.baseline, arguments.recipes, arguments.repeats)
        title = f"Steps against {arguments.baseline.name}, one CPU thread"
        tables.append((title, columns, compared))
    if arguments.ranks:
        shared = [timed_over_ranks(name, arguments.repeats) for name in arguments.recipes]
        tables.append(("Two CPU processes that share a batch", COLUMNS_OF_RANKS, shared))
    return tables


if __name__ == "__main__":
    main()
