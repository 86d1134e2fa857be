"""One evaluation of a checkpoint: figures and pictures."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer, seed_everything
from lightning.pytorch.loggers import Logger
from matplotlib.figure import Figure
from omegaconf import DictConfig

from attnflow.callbacks.flow_summary import count_parameters
from attnflow.callbacks.held_out import HeldOutImages
from attnflow.callbacks.plan import PlanCheck
from attnflow.callbacks.scoring_rate import ScoringRate
from attnflow.callbacks.soundness import Soundness
from attnflow.cli.checkpoints import named_checkpoint, run_folder, trusted
from attnflow.cli.evaluated_data import (
    changed_options,
    check_classes,
    class_frequencies,
    evaluated_data,
    is_other_data,
    is_own_data,
)
from attnflow.cli.run import plain_config
from attnflow.data.base import ImageDataModule
from attnflow.data.counts import image_counts
from attnflow.data.training_images import training_images
from attnflow.loggers.pictures import log_picture
from attnflow.loggers.tracking import finished_wandb, make_loggers, named_runs
from attnflow.metrics.conditional import (
    agreement_with_labels,
    bayes_rule,
    fidelity_to_truth,
    shuffled_bits_per_dim,
)
from attnflow.metrics.images import batches, fetch, spread
from attnflow.models.build import with_references
from attnflow.models.checkpoint import KEY, is_averaged, load_model, read_checkpoint
from attnflow.models.conditioning import ClassConditioning
from attnflow.models.groups import MODEL_GROUPS
from attnflow.models.image_model import Batch
from attnflow.pictures.gallery import Evaluated, check_options, draw
from attnflow.pictures.sheet import pixels
from attnflow.runs.results import check_finite, print_notes, print_table, write_results
from attnflow.training.module import FlowModule
from attnflow.utils.decoration import decoration
from attnflow.utils.making import make
from attnflow.utils.quiet import quiet_warnings
from attnflow.utils.sentences import named

__all__ = ["evaluate"]

log = logging.getLogger(__name__)


@finished_wandb()
def evaluate(config: DictConfig) -> float:
    """Test a checkpoint on its own data, or on other images; writes results.json and PNGs.

    Returns:
        ``test/bpd``, or ``test/noisy_bpd`` of a model of noisy images.

    Raises:
        AttnFlowError: no checkpoint, one that cannot be read, an unknown picture, or bits/dim
            that are not finite.
    """
    started = time.perf_counter()
    check_options(config.eval)
    ckpt_path = named_checkpoint(config)
    checkpoint = read_checkpoint(ckpt_path)
    held, run_id = checkpoint[KEY]["config"], checkpoint[KEY].get("wandb_id")
    check_classes(held["data"], config.data)
    # Options given on the command line come from the user, and are trusted as any config is.
    own = [key for key, value in config.data.items() if value is not None]
    held["data"] = {key: value for key, value in held["data"].items() if key not in own}
    if is_other_data():
        on_other_data(held, config)
    model = load_model(checkpoint, ckpt_path, trusted(config.trust))
    if config.eval.guidance is not None:
        model.guide(config.eval.guidance)
    if not is_averaged(checkpoint):
        log.warning(
            "checkpoint %s holds no averaged (EMA) weights; its plain weights are evaluated.",
            ckpt_path,
        )
    seed_everything(config.seed, workers=True, verbose=False)
    with named(f"the data of checkpoint {ckpt_path}"):
        spec, own = checkpoint[KEY]["data_spec"], config.paths.data_dir
        datamodule = evaluated_data(held["data"], spec, config.data, own)
    module = FlowModule(model, seed=held["seed"], importance_samples=config.eval.importance_samples)
    rate = ScoringRate()
    callbacks = [PlanCheck(), rate, Soundness(config.eval.num_sound, seed=config.seed)]
    callbacks += [make(config.metrics, "metrics")] if config.metrics else []
    callbacks += [HeldOutImages(checkpoint[KEY], ckpt_path)] if is_own_data(config.data) else []
    run_dir = run_folder(ckpt_path)
    loggers = make_loggers(named_runs(config.logger, held["choices"], evaluated=run_dir.name))
    with quiet_warnings():
        trainer = make(
            config.trainer,
            "trainer",
            callbacks=callbacks,
            logger=loggers,
            enable_checkpointing=False,
        )
        for logger in loggers:
            # The training is found by its model and choices, and by the id of its W&B run.
            trained = {key: held.get(key) for key in (*MODEL_GROUPS, "data", "seed", "choices")}
            told = with_references(plain_config(config) | trained) | {"trained_as": run_id}
            logger.log_hyperparams(told)
        trainer.test(module, datamodule, verbose=False)
    results = {
        **{name: float(value) for name, value in trainer.callback_metrics.items()},
        "test/step": checkpoint["global_step"],
        "params": count_parameters(module),
        "images_per_second": image_counts(datamodule, trainer)["data/test_images"] / rate.seconds,
    }
    if datamodule.entropy is not None:
        results["data/entropy_bpd"] = datamodule.entropy
    output_dir = Path(config.paths.output_dir)
    if trainer.is_global_zero:
        datamodule.trainer = None  # from here on, this rank alone reads all of the images
        results |= conditional_figures(module, datamodule, config.eval)
        subject = Evaluated(module.model.eval(), datamodule, config.eval, run_dir)
        results |= subject.figures
        # The figures are written first; the pictures are drawn once they are safe.
        results |= image_counts(datamodule, trainer) | {
            "wall_seconds": time.perf_counter() - started
        }
        print_table(results)
        path = write_results(output_dir, {**held["choices"], **results})
        pictures = draw(subject, output_dir / "samples")
        log_evaluation(loggers, results, pictures, trainer)
        first = config.eval.formats[0]
        drawn = {name: output_dir / "samples" / f"{name}.{first}" for name in pictures}
        print_notes({"results": path} | drawn)
    check_finite(results)
    return results[f"test/{model.metric}"]


def on_other_data(held: dict[str, Any], config: DictConfig) -> None:
    """Have an evaluation say which data set it is of, in place of the checkpoint's own.

    Args:
        held: the checkpoint's config, of which ``data`` and its choice are replaced.
        config: the evaluation's, from which the picture is dropped that needs the training images.
    """
    chosen = plain_config(config)
    held["data"] = changed_options(chosen["data"])
    held["choices"] = {**held["choices"], "data": chosen["choices"]["data"]}
    if "neighbours" in config.eval.pictures:
        log.info(
            "the picture neighbours is left out: it is of the data that the model was trained on."
        )
        config.eval.pictures = [name for name in config.eval.pictures if name != "neighbours"]


def log_evaluation(
    loggers: Sequence[Logger],
    results: Mapping[str, float | int],
    pictures: Mapping[str, Figure],
    trainer: Trainer,
) -> None:
    """Give the loggers the pictures and what testing has not logged by itself."""
    for logger in loggers:
        logger.log_metrics({k: v for k, v in results.items() if k not in trainer.logged_metrics}, 0)
    for name, picture in pictures.items():
        with decoration(f"picture {name} in the logger"):
            log_picture(loggers, name, pixels(picture), 0)


@torch.no_grad()
def conditional_figures(
    module: FlowModule, datamodule: ImageDataModule, options: DictConfig
) -> dict[str, float]:
    """Measure how well a conditional model uses its conditions; empty for an unconditional one."""
    model = module.model.eval()
    if model.conditioning is None:
        return {}
    tested = list(datamodule.test_dataloader())
    shuffled = f"test/{model.metric}_shuffled_condition"
    figures = {shuffled: shuffled_bits_per_dim(module, tested)}
    if isinstance(model.conditioning, ClassConditioning):
        images = training_images(datamodule, "test/bayes_accuracy")
        if images is not None:
            frequencies = class_frequencies(images, model.conditioning.num_classes)
            figures["test/bayes_accuracy"] = bayes_rule(module, tested, frequencies)
    else:
        given = conditions_to_draw(datamodule, options.num_conditions, module.device)
        fidelity = fidelity_to_truth(model, given, options.samples_per_condition, 1.0)
        if options.segmenter:
            segmenter = make(options.segmenter, "eval.segmenter")
            fidelity |= agreement_with_labels(model, given, segmenter)
        figures |= {f"test/{name}": value for name, value in fidelity.items()}
    return figures


def conditions_to_draw(datamodule: ImageDataModule, n: int, device: torch.device) -> list[Batch]:
    """Up to ``n`` test images with their conditions, spread over the split, in batches."""
    dataset = datamodule.dataset("test")
    numbers = batches(spread(len(dataset), n), datamodule.global_batch_size)
    return [fetch(dataset, rows, device) for rows in numbers]
