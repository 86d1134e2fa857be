"""Peak memory of a training step against the depth of a flow, by what training keeps.

    python benchmarks/memory.py --steps 4 8 16 32 --batch-size 64

One level of K steps with attention, on 3 x 32 x 32 images. Every flow has a process of its own,
which takes one step to warm up and measures the next: the bytes that autograd keeps between
forward and backward, and how far the process's memory rises above what it held before the step
(on a GPU: how far the allocator's does). Parameters, their gradients and the optimizer's state
are held before, so they are counted apart. Writes a table and a plot to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from tables import RESULTS, save_table
from torch import Tensor

from attnflow.flows.glow import Glow
from attnflow.flows.memory import MEMORY
from attnflow.nets import ConvNet
from attnflow.transforms import AffineCoupling, IMap

IMAGE_SHAPE = (3, 32, 32)
COLUMNS = ("memory", "steps K", "held MB", "kept MB", "peak MB", "peak to least K", "s a step")
MB = 1e6
Job = tuple[str, int, int, int, str]


@dataclass
class Measured:
    """Of one flow: bytes, and the seconds of a step."""

    held: int
    kept: int
    peak: int
    seconds: float


def measure_apart(job: Job) -> Measured:
    """:func:`measure` in a process of its own."""
    # Freed memory goes back to the system at once, so that the high-water mark is the tensors'.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(2**16)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (job,))


def measure(job: Job) -> Measured:
    """Measure one flow: (memory, steps, hidden_channels, batch_size, device)."""
    memory, steps, hidden_channels, batch_size, device = job
    torch.set_num_threads(1)
    torch.manual_seed(0)
    flow = Glow(
        IMAGE_SHAPE,
        levels=1,
        steps=steps,
        attention=partial(IMap, kernel_size=3),
        coupling=partial(AffineCoupling, net=partial(ConvNet, hidden_channels=hidden_channels)),
        memory=memory,
    ).to(device)
    x = torch.rand(batch_size, *IMAGE_SHAPE, device=device)
    flow.initialize(x)
    optimizer = torch.optim.AdamW(flow.parameters(), 1e-4)

    def loss() -> Tensor:
        return -flow.log_prob(x).mean()

    def step() -> None:
        optimizer.zero_grad(set_to_none=False)
        loss().backward()
        optimizer.step()

    step()
    kept = kept_bytes(loss, flow)
    started = time.perf_counter()
    peak = rise_of(step, device)
    seconds = time.perf_counter() - started
    states = [value for state in optimizer.state.values() for value in state.values()]
    held = sum(t.nbytes for p in flow.parameters() for t in (p, p.grad))
    return Measured(held + sum(t.nbytes for t in states), kept, peak, seconds)


def kept_bytes(loss: Callable[[], Tensor], flow: Glow) -> int:
    """What autograd keeps for backward, parameters and the images themselves apart."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        graph = loss()  # held until all of it is counted: no address is used twice
    for parameter in flow.parameters():
        kept.pop(parameter.untyped_storage().data_ptr(), None)
    del graph
    return sum(kept.values())


def rise_of(step: Callable[[], None], device: str) -> int:
    """By how many bytes memory rises, at most, during a step."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # start the high-water mark anew (Linux)
    before = high_water_mark()
    step()
    return high_water_mark() - before


def high_water_mark() -> int:
    """The most memory that this process has held, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 8, 16, 32], help="K")
    parser.add_argument("--hidden-channels", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    for name in ("steps", "hidden_channels", "batch_size"):
        value = getattr(arguments, name)
        if min(value if isinstance(value, list) else [value]) < 1:
            parser.error(f"{name}: expected 1 or more, got {value}")
    outcomes: dict[tuple[str, int], Measured] = {}
    for memory in MEMORY:
        for steps in sorted(arguments.steps):
            sizes = (arguments.hidden_channels, arguments.batch_size, arguments.device)
            outcomes[memory, steps] = measure_apart((memory, steps, *sizes))
            print(f"{memory}, K = {steps}: {outcomes[memory, steps]}", flush=True)
    title = (
        f"Memory of a training step: {arguments.batch_size} images of "
        f"{' x '.join(map(str, IMAGE_SHAPE))}, {arguments.hidden_channels} hidden channels, "
        f"{arguments.device}"
    )
    save_table("memory", title, COLUMNS, rows_of(outcomes))
    draw(outcomes, title)


def rows_of(outcomes: dict[tuple[str, int], Measured]) -> list[list[str]]:
    """One row for each flow."""
    rows, least = [], min(steps for _, steps in outcomes)
    for (memory, steps), measured in outcomes.items():
        # A tiny step may fit into what was held before.
        ratio = measured.peak / max(1, outcomes[memory, least].peak)
        sizes = [f"{n / MB:.1f}" for n in (measured.held, measured.kept, measured.peak)]
        rows.append([memory, str(steps), *sizes, f"{ratio:.2f}", f"{measured.seconds:.2f}"])
    return rows


def draw(outcomes: dict[tuple[str, int], Measured], title: str) -> None:
    """Peak and kept memory against depth, as PNG."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for number, memory in enumerate(MEMORY):
        depths = [steps for name, steps in outcomes if name == memory]
        for what, style in (("peak", "-o"), ("kept", ":o")):
            sizes = [getattr(outcomes[memory, steps], what) / MB for steps in depths]
            label = f"{memory}: {'peak of a step' if what == 'peak' else 'kept for backward'}"
            axes.plot(depths, sizes, style, color=f"C{number}", label=label, markersize=4)
    axes.set(xlabel="steps K", ylabel="MB", title=title, xticks=depths)
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.savefig(RESULTS / "memory.png", dpi=110)


if __name__ == "__main__":
    main()
