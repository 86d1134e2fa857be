"""One training run, from its config to its results."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning import Trainer, seed_everything
from lightning.pytorch.callbacks import (
    Callback,
    LearningRateMonitor,
    ModelCheckpoint,
    ProgressBar,
    Timer,
)
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from attnflow.callbacks.flow_summary import count_parameters
from attnflow.callbacks.legs import Legs
from attnflow.callbacks.opening import Opening
from attnflow.callbacks.plan import PlanCheck
from attnflow.callbacks.resumption import Resumption
from attnflow.callbacks.speed import ImagesPerSecond
from attnflow.cli.run import plain_config
from attnflow.data.counts import image_counts
from attnflow.errors import AttnFlowError
from attnflow.loggers.pictures import log_picture
from attnflow.loggers.tracking import (
    continued,
    finished_wandb,
    log_summary,
    make_loggers,
    named_runs,
    tracked,
)
from attnflow.models.build import build_data, build_model
from attnflow.models.checkpoint import describe, model_state, read_checkpoint
from attnflow.models.image_model import ImageModel
from attnflow.pictures.conditions import chosen_conditions
from attnflow.pictures.samples import class_labels, image_grid
from attnflow.pictures.sheet import pixels, save_picture
from attnflow.runs.finished import early_stopping, reached_ends, read_finished
from attnflow.runs.results import STOPPED_BY, check_finite, print_notes, print_table, write_results
from attnflow.spec import DataSpec
from attnflow.training.checkpoint_io import settle
from attnflow.training.declared import datamodule_of, declared
from attnflow.training.fine_tuning import start_from
from attnflow.training.module import FlowModule
from attnflow.training.progress import whole_epochs
from attnflow.training.resume import (
    Resumed,
    find_best,
    find_checkpoint,
    open_resumed,
)
from attnflow.utils.decoration import decoration
from attnflow.utils.making import make
from attnflow.utils.quiet import quiet_warnings
from attnflow.utils.validation import as_path, check_entry, check_value

__all__ = ["train"]

log = logging.getLogger(__name__)
DEFAULT_PLACEMENTS = ("after_coupling", "after_transformer")  # of conf/train.yaml, of TarFlow


@finished_wandb()
def train(config: DictConfig) -> float:
    """Train, test and write the run directory.

    Returns:
        The best ``val/bpd`` (``val/noisy_bpd`` with Gaussian noise), which sweeps optimise.

    Raises:
        AttnFlowError: bad input, or a loss or bits/dim that are not finite.
    """
    started = time.perf_counter()
    check_value("test", config.test, bool)
    check_value("init_strict", config.init_strict, bool)
    plain = plain_config(config)
    run_dir = Path(config.paths.output_dir)
    seed_everything(config.seed, workers=True, verbose=False)
    warn_of_placed_nothing(plain)
    datamodule = build_data(config.data)
    plain["data"] |= datamodule.settled
    datamodule.to_test = config.test
    model = build_model(plain, datamodule.spec)
    resumed = begin(model, plain, datamodule.spec, run_dir)
    finished = read_finished(run_dir, plain) if resumed else None
    if resumed and finished and resumed.progress.step == finished.step:
        check_finite({f"val/{model.metric}": finished.score})
        rank_zero_only(print)(finished.sentence)
        return finished.score
    before = continued(resumed.held, resumed.path, run_dir) if resumed else {}
    named_loggers = named_runs(config.logger, plain["choices"], before)
    loggers = make_loggers(named_loggers)
    module = FlowModule(
        model,
        optimizer=make(config.optimizer, "optimizer"),
        scheduler=make(config.scheduler, "scheduler"),
        seed=config.seed,
        description=describe(plain, datamodule.spec) | (tracked(named_loggers) or before),
        progress=resumed.progress if resumed else None,
    )
    legs = Legs(started)
    opening = Opening(run_dir, plain | {"params": count_parameters(module)}, resumed)
    with quiet_warnings():
        first = [Resumption(resumed.path)] if resumed else []
        trainer = make_trainer(config, loggers, [*first, legs, opening])
    keepers(trainer, module)  # raises before training, not after it
    opening.hold_loggers(trainer)
    with quiet_warnings():
        path = resumed.path if resumed else None
        trainer.fit(module, datamodule, ckpt_path=path, weights_only=True)
        unwritten = settle(trainer)
        results = load_best(module, trainer)
        if config.test:
            trainer.test(module, datamodule, verbose=False)
            figures = trainer.callback_metrics.items()
            results |= {name: float(v) for name, v in figures if name.startswith("test/")}
            results["test/step"] = results["val/step"]
    if datamodule.entropy is not None:
        results["data/entropy_bpd"] = datamodule.entropy
    results |= image_counts(datamodule, trainer)
    results |= totals(module, trainer, legs)
    if unwritten:
        results["unwritten_checkpoints"] = 1
    if trainer.is_global_zero:
        print_table(results)
        log_summary(loggers, results)
        finish(module, run_dir, results | stopped_early(results, plain), plain, trainer)
    check_finite(results)
    if unwritten:
        raise AttnFlowError(f"{unwritten}; the figures are those of step {results['val/step']}.")
    return results[f"val/{model.metric}"]


def begin(model: ImageModel, plain: Mapping, spec: DataSpec, run_dir: Path) -> Resumed | None:
    """Find what the config goes on with (``resume``), or give the model weights (``init_from``).

    Raises:
        AttnFlowError: there is nothing to start from, or it does not fit.
    """
    resume, init_from = (
        None if plain[name] is None else as_path(name, plain[name])
        for name in ("resume", "init_from")
    )
    if init_from is not None and resume not in (None, "auto"):
        raise AttnFlowError(
            f"resume is {resume!r} and init_from is {init_from!r}; expected one of them, or "
            "resume=auto with init_from, which is for the first start."
        )
    path = find_checkpoint(resume, run_dir)
    if path:
        return open_resumed(path, model, plain, spec)
    if init_from is not None:
        start_from(model, find_best(init_from), plain, plain["init_strict"])
    return None


def totals(module: FlowModule, trainer: Trainer, legs: Legs) -> dict[str, float | int]:
    """Sizes, lengths and speed of a run, over all its legs."""
    callbacks = declared(trainer).callbacks
    rate = next((c.rate for c in callbacks if isinstance(c, ImagesPerSecond)), None)
    timer = next((c for c in callbacks if isinstance(c, Timer)), None)  # of trainer.max_time
    return {
        "params": count_parameters(module),
        **({} if rate is None else {"images_per_second": rate}),
        **({} if timer is None else {"train/seconds": timer.time_elapsed()}),
        "epochs": whole_epochs(trainer),
        "steps": trainer.global_step,
        "legs": legs.number,
        "wall_seconds": legs.wall_seconds,
    }


def stopped_early(results: Mapping, plain: Mapping) -> dict[str, str]:
    """What early stopping ended a training before any other end, if one did."""
    stopped = early_stopping(plain["callbacks"])
    seconds = results.get("train/seconds")
    ends = reached_ends(plain["trainer"], results["epochs"], results["steps"], seconds)
    if ends or not stopped:
        return {}
    log.info("Stopped after %s steps by %s.", results["steps"], stopped)
    return {STOPPED_BY: stopped}


def warn_of_placed_nothing(plain: Mapping) -> None:
    """Say so where a placement was chosen, but no attention to place."""
    placement = plain["choices"].get("placement")
    if plain["attention"] is None and placement not in (*DEFAULT_PLACEMENTS, "none"):
        log.warning(
            "placement=%s has no effect with attention=none; attention=imap, say, gives it one to "
            "place.",
            placement,
        )


def make_trainer(
    config: DictConfig, loggers: Sequence[Logger], first: Sequence[Callback] = ()
) -> Trainer:
    """The Lightning trainer with the config's callbacks after ``first``; null ones are left out.

    Metrics come before the weight averaging, which takes the averaged weights away again.
    """
    for name, entry in config.callbacks.items():
        if entry:
            check_entry(f"callbacks.{name}", entry)
    entries = {"metrics": config.metrics}
    entries |= {f"callbacks.{name}": entry for name, entry in config.callbacks.items()}
    splits = ("train", "val", "test") if config.test else ("train", "val")
    made = (make(entry, place) for place, entry in entries.items() if entry)
    callbacks: list[Callback] = [*first, *made, PlanCheck(splits)]
    if not loggers:  # nowhere for the rate to be written to, which its monitor calls an error
        callbacks = [c for c in callbacks if not isinstance(c, LearningRateMonitor)]
    # Lightning adds its own progress bar where the config leaves it out, unless told not to.
    bar = any(isinstance(c, ProgressBar) for c in callbacks)
    given = {"callbacks": callbacks, "logger": loggers, "enable_progress_bar": bar}
    return make(config.trainer, "trainer", **given)


def keepers(trainer: Trainer, module: FlowModule) -> list[ModelCheckpoint]:
    """The callbacks that keep the checkpoint of the best ``val/bpd``; at least one.

    Of a model of noisy images it is the best ``val/noisy_bpd``.

    Raises:
        AttnFlowError: there is none, so training would end with nothing to test or to report; one
            keeps the weights alone, without the val/bpd that they are reported with; or one would
            write several under one name.
    """
    score = f"val/{module.model.metric}"
    found = [
        callback
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, ModelCheckpoint)
        and (callback.monitor, callback.mode) == (score, "min")
    ]
    if not found:
        raise AttnFlowError(
            f"callbacks.checkpoint: expected a ModelCheckpoint that monitors {score}, mode min, "
            "got none, so there would be nothing to test or to report."
        )
    for callback in found:
        check_keeper(callback)
        check_names(callback)
    return found


def check_keeper(callback: ModelCheckpoint) -> None:
    """Raise :class:`AttnFlowError` where a figure would be kept apart from its weights."""
    if callback.save_weights_only:
        raise AttnFlowError(
            "callbacks.checkpoint.save_weights_only: expected false, as the checkpoint of the best "
            "val/bpd holds that figure beside its weights, got true."
        )
    turns = {
        "every_n_train_steps": callback._every_n_train_steps,
        "train_time_interval": callback._train_time_interval,
        "save_on_train_epoch_end": callback._save_on_train_epoch_end,
    }
    for name, value in turns.items():
        if value:  # it would save the weights of one step with the val/bpd of an earlier one
            raise AttnFlowError(
                f"callbacks.checkpoint.{name}: expected none, as the checkpoint of the best "
                f"val/bpd is written when that is measured, got {value}."
            )


def check_names(keeper: ModelCheckpoint) -> None:
    """Raise :class:`AttnFlowError` where a worse checkpoint could take the best one's name."""
    if keeper.save_top_k not in (0, 1) and "{step" not in (keeper.filename or "{step}"):
        raise AttnFlowError(
            f"callbacks.checkpoint.save_top_k: expected 1 of checkpoints that are all called "
            f"{keeper.filename!r}, got {keeper.save_top_k}; a callbacks.checkpoint.filename with "
            "{step} in it gives each a name of its own."
        )


def best_checkpoint(trainer: Trainer, module: FlowModule) -> str:
    """The path of the checkpoint of the best ``val/bpd``; empty where none was kept."""
    paths = (callback.best_model_path for callback in keepers(trainer, module))
    return next((path for path in paths if path), "")


def load_best(module: FlowModule, trainer: Trainer) -> dict[str, float | int]:
    """Put the best checkpoint's averaged weights, those that eval.py reads, into the module.

    Lightning's own loading would bring back the weights that training goes on from. Where no
    checkpoint was kept, or the one that was kept is gone, the module has the averaged weights of
    the last step.

    Returns:
        ``val/bpd`` and ``val/step`` of these very weights.

    Raises:
        AttnFlowError: no checkpoint was kept, and nothing was validated.
    """
    reason, name = "no checkpoint was kept", f"val/{module.model.metric}"
    if declared(trainer).fast_dev_run:
        reason += ", as trainer.fast_dev_run keeps none"
    if path := best_checkpoint(trainer, module):
        try:
            checkpoint = read_checkpoint(path)
        except AttnFlowError as error:  # deleted or damaged while training
            reason = str(error).rstrip(".")
        else:
            module.model.load_state_dict(model_state(checkpoint))
            return {name: validation_score(checkpoint, name), "val/step": checkpoint["global_step"]}
    if name not in trainer.callback_metrics:
        raise AttnFlowError(
            "training: expected one step or more, got no validation, so there is nothing to test "
            "or to report."
        )
    log.warning(
        "%s; figures are those of the weights that training ended with, at step %d.",
        reason,
        trainer.global_step,
    )
    return {
        name: float(trainer.callback_metrics[name]),
        "val/step": trainer.global_step,
    }


def validation_score(checkpoint: Mapping, name: str) -> float:
    """The ``val/bpd`` of a checkpoint's own weights, which its keeper wrote into it by its name."""
    states = checkpoint["callbacks"].values()
    return float(next(s["current_score"] for s in states if s.get("monitor") == name))


def finish(
    module: FlowModule,
    run_dir: Path,
    results: Mapping[str, float | int | str],
    plain: Mapping,
    trainer: Trainer,
) -> None:
    """Write results.json, draw the final samples and print where they lie."""
    path = write_results(run_dir, {**results, "seed": plain["seed"], **plain["choices"]})
    best = best_checkpoint(trainer, module)
    notes = {"results": path, "best checkpoint": best if Path(best).is_file() else "none"}
    picture = run_dir / "samples" / "final.png"
    with decoration(f"picture {picture.name}"):
        model = module.model.eval()
        number, conditions = chosen_conditions(model, datamodule_of(trainer).dataset("val"), 64)
        images = model.sample(number, conditions)
        title = f"{number} samples of the best weights, those of step {results['val/step']}"
        grid = image_grid(images, model.num_bins, title, class_labels(conditions))
        notes["samples"] = save_picture(grid, picture, formats_of(plain))
        with decoration(f"picture {picture.name} in the loggers"):
            log_picture(trainer.loggers, "final", pixels(grid), trainer.global_step, title)
    print_notes(notes)


def formats_of(config: Mapping) -> Sequence[str]:
    """The formats of the samples' pictures, which their callback is given."""
    callback = (config.get("callbacks") or {}).get("pictures") or {}
    return callback.get("formats", ("png",))
