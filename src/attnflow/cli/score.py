"""Every image's bits/dim under a trained model, and what tells other images from them."""

from __future__ import annotations

import csv
import io
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from attnflow.cli.checkpoints import named_checkpoint, trusted
from attnflow.cli.conditions import check_taken
from attnflow.cli.evaluated_data import evaluated_data, is_other_data, is_own_data, other_data
from attnflow.cli.scored import FittedImages, LabelledImages, Scored, SplitImages
from attnflow.data.given import given_images
from attnflow.errors import AttnFlowError, check_count
from attnflow.flows.base import Shape
from attnflow.flows.inputs import as_labels
from attnflow.metrics.images import batches, cut_padding, spread, to_uint8
from attnflow.metrics.outliers import detection
from attnflow.metrics.scores import Scores, codec_bits_per_dim, score_images
from attnflow.models.checkpoint import KEY, load_model, read_checkpoint
from attnflow.models.conditioning import ClassConditioning
from attnflow.models.image_model import ImageModel
from attnflow.pictures.histogram import histogram
from attnflow.pictures.sheet import save_picture
from attnflow.runs.results import print_notes, print_table
from attnflow.training.same_images import changed_test_images
from attnflow.utils.devices import chosen_device
from attnflow.utils.files import write_whole
from attnflow.utils.noise import NO_EPOCH, sample_keys, uniform_noise
from attnflow.utils.sentences import named
from attnflow.utils.validation import as_path

__all__ = ["score"]

log = logging.getLogger(__name__)

# Images of the validation split that tell what is typical.
REFERENCE = 1000


@dataclass(frozen=True)
class Scorer:
    """A model that scores images as eval.py tests them.

    Attributes:
        path: of the checkpoint.
        model: in eval mode.
        seed: of its training, which the noise within a grey value belongs to.
        config: the command's.
        held: the checkpoint's own description.
    """

    path: Path
    model: ImageModel
    seed: int
    config: DictConfig
    held: Mapping[str, Any]

    def scores(self, images: Scored, numbers: Sequence[int] | None = None) -> Scores:
        """The scores of all images, or of some."""
        parts = []
        for batch, index in self.batches(images, numbers):
            parts.append(score_images(self.model, batch, self.noise(index, 0)))
        return Scores.joined(parts)

    def importance(self, images: Scored) -> Tensor:
        """The importance-weighted bits/dim of every image."""
        parts = []
        for batch, index in self.batches(images):
            noises = [self.noise(index, k) for k in range(self.config.importance_samples)]
            with torch.no_grad():
                parts.append(self.model.importance_bits_per_dim(batch, noises))
        return torch.cat(parts)

    @property
    def own(self) -> str:
        """The user's folder of data."""
        return self.config.paths.data_dir

    @property
    def shape(self) -> Shape:
        """Of an image without what training pads it by."""
        return self.model.unpadded_shape or self.model.image_shape

    def codec(self, images: Scored) -> Tensor:
        """What lossless codecs take for every image, in bits/dim."""
        parts = []
        for batch, _ in self.batches(images):
            pixels = to_uint8(cut_padding(batch["image"], self.shape), self.model.num_bins)
            parts.append(codec_bits_per_dim(pixels))
        return torch.cat(parts)

    def batches(self, images: Scored, numbers: Sequence[int] | None = None):
        """Batches where the model is, each with the images' numbers."""
        device = next(self.model.parameters()).device
        chosen = range(len(images.names)) if numbers is None else numbers
        for rows in batches(chosen, self.config.batch_size):
            batch = {name: values.to(device) for name, values in images.batch(rows).items()}
            yield batch, torch.tensor(rows, device=device)

    def noise(self, index: Tensor, draw: int) -> Tensor:
        keys = sample_keys(self.seed, NO_EPOCH - draw, index)
        return uniform_noise(keys, self.model.image_shape)

    def given(self, option: str) -> Scored:
        """The images of an option that names a folder or a file.

        Raises:
            AttnFlowError: none, of another kind, or without a label that the model needs.
        """
        path = as_path(option, self.config[option])
        model = self.model
        images = given_images(option, path, self.shape, model.num_bins, self.config.resize)
        return LabelledImages(images, model.image_shape, self.label_of(option, path))

    def label_of(self, option: str, told: object) -> Tensor | None:
        """The class of images that have none; None where the model asks for none."""
        conditioning = self.model.conditioning
        if conditioning is None:
            return None
        if not isinstance(conditioning, ClassConditioning) or self.config.label is None:
            raise AttnFlowError(
                f"{option}: expected a data set, as in data=NAME, as this model's images go with a "
                f"{conditioning.field}, or label=CLASS for a model of classes, got {told}."
            )
        return as_labels(self.config.label, 1, conditioning.num_classes)

    def split(self, changes: Mapping, split: str = "test") -> SplitImages:
        """A split of the checkpoint's data, with these options changed.

        Raises:
            AttnFlowError: test images that may have been trained on, which no option names.
        """
        spec, held = self.held["data_spec"], self.held["config"]["data"]
        data = evaluated_data(held, spec, changes, self.own)
        if split == "test" and is_own_data(changes):
            said = changed_test_images(self.held, data, self.path)
            if said is not None:
                log.warning("%s", said)
        return SplitImages(data, split)

    def other(self, option: str, data: Mapping) -> Scored:
        """The test images of another data set, with ``resize`` made to fit the model's."""
        if not self.config.resize:
            with named(f"{option} (resize=true makes other images fit)"):
                spec = self.held["data_spec"]
                return SplitImages(evaluated_data({}, spec, data, self.own), "test")
        model, images = self.model, SplitImages(other_data(data), "test")
        classes = images.data.spec.num_classes
        has_labels = classes is not None and classes == self.held["data_spec"]["num_classes"]
        label = None if has_labels else self.label_of(option, data["_target_"])
        return FittedImages(images, self.shape, model.image_shape, model.num_bins, label)


def score(config: DictConfig) -> float:
    """Score images; writes a CSV, and a JSON and a histogram beside it.

    Returns:
        The mean bits/dim.

    Raises:
        AttnFlowError: an option of another kind, images that are none of the model's, or a table
            that is there already.
    """
    started = time.perf_counter()
    out = out_file(config)
    check_count("batch_size", config.batch_size)
    check_count("importance_samples", config.importance_samples)
    scorer = make_scorer(config)
    check_used(config, scorer.model)
    known = known_of(scorer)
    others = others_of(scorer)
    scores = scorer.scores(known)
    columns = {"name": known.names, **scores.columns()}
    if config.importance_samples > 1:
        columns["bpd_importance"] = scorer.importance(known).tolist()
    results = {
        "images": len(known.names),
        "bpd": float(scores.bits.double().mean()),
        "bpd_std_err": standard_error(scores.bits),
    }
    curves = {"scored": scores.bits}
    if others is not None:
        of_others = scorer.scores(others)
        results |= {"against_images": len(others.names)}
        results |= {"against_bpd": float(of_others.bits.double().mean())}
        results |= told_apart(scorer, known, others, scores.bits, of_others.bits)
        curves["against"] = of_others.bits
    write_table(out, columns)
    results["wall_seconds"] = time.perf_counter() - started
    told = {"checkpoint": str(scorer.path), "images_of": str(source(config)), **results}
    summary = write_whole(out.with_suffix(".json"), json.dumps(told, indent=2) + "\n")
    title = "Bits/dim of single images, under the same model"
    picture = save_picture(histogram(curves, "bits/dim", title), out.with_suffix(".png"))
    print_table(results)
    print_notes({"scores": out, "summary": summary, "histogram": picture})
    return results["bpd"]


def standard_error(bits: Tensor) -> float | None:
    """Of a mean; None of a single value's."""
    return None if len(bits) == 1 else float(bits.double().std() / len(bits) ** 0.5)


def make_scorer(config: DictConfig) -> Scorer:
    """The model of the command's checkpoint, where it is to run."""
    path = named_checkpoint(config)
    checkpoint = read_checkpoint(path)
    model = load_model(checkpoint, path, trusted(config.trust)).to(chosen_device(config.device))
    if model.metric != "bpd":
        raise AttnFlowError(
            f"ckpt_path: expected a model of dequantized images, which has bits/dim, got {path}, "
            "a model of images with Gaussian noise."
        )
    return Scorer(path, model, checkpoint[KEY]["config"]["seed"], config, checkpoint[KEY])


def check_used(config: DictConfig, model: ImageModel) -> None:
    """Raise :class:`AttnFlowError` for an option that would change nothing."""
    check_taken(config, ("label",), model)
    given = config.images is not None or config.against is not None
    if config.label is not None and not given:
        raise AttnFlowError(
            "label: expected null without images or against, as the images of a data set have "
            f"labels of their own, got {config.label}."
        )
    if config.resize and not given and not is_other_data():
        raise AttnFlowError(
            "resize: expected false for the checkpoint's own images, which fit the model, got true."
        )


def out_file(config: DictConfig) -> Path:
    """The table's path; raises :class:`AttnFlowError` where there is one."""
    out = Path(as_path("out", config.out)).absolute()
    if out.suffix != ".csv":
        raise AttnFlowError(f"out: expected a file name that ends with .csv, got {out}.")
    written = [out.with_suffix(suffix) for suffix in (".csv", ".json", ".png")]
    there = [path.name for path in written if path.exists()]
    if there and not config.overwrite:
        raise AttnFlowError(
            f"out: expected a name that is not taken, or overwrite=true, got {out}, beside which "
            f"{' and '.join(there)} lie."
        )
    return out


def known_of(scorer: Scorer) -> Scored:
    """The images that are scored."""
    config = scorer.config
    if config.images is not None:
        if any(value is not None for value in config.data.values()):
            raise AttnFlowError(
                "images: expected null beside options of data, as one of them says what is scored, "
                f"got {config.images}."
            )
        return scorer.given("images")
    return scorer.other("data", config.data) if is_other_data() else scorer.split(config.data)


def others_of(scorer: Scorer) -> Scored | None:
    """What is told apart from the scored images; None for nothing."""
    against = scorer.config.against
    if against is None:
        return None
    if isinstance(against, str):
        images = scorer.config.images
        if images is not None and Path(against).resolve() == Path(images).resolve():
            raise AttnFlowError(
                f"against: expected other images than those of images, got {against}."
            )
        return scorer.given("against")
    return scorer.other("against", against)


def source(config: DictConfig) -> object:
    """What the scored images are, for the summary."""
    if config.images is not None:
        return Path(config.images).absolute()
    return config.data._target_ if is_other_data() else "test images of the checkpoint"


def told_apart(
    scorer: Scorer, known: Scored, others: Scored, bits: Tensor, other_bits: Tensor
) -> dict[str, float]:
    """How well each score tells other images from the known ones.

    The scores are bits/dim; their distance from those of validation images (typicality: Nalisnick
    et al., 2019, of single images); and bits/dim minus a codec's (Serra et al., 2020).
    """
    typical = typical_bits(scorer, bits)
    codecs = scorer.codec(known), scorer.codec(others)
    pairs = {
        "bpd": (bits, other_bits),
        "typicality": ((bits - typical).abs(), (other_bits - typical).abs()),
        "complexity": (bits.cpu() - codecs[0], other_bits.cpu() - codecs[1]),
    }
    return {
        f"{name}/{figure}": value
        for name, pair in pairs.items()
        for figure, value in detection(*pair).items()
    }


def typical_bits(scorer: Scorer, bits: Tensor) -> Tensor:
    """The mean bits/dim of validation images, or where there are none that of the scored ones."""
    try:
        images = scorer.split({}, "val")
        numbers = spread(len(images.names), REFERENCE)
        return scorer.scores(images, numbers).bits.mean()
    except AttnFlowError as error:
        log.warning("what is typical is told by the scored images themselves: %s", error)
        return bits.mean()


def write_table(path: Path, columns: Mapping[str, Sequence[object]]) -> None:
    """Write columns as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    write_whole(path, text.getvalue())
