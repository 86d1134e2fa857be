"""Same values, gradients and log-dets as another revision: proof that a rebuild changed none.

    git worktree add /tmp/before b303d23
    python benchmarks/parity.py --reference /tmp/before

Each tree builds the same models from its own conf/ by its own code, in a process of its own: every
option of the groups that make a model, and three recipes. Parameters get numbers that depend on
their order and size alone, so that new names change nothing. Compared are bits/dim, log_prob,
latents, decoded images, and the gradients of the images and of every parameter, in float32 and in
float64. Exits with 1 where one of them differs by more than 1e-6 (float64: 1e-10) of the largest
number beside it, and, in float32, by more than thrice what rounding costs the reference itself: the
distance of its float32 numbers from its float64 ones, as an inverse can multiply rounding.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

ROOT = Path(__file__).parents[1]
# The largest difference, relative to the largest number of the same tensor.
LIMITS = {"float32": 1e-6, "float64": 1e-10}
# Gradients that are zero but for rounding count relative to this share of the largest one.
FLOOR = 1e-3
GROUPS = ["model", "attention", "placement", "coupling", "coupling_net", "prior"]
GROUPS += ["dequantization", "conditioning"]
# Where each revision keeps what is needed here, the newest first.
BUILDERS = ("attnflow.models.build", "attnflow.assembly")
SPECS = ("attnflow.spec", "attnflow.data.base")
# What older revisions spell otherwise.
OLD_SPELLINGS = {
    "experiment=digits attention=imap": "experiment=digits_imap",
    "experiment=photos attention=itrans": "experiment=photos_itrans",
    "experiment=cifar10_mixlogcdf96 attention=imap": "experiment=cifar10_mixlogcdf96_imap",
    "position_embedding=none": "position_embedding=false",
    "attention.attentions.mixing.mask=checkerboard": "attention.mask=checkerboard",
    " attention.attentions.reading.mask=checkerboard": "",
}

GREY, COLOUR = (1, 8, 8), (3, 8, 8)
SMALL = "coupling=affine coupling_net=convnet coupling_net.hidden_channels=8 prior=gaussian"
SHALLOW = f"{SMALL} model.levels=1 model.steps=2"
EVERYWHERE = "conditioning.conditions=[actnorm,conv1x1,coupling,attention,prior]"
NARROW = "coupling_net.hidden_channels=8 coupling_net.num_blocks=1 coupling.num_components=3"

# Name -> (the images' shape, overrides of conf/train.yaml).
Cases = dict[str, tuple[tuple[int, int, int], str]]


def cases() -> Cases:
    """Every option of the groups that make a model, and three recipes at a reduced width."""
    found: Cases = {
        "recipe digits, imap": (GREY, "experiment=digits attention=imap"),
        "recipe photos, itrans": (COLOUR, "experiment=photos attention=itrans model.steps=2"),
        "recipe cifar10 mixture": (
            COLOUR,
            f"experiment=cifar10_mixlogcdf96 attention=imap model.steps=1 {NARROW}",
        ),
    }
    attentions = (
        "imap, imap_global, imap attention.mask=coarse, imap attention.mask=channel, "
        "imap attention.mask=spatial, imap attention.kernel_size=3, "
        "itrans, itrans_causal, itrans_linear, itrans_reading, "
        "itrans attention.signed=false, itrans attention.mask=spatial, "
        "itrans attention.patch_size=2 attention.num_heads=2, "
        "itrans attention.key_channels=3 attention.num_heads=2, "
        "itrans attention.position_embedding=none, itrans attention.position_embedding=absolute, "
        "itrans attention.position_embedding=relative, "
        "itrans_causal attention.mask=channel, itrans_causal attention.position_embedding=none, "
        "itrans_causal attention.patch_size=2 attention.num_heads=3, "
        "itrans_linear attention.rank=3 attention.num_heads=2, "
        "itrans_linear attention.patch_size=2, "
        "itrans_linear attention.position_embedding=none, "
        "itrans_reading attention.attentions.mixing.mask=checkerboard "
        "attention.attentions.reading.mask=checkerboard"
    )
    for attention in attentions.split(", "):
        found[f"attention {attention}"] = (COLOUR, f"{SHALLOW} attention={attention}")
        found[f"attention {attention}, conditioned"] = (
            GREY,
            f"{SHALLOW} attention={attention} conditioning=image",
        )
    options = (
        "coupling=affine, coupling=additive, coupling=mixlogcdf, "
        "coupling=mixlogcdf coupling.num_components=1, "
        "coupling=mixlogcdf coupling_net=gated_resnet coupling_net.hidden_channels=8, "
        "coupling_net=gated_resnet coupling_net.hidden_channels=8 coupling_net.attention_heads=2, "
        "coupling_net=gated_resnet coupling_net.hidden_channels=8 coupling_net.weight_norm=true, "
        "prior=gaussian, prior=split_gaussian, prior=mar, "
        "dequantization=uniform, dequantization=variational, "
        "conditioning=class, conditioning=image, "
        f"conditioning=class {EVERYWHERE} prior=split_gaussian, "
        f"conditioning=image {EVERYWHERE} prior=mar, "
        "placement=after_actnorm, placement=after_conv1x1, placement=after_coupling, "
        "placement=before_actnorm, placement=level_end, placement=none, placement=several, "
        "model.conv1x1.start=rotation, model.memory=checkpoint, model.memory=reversible"
    )
    for option in options.split(", "):
        overrides = f"{SMALL} model.steps=2 attention=imap {option}"
        found[option] = (COLOUR, overrides)
    return found


def model_config(tree: Path, overrides: str) -> Any:
    """The composed config of a tree, in the spelling that it knows."""
    if not (tree / "conf" / "experiment" / "digits.yaml").exists():
        for new, old in OLD_SPELLINGS.items():
            overrides = overrides.replace(new, old)
    names = [each.partition("=")[0] for each in overrides.split()]
    last = dict(zip(names, overrides.split(), strict=True))
    with initialize_config_dir(str(tree / "conf"), version_base="1.3"):
        config = compose("train", list(last.values()))
    return OmegaConf.to_container(OmegaConf.masked_copy(config, GROUPS), resolve=True)


def first_of(modules: tuple[str, ...], name: str):
    """``name`` from the first of the modules that there is."""
    for module in modules:
        try:
            return getattr(import_module(module), name)
        except ModuleNotFoundError:
            continue
    raise ModuleNotFoundError(f"{name}: expected it in {', '.join(modules)}.")


def fill(model: nn.Module) -> None:
    """Numbers for all parameters and saved buffers, by their order and size alone."""
    generator = torch.Generator().manual_seed(0)
    moved = moved_rows(model)
    with torch.no_grad():
        for parameter in model.parameters():
            scale = min(0.1, parameter.numel() ** -0.5)
            noise = torch.randn(parameter.numel(), generator=generator, dtype=torch.float64)
            order = moved.get(parameter, slice(None))
            values = torch.empty(parameter.numel(), dtype=parameter.dtype)
            values[order] = (scale * noise).to(parameter.dtype)
            parameter.copy_(values.view(parameter.shape))  # in whatever order they lie in memory
        saved = model.state_dict(keep_vars=True)
        for buffer in (value for value in saved.values() if not isinstance(value, nn.Parameter)):
            if buffer.dtype == torch.int64:
                buffer.copy_(torch.randperm(len(buffer), generator=generator))
            elif buffer.is_floating_point():
                signs = torch.randint(2, buffer.shape, generator=generator)
                buffer.copy_(2 * signs - 1)


def moved_rows(model: Any) -> dict[nn.Parameter, Tensor]:
    """Where the entries of b303d23's parameters lie now, if they lie elsewhere.

    A mixture's coupling net gave all parameters of the first channel, then all of the second; now
    it gives the first parameter of all channels, then the second of all.
    """
    found = {}
    for module in model.modules():
        if type(module).__name__ == "MixLogCDFCoupling" and hasattr(module, "map"):
            for parameter in (module.start, *list(module.net.parameters())[-2:]):
                rows = torch.arange(parameter.numel()).view(module.map.num_parameters, -1)
                inner = rows.shape[1] // (len(module.start[0]))
                found[parameter] = rows.unflatten(1, (-1, inner)).transpose(0, 1).flatten()
    return found


def outcome(model: Any, shape: tuple[int, int, int], dtype: torch.dtype) -> dict[str, Tensor]:
    """What a model computes for the same images and noise, and its gradients."""
    model = model.to(dtype).eval()
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(16, (3, *shape), generator=generator)
    batch = {"image": images, "label": torch.arange(3), "condition": images.flip(0, 3)}
    noise = torch.rand(images.shape, generator=generator, dtype=torch.float64).to(dtype)
    bits = model(batch, noise)
    gradients = torch.autograd.grad(bits.sum(), list(model.parameters()), allow_unused=True)
    x = ((images + noise) / 16).to(dtype).requires_grad_()
    log_prob = model.flow.log_prob(x, model.context(batch))
    (of_x,) = torch.autograd.grad(log_prob.sum(), x)
    with torch.no_grad():
        latents = model.flow.encode(x, model.context(batch))
        back = model.flow.decode(latents, model.context(batch))
        drawn = [torch.randn(z.shape, generator=generator, dtype=torch.float64) for z in latents]
        decoded = model.flow.decode([z.to(dtype) for z in drawn], model.context(batch))
        model.initialize(batch, noise)
        initialised = model(batch, noise)
    found = {"bits/dim": bits, "log_prob": log_prob, "gradient of x": of_x, "round trip": back}
    found |= {"decoded": decoded, "bits/dim once initialised": initialised}
    found |= {f"latent {i}": z for i, z in enumerate(latents)}
    moved = moved_rows(model)
    for number, (parameter, gradient) in enumerate(zip(model.parameters(), gradients, strict=True)):
        known = torch.zeros_like(parameter) if gradient is None else gradient
        found[f"gradient {number}"] = known.flatten()[moved.get(parameter, slice(None))]
    return {name: value.detach() for name, value in found.items()}


def record(tree: Path, only: str, path: Path) -> None:
    """Save the outcomes of all cases, by name and type."""
    torch.set_num_threads(1)
    build_model, make_spec = first_of(BUILDERS, "build_model"), first_of(SPECS, "DataSpec")
    found = {}
    for name, (shape, overrides) in cases().items():
        if only not in name:
            continue
        spec = make_spec(shape, 16, num_classes=3, condition_shape=shape, condition_bins=16)
        model = build_model(model_config(tree, overrides), spec)
        found[name, "names"] = [each for each, _ in model.named_parameters()]
        for kind in LIMITS:
            fill(model)
            found[name, kind] = outcome(model, shape, getattr(torch, kind))
    torch.save(found, path)


def compare(
    ours: dict[str, Tensor], reference: dict[str, Tensor], exact: dict[str, Tensor]
) -> list[tuple[float, float, float, str]]:
    """For every tensor: difference / what is allowed, relative and absolute difference, name.

    Args:
        ours, reference: of one model and type.
        exact: the reference in float64.
    """
    if [(n, v.shape) for n, v in ours.items()] != [(n, v.shape) for n, v in reference.items()]:
        return [(torch.inf, torch.inf, torch.inf, "other tensors")]
    gradients = [value for name, value in reference.items() if name.startswith("gradient ")]
    floor = FLOOR * max(float(each.abs().max()) for each in gradients)
    found = []
    for name, expected in reference.items():
        least = floor if name.startswith("gradient ") else 1e-30
        largest = max(float(expected.abs().max()), least)
        difference = float((ours[name] - expected).abs().max())
        rounding = float((expected - exact[name]).abs().max())
        allowed = max(LIMITS[str(expected.dtype).removeprefix("torch.")] * largest, 3 * rounding)
        excess = difference / allowed if torch.isfinite(expected).all() else torch.inf
        found.append((excess, difference / largest, difference, name))
    return found


def table(reference: dict, ours: dict) -> tuple[Table, bool]:
    """One row for each model and type, and whether all of them agree."""
    columns = ("model", "type", "least sure of", "absolute", "relative", "of what is allowed")
    shown, agree = Table(*columns, title="Largest differences"), True
    for (name, kind), expected in reference.items():
        if kind == "names":
            continue
        exact = reference[name, "float64"]
        excess, relative, absolute, where = max(compare(ours[name, kind], expected, exact))
        agree &= excess <= 1
        if where.removeprefix("gradient ").isdigit():
            where = f"gradient of {ours[name, 'names'][int(where.split()[1])]}"
        numbers = (f"{absolute:.1e}", f"{relative:.1e}", f"{excess:.2f}")
        shown.add_row(name, kind, where, *numbers, style=None if excess <= 1 else "red")
    return shown, agree


def recorded(tree: Path, only: str, folder: Path) -> dict:
    """The outcomes of one tree, by its own code in a process of its own."""
    path = folder / f"{len(list(folder.iterdir()))}.pt"
    command = [sys.executable, __file__, "--record", str(path), "--reference", str(tree)]
    environment = os.environ | {"PYTHONPATH": str(tree / "src")}
    subprocess.run([*command, "--only", only], check=True, env=environment, cwd=tree)
    return torch.load(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Same values and gradients as another revision.")
    parser.add_argument("--reference", type=Path, required=True, help="a checkout of it")
    parser.add_argument("--only", default="", help="models whose names hold this")
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.record:
        record(arguments.reference.resolve(), arguments.only, arguments.record)
        return
    with tempfile.TemporaryDirectory() as folder:
        reference, ours = (
            recorded(tree, arguments.only, Path(folder))
            for tree in (arguments.reference.resolve(), ROOT)
        )
    shown, agree = table(reference, ours)
    Console(width=150).print(shown)
    print("all agree" if agree else "some differ")
    sys.exit(0 if agree else 1)


if __name__ == "__main__":
    main()
