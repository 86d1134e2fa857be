"""Takes training steps of a recipe when it is asked to, so that revisions can take turns.

    python benchmarks/stepper.py ROOT RECIPE

Reads lines of standard input, takes a few steps for each, and writes the milliseconds of one. ROOT
is a checkout of this revision, or of an older one that has ``make_ours`` in density.py.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["RECIPES", "Stepper"]

STEPS = 3  # a line
WARM_UP = 3


@dataclass(frozen=True)
class RecipeOfImages:
    """A recipe of conf/experiment with an attention, and the images that it is made for."""

    experiment: str
    attention: str
    shape: tuple[int, int, int]
    num_bins: int


RECIPES = {
    "digits, imap": RecipeOfImages("digits", "imap", (1, 8, 8), 17),
    "digits_tarflow, none": RecipeOfImages("digits_tarflow", "none", (1, 8, 8), 17),
    "photos, none": RecipeOfImages("photos", "none", (3, 16, 16), 256),
    "photos, itrans": RecipeOfImages("photos", "itrans", (3, 16, 16), 256),
    "natural16, none": RecipeOfImages("natural16", "none", (3, 16, 16), 256),
    "natural16, itrans": RecipeOfImages("natural16", "itrans", (3, 16, 16), 256),
    "mnist5k, none": RecipeOfImages("mnist5k", "none", (1, 28, 28), 256),
}


class Stepper:
    """A process that takes training steps of a recipe by a checkout's code.

    Args:
        root: of the checkout.
        recipe: of :data:`RECIPES`.
    """

    def __init__(self, root: Path, recipe: str) -> None:
        command = [sys.executable, str(Path(__file__).resolve()), str(root.resolve()), recipe]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.loss = self._line()

    def __enter__(self) -> Stepper:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()

    def step(self) -> float:
        """The milliseconds of a step."""
        assert self.process.stdin is not None
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        return self._line()

    def _line(self) -> float:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process of {self.process.args} ended before it had answered.")
        return float(line)


def made(root: Path, recipe: RecipeOfImages) -> Callable[[], float]:
    """What takes a step by a checkout's code, and returns the loss."""
    sys.path[:0] = [str(root / "src"), str(root / "benchmarks")]
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    train = images_of(recipe)
    model, plan, bits = model_of(recipe, train)
    optimizer = torch.optim.AdamW(
        model.parameters(), plan.learning_rate, weight_decay=plan.weight_decay, fused=True
    )
    rows = torch.arange(plan.batch_size)

    def step() -> float:
        loss = bits(model, train[rows], rows, 1).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return float(loss.detach())

    return step


def images_of(recipe: RecipeOfImages) -> Tensor:
    """Smooth images of a recipe's kind, the same for every revision: int64 (512, C, H, W)."""
    import torch

    generator = torch.Generator().manual_seed(0)
    bins, width = recipe.num_bins, recipe.num_bins // 8 + 1
    colour = torch.randint(0, bins, (512, recipe.shape[0], 1, 1), generator=generator)
    noise = torch.randint(-width, width, (512, *recipe.shape), generator=generator)
    return (colour + noise).clamp(0, bins - 1)


def model_of(recipe: RecipeOfImages, train: Tensor) -> tuple[Any, Any, Any]:
    """The model, its recipe, and what gives its bits/dim, by the checkout that is on the path."""
    try:
        from loop import Data
        from recipes import make_ours, our_bits

        from attnflow.spec import DataSpec
    except ImportError:  # before there were recipes.py and spec.py
        return old_model_of(recipe, train)
    spec = DataSpec(image_shape=recipe.shape, num_bins=recipe.num_bins)
    options = [f"experiment={recipe.experiment}", f"attention={recipe.attention}"]
    model, plan = make_ours(options, Data(train, train, train, spec))
    return model, plan, our_bits


def old_model_of(recipe: RecipeOfImages, train: Tensor) -> tuple[Any, Any, Any]:
    """The same by a revision whose recipes had the attention in their names."""
    from density import make_ours, our_bits  # pyright: ignore[reportAttributeAccessIssue]
    from loop import Data

    from attnflow.data import DataSpec  # pyright: ignore[reportAttributeAccessIssue]

    spec = DataSpec(image_shape=recipe.shape, num_bins=recipe.num_bins)
    data = Data(train, train, train, recipe.num_bins)  # pyright: ignore[reportArgumentType]
    model, plan = make_ours(f"{recipe.experiment}_{recipe.attention}", data, spec)
    return model, plan, our_bits


def main() -> None:
    root, recipe = sys.argv[1:]
    step = made(Path(root), RECIPES[recipe])
    losses = [step() for _ in range(WARM_UP)]
    print(losses[-1], flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        for _ in range(STEPS):
            step()
        print(1000 * (time.perf_counter() - started) / STEPS, flush=True)


if __name__ == "__main__":
    # Beside this file lie modules that the checkout has, too, maybe others.
    sys.path = [
        place for place in sys.path if Path(place or ".").resolve() != Path(__file__).parent
    ]
    main()
