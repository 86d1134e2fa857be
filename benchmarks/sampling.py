"""What each way to sample from a TarFlow costs, and how exact it is.

    python benchmarks/sampling.py --train-seconds 60 --repeats 5

A TarFlow with patches of 2 x 2 is trained briefly on photographs of 16 x 16, and one of 32 x 32;
each solver then finds the same 64 images of the same latents. Milliseconds are medians of
interleaved repeats; a ratio is the median of the ratios to the serial inverse, which runs the net
over all tokens so far for each, within a repeat. Sweeps are summed over the blocks, the residual is
the largest of theirs, and the difference is the largest of a value in [0, 1) to the serial images.
One CPU thread, or a GPU by CUDA events. Writes a table to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from loop import train_for
from recipes import TARFLOW, load_data, make_ours, our_bits
from tables import save_table
from timing import Times, interleaved, ratio
from torch import Tensor

from attnflow.flows import Flow
from attnflow.transforms import Autoregressive
from attnflow.transforms.autoregressive import (
    CachedSolver,
    JacobiSolver,
    SerialSolver,
    Solution,
    Solver,
)
from attnflow.transforms.autoregressive.block import Reader
from attnflow.transforms.maps import ElementwiseMap

IMAGES = 64
SERIAL = "serial"
# A thousandth is a quarter of the width of a grey value.
SOLVERS: dict[str, Solver] = {
    SERIAL: SerialSolver(),
    "cached": CachedSolver(),
    "Jacobi": JacobiSolver(),
    "Jacobi, tolerance 1e-3": JacobiSolver(tolerance=1e-3),
    "Gauss-Seidel-Jacobi, window of 8": JacobiSolver(window=8),
    "Gauss-Seidel-Jacobi, window of 16": JacobiSolver(window=16),
    "Gauss-Seidel-Jacobi, window of 16, tolerance 1e-3": JacobiSolver(1e-3, window=16),
}
COLUMNS = (
    "images",
    "solver",
    "ms",
    "times as fast as serial",
    "sweeps",
    "of at most",
    "residual",
    "difference",
)


@dataclass(frozen=True)
class Recording(Solver):
    """Another solver, whose solutions are kept: one a block, in the order of decoding."""

    solver: Solver
    solutions: list[Solution] = field(default_factory=list)

    def solve(self, z: Tensor, map: ElementwiseMap, reader: Reader) -> Solution:
        self.solutions.append(self.solver.solve(z, map, reader))
        return self.solutions[-1]


@torch.no_grad()
def decode(flow: Flow, latents: Sequence[Tensor], solver: Solver) -> Tensor:
    """The images of these latents, every block inverted by a solver."""
    for block in blocks_of(flow):
        block.solver = solver
    return flow.decode(latents)


def blocks_of(flow: Flow) -> list[Autoregressive]:
    return [block for block in flow.modules() if isinstance(block, Autoregressive)]


def trained_flow(size: int, seconds: float, options: Sequence[str]) -> Flow:
    """A TarFlow of photographs of a size, after so many CPU seconds."""
    data = load_data("photos", [f"data.size={size}"])
    torch.manual_seed(0)
    model, recipe = make_ours([*TARFLOW, "attention=none", "model.patch_size=2", *options], data)
    if seconds > 0:
        outcome = train_for(seconds, model, our_bits, data, recipe, seed=0, validations=5)
        print(f"{size} x {size}: {outcome.steps} steps, test {outcome.test_bpd:.3f}", flush=True)
    return model.flow.eval()


def rows_of(size: int, flow: Flow, times: Times, latents: Sequence[Tensor]) -> list[list[str]]:
    """One row a solver: what it costs, and how exact it is."""
    tokens = sum(block.order.numel() for block in blocks_of(flow))
    serial = decode(flow, latents, SOLVERS[SERIAL])
    rows = []
    for name, solver in SOLVERS.items():
        recording = Recording(solver)
        images = decode(flow, latents, recording)
        rows.append(
            [
                f"{IMAGES} x 3 x {size} x {size}",
                name,
                f"{statistics.median(times[name]):,.0f}",
                f"{ratio(times, SERIAL, name):.2f}",
                f"{sum(solution.sweeps for solution in recording.solutions):,}",
                f"{tokens:,}",
                f"{max(solution.residual for solution in recording.solutions):.1e}",
                f"{float((images - serial).abs().max()):.1e}",
            ]
        )
    return rows


def measure(
    size: int, seconds: float, repeats: int, options: Sequence[str], device: torch.device
) -> list[list[str]]:
    """The rows of one size of images."""
    flow = trained_flow(size, seconds, options).to(device)
    latents = flow.base_sample(IMAGES, generator=torch.Generator(device).manual_seed(0))
    runs = {
        name: lambda solver=solver: decode(flow, latents, solver)
        for name, solver in SOLVERS.items()
    }
    times = interleaved(runs, repeats, device, warm_up=1)
    return rows_of(size, flow, times, latents)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 32], help="sides of images")
    parser.add_argument("--train-seconds", type=float, default=60, help="CPU seconds; 0 for none")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--options", nargs="*", default=[], help="of train.py, such as map=affine")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error(f"repeats: expected 1 or more, got {arguments.repeats}")
    if arguments.train_seconds < 0:
        parser.error(f"train_seconds: expected 0 or more, got {arguments.train_seconds}")
    torch.set_num_threads(1)
    device = torch.device(arguments.device)
    rows = []
    for size in arguments.sizes:
        rows += measure(size, arguments.train_seconds, arguments.repeats, arguments.options, device)
    flow = " ".join(["TarFlow", *arguments.options])
    title = (
        f"Sampling from a {flow} trained for {arguments.train_seconds:g} CPU seconds, "
        f"{device.type}, one CPU thread, medians of {arguments.repeats} interleaved repeats"
    )
    save_table("sampling", title, COLUMNS, rows)


if __name__ == "__main__":
    main()
