"""What a training step and a sample cost: against peers, against the limit, by attention.

    python benchmarks/speed.py --repeats 9

- Glow of equal architecture (3 x 32 x 32 images, 3 levels of 4 steps, affine couplings, batch
  16) of attnflow, normflows and nflows; the same optimizer for all. The limit is the time of
  attnflow's coupling nets alone, on the same shapes: forward, backward and optimizer. With
  --compiled also attnflow under torch.compile, whose graphs take minutes to make.
- The same flow with an attention after every coupling, and its sampling against its forward.
- Each attention alone against the number of tokens, forward and backward, with the exponent
  fitted from 256 tokens on (below, the fixed cost of a call hides it).
- The peak memory of training with linear attention at 4096 tokens, in a process of its own.

Medians of interleaved repeats; a ratio is the median of the ratios within each repeat. One CPU
thread, or a GPU by CUDA events. Writes tables and a plot to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import copy
import math
import multiprocessing
import statistics
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from peers import nflows_glow, normflows_glow
from tables import RESULTS, Contents, save_tables
from timing import Times, interleaved, ratio
from torch import Tensor, nn

from attnflow.flows.compilation import compile_flow
from attnflow.flows.glow import Glow
from attnflow.nets import ConvNet
from attnflow.transforms import AffineCoupling, IMap, ITrans
from attnflow.transforms.coupling import Coupling
from attnflow.transforms.priors import GaussianPrior

SHAPE, BATCH_SIZE = (3, 32, 32), 16
SIZE = {"levels": 3, "steps": 4}
PEERS = {"normflows": normflows_glow, "nflows": nflows_glow}
ITRANS = partial(ITrans, position_embedding="both")
LINEAR = partial(ITrans, variant="linear", position_embedding="absolute")
ATTENTIONS = {
    "none": None,
    "imap": IMap,
    "itrans_linear": LINEAR,
    "itrans_linear, patch 1": partial(LINEAR, patch_size=1),
    "itrans_causal": partial(ITRANS, variant="causal"),
    "itrans_causal, patch 1": partial(ITRANS, variant="causal", patch_size=1),
    "itrans": ITRANS,
    "itrans, patch 1": partial(ITRANS, patch_size=1),
}
# For the scaling: tokens of one pixel, all in one group.
TOKEN_CHANNELS = 16
ALONE = {
    "imap": IMap,
    "itrans_linear": partial(ITrans, variant="linear", patch_size=1, mask="channel"),
    "itrans_causal": partial(ITrans, variant="causal", patch_size=1, mask="channel"),
    "itrans": partial(ITrans, patch_size=1, mask="channel"),
}
LARGEST_DENSE = 1024  # tokens; four times as many take a minute a call
FIT_FROM = 256  # tokens
OURS, COMPILED, LIMIT = "attnflow", "attnflow, compiled", "attnflow's coupling nets alone"
MEMORY_TOKENS = 4096
STEP_COLUMNS = ("hidden", "model", "params", "step ms", "step / normflows", "sample ms", "images/s")
OVERHEAD_COLUMNS = ("attention", "step ms", "step / none", "sample ms", "sample / forward")


def make_flow(attention: Callable | None, hidden_channels: int, images: Tensor) -> Glow:
    """The flow of all comparisons, initialised from data."""
    flow = Glow(
        SHAPE,
        **SIZE,
        attention=attention,
        coupling=partial(AffineCoupling, net=partial(ConvNet, hidden_channels=hidden_channels)),
        prior=GaussianPrior,
    ).to(images.device)
    flow.initialize(images)
    return flow


def training_step(model: nn.Module, images: Tensor) -> Callable[[], None]:
    """A step of maximum likelihood, of any model with a ``log_prob``."""
    optimizer = make_optimizer(model)

    def step() -> None:
        optimizer.zero_grad()
        (-model.log_prob(images).mean()).backward()
        optimizer.step()

    return step


def nets_step(flow: Glow, images: Tensor) -> Callable[[], None]:
    """The same step of the flow's coupling nets alone, on what they read in the flow."""
    nets = nn.ModuleList()
    inputs: list[Tensor] = []
    for coupling in (module for module in flow.modules() if isinstance(module, Coupling)):
        coupling.net.register_forward_pre_hook(
            lambda net, arguments: inputs.append(arguments[0].detach().clone().requires_grad_())
        )
        nets.append(coupling.net)
    flow.log_prob(images)
    nets = copy.deepcopy(nets)
    for net in [*nets, *(c.net for c in flow.modules() if isinstance(c, Coupling))]:
        net._forward_pre_hooks.clear()
    gradients = [torch.randn_like(net(x)) for net, x in zip(nets, inputs, strict=True)]
    optimizer = make_optimizer(nets)

    def step() -> None:
        optimizer.zero_grad()
        for x in inputs:
            x.grad = None
        outputs = [net(x) for net, x in zip(nets, inputs, strict=True)]
        torch.autograd.backward(outputs, gradients)
        optimizer.step()

    return step


def make_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), 1e-4, fused=True)


def without_gradient(run: Callable[[], object]) -> Callable[[], object]:
    return torch.no_grad()(run)


def compare_with_peers(
    hidden_channels: int, peers: Sequence[str], compiled: bool, images: Tensor, repeats: int
) -> tuple[Times, list[list[str]]]:
    """Steps and samples of every library's Glow at one width."""
    models: dict[str, nn.Module] = {OURS: make_flow(None, hidden_channels, images)}
    if compiled:
        models[COMPILED] = make_flow(None, hidden_channels, images)
        compile_flow(models[COMPILED])
    for name in peers:
        models[name] = PEERS[name](images.cpu(), **SIZE, hidden_channels=hidden_channels)
        models[name].to(images.device).log_prob(images)  # initialises from data
    runs = {name: training_step(model, images) for name, model in models.items()}
    runs[LIMIT] = nets_step(models[OURS], images)
    steps = interleaved(runs, repeats, images.device)
    samplers = {
        name: without_gradient(partial(model.eval().sample, BATCH_SIZE))
        for name, model in models.items()
    }
    samples = interleaved(samplers, repeats, images.device)
    rows = []
    for name in steps:
        relative = f"{ratio(steps, name, 'normflows'):.3f}" if "normflows" in steps else ""
        row = [str(hidden_channels), name, "", f"{statistics.median(steps[name]):.1f}", relative]
        sampling = ["", ""]
        if name in models:
            row[2] = f"{sum(p.numel() for p in models[name].parameters()):,}"
            milliseconds = statistics.median(samples[name])
            sampling = [f"{milliseconds:.1f}", f"{1000 * BATCH_SIZE / milliseconds:.0f}"]
        rows.append(row + sampling)
    return steps, rows


def compare_attentions(
    hidden_channels: int, images: Tensor, repeats: int
) -> tuple[Times, list[list[str]]]:
    """Steps and samples of the same flow with each attention after every coupling."""
    flows = {name: make_flow(each, hidden_channels, images) for name, each in ATTENTIONS.items()}
    runs = {name: training_step(flow, images) for name, flow in flows.items()}
    steps = interleaved(runs, repeats, images.device)
    both: dict[str, Callable[[], object]] = {}
    for name, flow in flows.items():
        flow.eval()
        both[f"{name}: forward"] = without_gradient(partial(flow.log_prob, images))
        both[f"{name}: sample"] = without_gradient(partial(flow.sample, BATCH_SIZE))
    samples = interleaved(both, repeats, images.device)
    rows = [
        [
            name,
            f"{statistics.median(steps[name]):.1f}",
            f"{ratio(steps, name, 'none'):.3f}",
            f"{statistics.median(samples[f'{name}: sample']):.1f}",
            f"{ratio(samples, f'{name}: sample', f'{name}: forward'):.3f}",
        ]
        for name in ATTENTIONS
    ]
    return steps, rows


def scaling(
    tokens: Sequence[int], device: torch.device, repeats: int
) -> dict[str, dict[int, float]]:
    """Milliseconds of forward and backward of each attention at each number of tokens."""
    result: dict[str, dict[int, float]] = {name: {} for name in ALONE}
    for number in tokens:
        side = math.isqrt(number)
        x = torch.randn(1, TOKEN_CHANNELS, side, side, device=device)
        runs = {
            name: forward_and_backward(make(TOKEN_CHANNELS, (side, side)).to(device), x)
            for name, make in ALONE.items()
            if name != "itrans" or number <= LARGEST_DENSE
        }
        for name, times in interleaved(runs, repeats, device).items():
            result[name][number] = statistics.median(times)
    return result


def forward_and_backward(attention: nn.Module, x: Tensor) -> Callable[[], None]:
    def run() -> None:
        attention.zero_grad()
        z, log_det = attention(x.requires_grad_())
        (z.square().sum() - log_det.sum()).backward()

    return run


def exponent(times: dict[int, float]) -> float:
    """k of the fit time ~ tokens^k from FIT_FROM tokens on; NaN for less than two points."""
    points = [(number, value) for number, value in times.items() if number >= FIT_FROM]
    if len(points) < 2:
        return float("nan")
    return float(np.polyfit(*np.log(points).T, 1)[0])


def scaling_rows(times: dict[str, dict[int, float]], tokens: Sequence[int]) -> list[list[str]]:
    """One row an attention: milliseconds by tokens, and the exponent."""
    return [
        [
            name,
            *(f"{values[number]:.2f}" if number in values else "" for number in tokens),
            f"{exponent(values):.2f}",
        ]
        for name, values in times.items()
    ]


def peak_memory(attention: str, tokens: int) -> float:
    """GB that a process needs for some training steps of a flow with so many tokens.

    The flow has one level, whose squeezed maps hold 16 channels, and two steps; batch 4.
    """
    side = 2 * math.isqrt(tokens)
    images = torch.rand(4, TOKEN_CHANNELS // 4, side, side)
    make = {"none": None, "itrans_linear": partial(LINEAR, patch_size=1)}
    flow = Glow(images.shape[1:], levels=1, steps=2, attention=make[attention])
    flow.initialize(images)
    step = training_step(flow, images)
    for _ in range(3):
        step()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e6


def in_a_process_of_its_own(run: Callable[..., float], *arguments: object) -> float:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return pool.submit(run, *arguments).result()


def draw(overheads: Times, times: dict[str, dict[int, float]], hidden_channels: int) -> None:
    """Bars of overhead beside curves of scaling, as PNG."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    names = [name for name in overheads if name != "none"]
    bars = left.barh(names, [100 * (ratio(overheads, name, "none") - 1) for name in names])
    left.bar_label(bars, fmt="%.1f %%", padding=3)
    left.margins(x=0.15)
    left.invert_yaxis()
    left.set(
        xlabel="added to a training step without attention (%)",
        title=f"Attention at every step, 3 x 32 x 32, hidden {hidden_channels}",
    )
    for name, values in times.items():
        label = f"{name}: tokens^{exponent(values):.2f}"
        right.plot(list(values), list(values.values()), "o-", label=label)
    right.set(
        xscale="log",
        yscale="log",
        xlabel="tokens",
        ylabel="forward + backward (ms)",
        title=f"One attention, {TOKEN_CHANNELS} channels, one image",
    )
    right.grid(alpha=0.3)
    right.legend()
    figure.savefig(RESULTS / "speed.png", dpi=110)


def measure(arguments: argparse.Namespace) -> None:
    """Measure all, and save it as tables and a plot."""
    device, repeats = arguments.device, arguments.repeats
    torch.manual_seed(0)
    images = torch.rand(BATCH_SIZE, *SHAPE, device=device)
    place = torch.cuda.get_device_name() if device.type == "cuda" else "one CPU thread"
    peers, limits = [], []
    for hidden in arguments.hidden:
        steps, rows = compare_with_peers(
            hidden, arguments.peers, arguments.compiled, images, repeats
        )
        peers += rows
        limits.append(f"{ratio(steps, LIMIT, OURS):.3f} (hidden {hidden})")
    hidden = arguments.hidden[0]
    overheads, attentions = compare_attentions(hidden, images, repeats)
    times = scaling(arguments.tokens, device, repeats)
    memory = [
        [name, f"{in_a_process_of_its_own(peak_memory, name, MEMORY_TOKENS):.2f}"]
        for name in ("none", "itrans_linear")
    ]
    tables: list[Contents] = [
        (
            f"Glow, batch {BATCH_SIZE}, {place}; coupling nets alone / whole step of attnflow: "
            + ", ".join(limits),
            STEP_COLUMNS,
            peers,
        ),
        (f"Attention at every step, hidden {hidden}, {place}", OVERHEAD_COLUMNS, attentions),
        (
            f"Forward + backward of one attention, milliseconds by tokens, {place}",
            ("attention", *(f"T = {number}" for number in arguments.tokens), "exponent"),
            scaling_rows(times, arguments.tokens),
        ),
        (
            f"Peak memory of training at {MEMORY_TOKENS} tokens, batch 4, on the CPU",
            ("attention", "GB"),
            memory,
        ),
    ]
    save_tables("speed", tables)
    draw(overheads, times, hidden)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--hidden", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    parser.add_argument("--compiled", action="store_true", help="also under torch.compile")
    parser.add_argument("--tokens", type=int, nargs="+", default=[4**k for k in range(2, 7)])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error(f"repeats: expected 1 or more, got {arguments.repeats}")
    for number in arguments.tokens:
        if number < 4 or math.isqrt(number) ** 2 != number:
            parser.error(f"tokens: expected squares of 2 or more, got {number}")
    arguments.device = torch.device(arguments.device)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")  # the peers' own deprecations
    measure(arguments)


if __name__ == "__main__":
    main()
