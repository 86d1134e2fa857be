"""The multi-scale flow: levels of steps, with attention wherever its placement says."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from attnflow.arguments import call, check_kind
from attnflow.context import Context
from attnflow.errors import AttnFlowError, check_choice
from attnflow.inputs import (
    check_context,
    check_continuous,
    check_count,
    check_generator,
    check_image_shape,
    check_latents,
    check_temperature,
)
from attnflow.memory import MEMORY
from attnflow.noise import normal_noise, sample_keys
from attnflow.placement import STEP_POSITIONS, Placement
from attnflow.priors import SplitGaussianPrior
from attnflow.transforms import (
    ActNorm,
    AffineCoupling,
    Composition,
    InvertibleConv1x1,
    Squeeze,
    Step,
    Transform,
)
from attnflow.transforms.base import full_precision, zero_log_det

__all__ = ["CONDITIONABLE", "Flow", "Level"]

# What can read a condition.
CONDITIONABLE = ("actnorm", "conv1x1", "coupling", "attention", "prior")

TransformFactory = Callable[..., Transform]


class Level(nn.Module):
    """One scale: transforms, then a split whose one half leaves the flow as a latent.

    The prior takes the half that leaves to a standard normal base, reading the half that is
    kept. The last level keeps nothing.

    Args:
        transforms: squeeze, steps and what follows them, on (C, H, W).
        prior: a transform of the latent, which finds the kept half in its context.
        kept_channels: how many channels go on to the next level; 0 at the last level.
        conditional_prior: whether the prior reads the flow's context beside the kept half.
        memory: what is kept of the transforms for their gradients, of
            :data:`~attnflow.memory.MEMORY`.
    """

    def __init__(
        self,
        transforms: Composition,
        prior: Transform,
        kept_channels: int,
        conditional_prior: bool = True,
        memory: str = "none",
    ) -> None:
        super().__init__()
        self.transforms = transforms
        self.prior = prior
        self.kept_channels = kept_channels
        self.conditional_prior = conditional_prior
        self.memory = memory

    def forward(
        self, x: Tensor, context: Context | None = None
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        """x -> (kept half or None, latent, log_det); the latent's base is N(0, I)."""
        x, log_det = MEMORY[self.memory](self.transforms, x, context)
        kept, latent = self._split(x)
        with full_precision(latent):
            latent, prior_log_det = self.prior(latent, self._prior_context(context, kept))
        return kept, latent, log_det + prior_log_det

    def inverse(
        self, kept: Tensor | None, latent: Tensor, context: Context | None = None
    ) -> Tensor:
        """(kept half or None, latent) -> x."""
        with full_precision(latent):
            latent = self.prior.inverse(latent, self._prior_context(context, kept))
        x = latent if kept is None else torch.cat([kept, latent], 1)
        return self.transforms.inverse(x, context)

    def initialize(self, x: Tensor, context: Context | None = None) -> Tensor | None:
        """Data-dependent initialisation; returns the kept half."""
        kept, latent = self._split(self.transforms.initialize(x, context))
        self.prior.initialize(latent, self._prior_context(context, kept))
        return kept

    def _split(self, x: Tensor) -> tuple[Tensor | None, Tensor]:
        if not self.kept_channels:
            return None, x
        return x[:, : self.kept_channels], x[:, self.kept_channels :]

    def _prior_context(self, context: Context | None, kept: Tensor | None) -> Context | None:
        if not self.conditional_prior:
            context = None
        return context if kept is None else (context or Context()).extended(kept)


class Flow(nn.Module):
    """An exact density over images, by invertible layers with optional attention.

    ``x -> squeeze -> [actnorm -> 1x1 conv -> coupling] x steps -> split -> ... -> z``, with
    ``log p(x) = sum log N(z; 0, I) + log|det dz/dx|``: Glow's multi-scale architecture, into
    which Generative Flows with Invertible Attentions places attention as a further layer.

    Every argument that makes transforms is called with the numbers of the place where the
    transform will stand, so any class or ``functools.partial`` with these arguments fits:

    - ``attention(num_channels, parity=, image_size=, context_channels=)``
    - ``coupling(num_channels, context_channels=)``
    - ``actnorm(num_channels, context_channels=)``, and the same for ``conv1x1``
    - ``prior(num_channels, kept_channels=, context_channels=)``

    Args:
        image_shape: (C, H, W) of an image.
        levels: L; both sides must be multiples of 2^L.
        steps: K, steps in each level.
        attention: makes an attention, or None for a flow without.
        placement: where attention stands: a :class:`~attnflow.placement.Placement`, the name
            of a position, or a list of these.
        coupling, prior, actnorm, conv1x1: make the other transforms.
        context_channels: width of the condition; 0 for an unconditional flow.
        conditions: which transforms read the condition, of :data:`CONDITIONABLE`.
        memory: what training keeps for the gradients. ``none``: every activation.
            ``checkpoint``: the input of every step. ``reversible``: the output of every level.
            The less is kept, the more is computed again; the gradients are the same.

    Raises:
        AttnFlowError: sizes, placement or attention that do not fit the images.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        levels: int = 2,
        steps: int = 4,
        attention: TransformFactory | None = None,
        placement: str | Placement | Sequence[str | Placement] = "after_coupling",
        coupling: TransformFactory = AffineCoupling,
        prior: TransformFactory = SplitGaussianPrior,
        actnorm: TransformFactory = ActNorm,
        conv1x1: TransformFactory = InvertibleConv1x1,
        context_channels: int = 0,
        conditions: Sequence[str] = CONDITIONABLE,
        memory: str = "none",
    ) -> None:
        super().__init__()
        check_choice("memory", memory, MEMORY)
        for name in conditions:
            check_choice("a transform of conditions", name, CONDITIONABLE)
        self.image_shape = check_image_shape(image_shape)
        check_count("context_channels", context_channels, least=0)
        self.context_channels = context_channels
        self._check_sizes(levels, steps)
        placements = _as_placements(placement)
        for each in placements:
            each.check_levels(levels)
        widths = {
            name: {"context_channels": context_channels if name in conditions else 0}
            for name in CONDITIONABLE
        }
        channels, height, width = self.image_shape
        sites = 0

        def attentions(position: str, level: int, step: int) -> dict[str, Transform]:
            """The attention at this place, by its name, if one stands there."""
            nonlocal sites
            if attention is None or not any(
                each.selects(position, level, step, steps) for each in placements
            ):
                return {}
            sites += 1
            # Parities alternate, so that both halves get transformed.
            made = make(
                "attention",
                attention,
                channels,
                parity=sites % 2,
                image_size=(height, width),
                **widths["attention"],
            )
            return {f"attention_{position}": made}

        self.levels = nn.ModuleList()
        for level in range(levels):
            channels, height, width = 4 * channels, height // 2, width // 2
            transforms: dict[str, Transform] = {"squeeze": Squeeze()}
            for step in range(steps):
                before, normed, mixed, coupled = (
                    attentions(position, level, step) for position in STEP_POSITIONS
                )
                transforms[f"step_{step}"] = Step(
                    before
                    | {"actnorm": make("actnorm", actnorm, channels, **widths["actnorm"])}
                    | normed
                    | {"conv1x1": make("conv1x1", conv1x1, channels, **widths["conv1x1"])}
                    | mixed
                    | {"coupling": make("coupling", coupling, channels, **widths["coupling"])}
                    | coupled
                )
            transforms |= attentions("level_end", level, steps)
            kept = channels // 2 if level < levels - 1 else 0
            level_prior = make(
                "prior", prior, channels - kept, kept_channels=kept, **widths["prior"]
            )
            self.levels.append(
                Level(Composition(transforms), level_prior, kept, "prior" in conditions, memory)
            )
            channels = kept
        self.register_buffer("initialized", torch.tensor(False))

    def _check_sizes(self, levels: int, steps: int) -> None:
        check_count("levels", levels)
        check_count("steps", steps)
        _, height, width = self.image_shape
        if levels > halvings(height, width):
            raise AttnFlowError(
                f"images of {height} x {width} cannot be halved {levels} times (levels={levels}); "
                f"at most {halvings(height, width)} levels, or sides that are multiples of "
                "2^levels, are accepted."
            )

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[list[Tensor], Tensor]:
        """Data to latents: x (B, C, H, W) -> the latents of every level, and log_det (B,)."""
        self._check(x, context)
        latents, total = [], zero_log_det(x)
        for index, level in enumerate(self.levels):
            x, latent, log_det = level(x, context and context.at_level(index))
            latents.append(latent)
            total = total + log_det
        return latents, total

    def log_prob(self, x: Tensor, context: Context | None = None) -> Tensor:
        """log p(x | context), in nats of the continuous variable: (B,).

        Args:
            x: (B, C, H, W), on the device and of the type of the flow's weights.
            context: the condition of each sample, or None.

        Raises:
            AttnFlowError: another shape or type, or a context that does not fit.
        """
        latents, log_det = self(x, context)
        for latent in latents:
            log_det = log_det + standard_normal_log_prob(latent)
        return log_det

    def encode(self, x: Tensor, context: Context | None = None) -> list[Tensor]:
        """The latents of every level, each distributed as N(0, I) under the model.

        Arguments and errors are those of :meth:`log_prob`.
        """
        return self(x, context)[0]

    def decode(self, latents: Sequence[Tensor], context: Context | None = None) -> Tensor:
        """The inverse of :meth:`encode`: latents of every level -> (B, C, H, W).

        Raises:
            AttnFlowError: another number of latents, another shape, type or context.
        """
        check_latents(latents, self.latent_shapes, next(self.parameters()))
        self._check_context(context, len(latents[0]))
        x = None
        for index in reversed(range(len(self.levels))):
            x = self.levels[index].inverse(x, latents[index], context and context.at_level(index))
        return x

    @torch.no_grad()
    def sample(
        self,
        n: int,
        context: Context | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        batch_size: int = 256,
        numbers: Sequence[int] | None = None,
    ) -> Tensor:
        """Draw images, each of which is a function of the generator's state and its number.

        Args:
            n: how many; with a context, one for each of its rows.
            context: the condition of each sample, or None.
            temperature: standard deviation of the base, 0 or more.
            generator: of the random numbers; the global one by default.
            batch_size: how many are drawn at a time, which bounds the memory.
            numbers: of the n samples; 0 to n - 1 by default.

        Returns:
            (n, C, H, W), continuous values on the scale of the training data ([0, 1) for
            dequantized images, which samples may leave).
        """
        check_count("the number of samples", n)
        check_count("batch_size", batch_size)
        check_temperature(temperature)
        check_generator(generator)
        self._check_context(context, n)
        latents = self.base_sample(n, temperature, generator, numbers)
        images = []
        for start in range(0, n, batch_size):
            rows = slice(start, start + batch_size)
            images.append(self.decode([z[rows] for z in latents], context and context.index(rows)))
        return torch.cat(images)

    def base_sample(
        self,
        n: int,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        numbers: Sequence[int] | None = None,
    ) -> list[Tensor]:
        """Latents of every level from N(0, temperature^2 I), on the flow's device.

        Arguments are those of :meth:`sample`; a sample's latents are the same whichever others
        are drawn with it.
        """
        like, device = next(self.parameters()), generator and generator.device
        seed = int(torch.randint(2**32, (), generator=generator, device=device))
        rows = torch.as_tensor(range(n) if numbers is None else numbers, device=like.device)
        sizes = [math.prod(shape) for shape in self.latent_shapes]
        noise = normal_noise(sample_keys(seed, 0, rows), (sum(sizes),), like.dtype)
        parts = (float(temperature) * noise).split(sizes, 1)
        return [part.view(-1, *s) for part, s in zip(parts, self.latent_shapes, strict=True)]

    @property
    def latent_shapes(self) -> list[tuple[int, int, int]]:
        """(C, H, W) of the latent of every level."""
        channels, height, width = self.image_shape
        shapes = []
        for level in self.levels:
            height, width = height // 2, width // 2
            shapes.append((4 * channels - level.kept_channels, height, width))
            channels = level.kept_channels
        return shapes

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Context | None = None) -> None:
        """Set data-dependent parameters from a batch x (B, C, H, W); once, before training."""
        self._check(x, context)
        for index, level in enumerate(self.levels):
            x = level.initialize(x, context and context.at_level(index))
        self.initialized.fill_(True)

    def _check(self, x: Tensor, context: Context | None) -> None:
        """Raise :class:`AttnFlowError` for what is no batch of this flow's images."""
        check_continuous("x", x, self.image_shape, next(self.parameters()))
        self._check_context(context, len(x))

    def _check_context(self, context: Context | None, rows: int) -> None:
        """Raise :class:`AttnFlowError` for what is no condition of ``rows`` samples."""
        like = next(self.parameters())
        check_context(context, self.context_channels, rows, len(self.levels), like)

    def __repr__(self) -> str:
        parameters = sum(p.numel() for p in self.parameters())
        shape = " x ".join(map(str, self.image_shape))
        lines = [f"Flow({shape}, {parameters:,} parameters)"]
        for index, (level, shape) in enumerate(zip(self.levels, self.latent_shapes, strict=True)):
            channels = shape[0] + level.kept_channels
            lines.append(f"  level {index}: {channels} x {shape[1]} x {shape[2]}")
            lines += [f"    {name}: {_outline(t)}" for name, t in level.transforms.named_children()]
            lines.append(f"    prior of {shape[0]} channels: {type(level.prior).__name__}")
        return "\n".join(lines)


def make(part: str, factory: TransformFactory, *args: object, **kwargs: object) -> Transform:
    """The transform that a flow's argument makes for a place.

    Raises:
        AttnFlowError: it cannot be called with the numbers of the place, or makes no Transform.
    """
    if isinstance(factory, nn.Module):
        kind = type(factory).__name__
        raise AttnFlowError(f"{part}: expected a class or a function that makes one, got a {kind}.")
    made = call(part, factory, *args, **kwargs)
    check_kind(part, made, Transform)
    return made


def halvings(height: int, width: int) -> int:
    """How often both sides of an image can be halved without a rest."""
    sides = math.gcd(height, width)
    return (sides & -sides).bit_length() - 1


def _outline(transform: Transform) -> str:
    """A transform in a few words; a step as the sequence of its transforms."""
    if isinstance(transform, Composition):
        return " -> ".join(_outline(child) for child in transform.children())
    details = transform.extra_repr()
    return type(transform).__name__ + (f"({details})" if details else "")


def _as_placements(placement: str | Placement | Sequence[str | Placement]) -> tuple[Placement, ...]:
    """The placements of a flow's argument; raises :class:`AttnFlowError` for what is none."""
    several = [placement] if isinstance(placement, str | Placement) else placement
    if not isinstance(several, Sequence):
        raise AttnFlowError(
            "placement: expected a Placement, the name of a position, or a list of these, got "
            f"{placement!r}."
        )
    return tuple(each if isinstance(each, Placement) else Placement(each) for each in several)


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """log N(z; 0, I), summed over all but the batch dimension, in nats: (B,)."""
    z = z.flatten(1).to(torch.promote_types(z.dtype, torch.float32))
    return -0.5 * (z.square().sum(1) + z.shape[1] * math.log(2 * math.pi))
