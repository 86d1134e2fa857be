"""What the recipes cost: a training step and where its time goes, log_prob, samples and memory.

    python benchmarks/recipe_speed.py --repeats 9
    git worktree add ../baseline b303d23
    python benchmarks/recipe_speed.py --baseline ../baseline --ranks

- For each recipe the step of a training (forward, backward, clipping, optimizer); the share of it
  that its nets take by themselves, on the same inputs, with their own optimizer; with --compiled
  the same step under torch.compile, whose graphs take minutes to make; images a second of training,
  log_prob and sampling; and on a GPU the peak memory, and the step with nets in bfloat16.
- With --baseline, the steps of another checkout, that take turns with this one's.
- With --ranks, images a second of two CPU processes against one at an equal batch, by train.py.

Medians of interleaved repeats; a ratio is the median of the ratios within each repeat. One CPU
thread, or a GPU by CUDA events. Images are made up, so that nothing has to be fetched. Writes
tables to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from loop import Data, Recipe
from recipes import ROOT, make_ours, our_bits
from stepper import RECIPES, RecipeOfImages, Stepper, images_of
from tables import Contents, save_tables
from timing import Times, interleaved, ratio
from torch import Tensor, nn

from attnflow.flows.compilation import compile_flow
from attnflow.models.image_model import ImageModel
from attnflow.spec import DataSpec
from attnflow.transforms import Autoregressive
from attnflow.transforms.coupling import Coupling

IMAGES = 64  # that log_prob and sampling are timed on
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
RANKS = (1, 2)
TRAINED = ("data=digits", "attention=none", "trainer.max_epochs=6", "test=false")


class Workload:
    """A recipe's model and its training step.

    Args:
        recipe: of :data:`~stepper.RECIPES`.
        device: that it is on.
    """

    def __init__(self, recipe: RecipeOfImages, device: torch.device) -> None:
        torch.manual_seed(0)
        images = images_of(recipe)
        spec = DataSpec(image_shape=recipe.shape, num_bins=recipe.num_bins)
        options = [f"experiment={recipe.experiment}", f"attention={recipe.attention}"]
        model, self.recipe = make_ours(options, Data(images, images, images, spec))
        self.model: ImageModel = model.to(device)
        self.images = images.to(device)
        self.rows = torch.arange(self.recipe.batch_size, device=device)

    def bits(self) -> Tensor:
        """Bits/dim of the batch."""
        return our_bits(self.model, self.images[self.rows], self.rows, 1)

    def step(self, precision: torch.dtype | None = None) -> Callable[[], None]:
        """What takes a training step, with nets in another precision where one is given."""
        take = stepping(self.model, self.recipe)
        device = self.images.device.type

        def step() -> None:
            with torch.autocast(device, precision, enabled=precision is not None):
                loss = self.bits().mean()
            take(loss.backward)

        return step

    def nets_step(self) -> Callable[[], None]:
        """The same of the nets alone, on what they read in the flow."""
        owners = [m for m in self.model.modules() if isinstance(m, Coupling | Autoregressive)]
        inputs = [inputs_of(owner.net, self.bits) for owner in owners]
        nets = copy.deepcopy(nn.ModuleList(owner.net for owner in owners))
        gradients = [torch.randn_like(net(x)) for net, x in zip(nets, inputs, strict=True)]
        take = stepping(nets, self.recipe)

        def step() -> None:
            for x in inputs:
                x.grad = None
            outputs = [net(x) for net, x in zip(nets, inputs, strict=True)]
            take(lambda: torch.autograd.backward(outputs, gradients))

        return step

    @torch.no_grad()
    def log_prob(self) -> Tensor:
        rows = torch.arange(IMAGES, device=self.images.device)
        return our_bits(self.model.eval(), self.images[rows], rows, -1)

    @torch.no_grad()
    def sample(self) -> Tensor:
        return self.model.eval().sample(IMAGES)


def stepping(model: nn.Module, recipe: Recipe) -> Callable[[Callable[[], None]], None]:
    """What makes gradients by a call, clips them and lets the optimizer take its step."""
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(
        parameters, recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )

    def take(backward: Callable[[], None]) -> None:
        model.train()
        optimizer.zero_grad()
        backward()
        torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
        optimizer.step()

    return take


def inputs_of(net: nn.Module, run: Callable[[], object]) -> Tensor:
    """What a net is called with first in a run, as a leaf of its own."""
    seen: list[Tensor] = []
    hook = net.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].detach()))
    run()
    hook.remove()
    return seen[0].clone().requires_grad_()


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


def over_ranks(repeats: int) -> list[list[str]]:
    """A row for each number of ranks: images a second of the default training, by train.py."""
    speeds: dict[int, list[float]] = {ranks: [] for ranks in RANKS}
    for _ in range(repeats):
        for ranks in RANKS:
            speeds[ranks].append(trained_images_per_second(ranks))
    pairs = zip(*(speeds[ranks] for ranks in RANKS), strict=True)
    gain = statistics.median(two / one for one, two in pairs)
    return [
        [str(ranks), f"{statistics.median(speeds[ranks]):,.0f}", f"{factor:.2f}"]
        for ranks, factor in zip(RANKS, (1.0, gain), strict=True)
    ]


def trained_images_per_second(ranks: int) -> float:
    """Of a short training on the digits by so many processes of one thread each."""
    trainer = ["trainer=cpu"] if ranks == 1 else ["trainer=ddp_cpu", f"trainer.devices={ranks}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        options = [*TRAINED, *trainer, "callbacks.pictures=null", f"hydra.run.dir={folder}/run"]
        subprocess.run(
            [sys.executable, "train.py", *options],
            check=True,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        return json.loads((Path(folder) / "run" / "results.json").read_text())["images_per_second"]


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
        columns = ("CPU processes", "images/s", "times one process")
        title = "Training on the digits, equal global batch"
        tables.append((title, columns, over_ranks(max(1, arguments.repeats // 3))))
    return tables


if __name__ == "__main__":
    main()
