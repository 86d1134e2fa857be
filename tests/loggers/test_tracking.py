"""What trackers are given; W&B works without a network, and its own files are read back."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from conftest import TINY, results
from four_steps import train_four_steps
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from omegaconf import OmegaConf
from refusals import refused
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.optim import Adam
from torchvision.io import decode_image
from wandb.proto.wandb_internal_pb2 import Record

from attnflow import AttnFlowError
from attnflow.callbacks.gradient_norm import GradientNorm
from attnflow.data import DigitsDataModule, TensorImages
from attnflow.loggers.tracking import named_runs, sheltered
from attnflow.models.checkpoint import KEY, read_checkpoint


def chunks(data: bytes) -> Iterator[bytes]:
    """The records of a .wandb file: LevelDB's log format after a 7-byte header.

    Blocks of 32 KiB hold fragments: checksum (4 bytes), length (2), kind (1), data; kind is
    1 for a whole record, 2, 3 and 4 for the first, a middle and the last part of one.
    """
    position, record = 7, b""
    while position < len(data):
        room = 32768 - position % 32768
        if room < 7:
            position += room
            continue
        length, kind = struct.unpack_from("<HB", data, position + 4)
        record += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


@dataclass
class Part:
    """One .wandb file: what a process wrote of a run.

    Attributes:
        run: the run's id, name, group, job type, project and tags.
        config: first-level keys to values.
        rows: every logged row, flat.
        summary: the last value of every name, flat.
        artifacts: names of the files logged as artifacts.
        axes: which figures are drawn over which other one.
        whole: whether the process's last word is in the file.
    """

    run: object = None
    config: dict = field(default_factory=dict)
    rows: list[dict] = field(default_factory=list)
    summary: dict = field(default_factory=dict)
    artifacts: list[str] = field(default_factory=list)
    axes: dict[str, str] = field(default_factory=dict)
    whole: bool = False

    def values(self, name: str) -> dict[int, object]:
        """A figure by the step that it was logged at."""
        return {row["trainer/global_step"]: row[name] for row in self.rows if name in row}


def flat(items) -> dict:
    """Key-value records as a dict, names of several levels joined by a slash."""
    return {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items}


def read_part(path: Path) -> Part:
    """What a .wandb file holds."""
    part = Part()
    for chunk in chunks(path.read_bytes()):
        record = Record.FromString(chunk)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            part.run = record.run
            part.config |= flat(record.run.config.update)
        elif kind == "config":
            part.config |= flat(record.config.update)
        elif kind == "history":
            part.rows.append(flat(record.history.item))
        elif kind == "summary":
            part.summary |= flat(record.summary.update)
        elif kind == "metric" and record.metric.step_metric:
            part.axes[record.metric.glob_name] = record.metric.step_metric
        elif kind == "artifact":
            part.artifacts += [entry.path for entry in record.artifact.manifest.contents]
        part.whole |= kind == "exit"
    return part


def parts(*run_dirs: Path) -> list[Part]:
    """The W&B files of run directories, in this order, once they are written to their end.

    A process of W&B's own writes them, which may still be at it when the run is over.
    """
    deadline = time.monotonic() + 60
    while True:
        found = [
            [read_part(path) for path in sorted((d / "wandb").glob("offline-run-*/run-*.wandb"))]
            for d in run_dirs
        ]
        if all(held and all(part.whole for part in held) for held in found):
            return [part for held in found for part in held]
        assert time.monotonic() < deadline, "W&B has not finished its files"
        time.sleep(0.1)


def column(folder: Path, name: str) -> dict[int, float]:
    """A figure of the CSV logger's file by its step."""
    with (folder / "metrics.csv").open() as file:
        return {int(row["step"]): float(row[name]) for row in csv.DictReader(file) if row[name]}


@pytest.fixture
def few_images(monkeypatch) -> None:
    """Four digits to validate and four to test: Inception takes a fifth of a second an image."""
    read = DigitsDataModule.read

    def read_few(self, split: str) -> TensorImages:
        fields, few = read(self, split).fields, 3 * 64 if split == "train" else 4
        return TensorImages(**{name: rows[:few] for name, rows in fields.items()})

    monkeypatch.setattr(DigitsDataModule, "read", read_few)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:metrics.num_samples")
def test_a_resumed_training_is_one_wandb_run(train, few_images, inception_weights) -> None:
    """Figures, pictures and checkpoints of an offline run, before and after it was resumed."""
    arguments = [
        "logger=wandb",
        "logger.wandb.tags=[paper, tiny]",
        "logger.wandb.log_model=true",
        "callbacks.pictures.every_n_epochs=1",
        "callbacks.attention.every_n_epochs=1",
        "metrics=inception",
        f"metrics.extractor.weights_path={inception_weights}",
        "metrics.measures=[frechet]",
        "metrics.num_samples=4",
        "metrics.num_samples_val=4",
        "metrics.every_n_epochs=1",
    ]
    first = train(*arguments, "trainer.max_epochs=1")
    second = train(*arguments, f"resume={first}")
    before, after = parts(first, second)
    assert before.run.run_id == after.run.run_id
    for part in (before, after):
        assert part.run.display_name == "imap-after_coupling"
        assert part.run.job_type == "train"
        assert list(part.run.tags) == ["paper", "tiny"]
        assert part.config["choices"]["attention"] == "imap"
        assert part.config["model"]["levels"] == 2
        assert part.artifacts
        assert part.axes == {"*": "trainer/global_step"}
    for name in ("val/bpd", "val/fid"):
        assert list(before.values(name)) == [2], name
        assert list(after.values(name)) == [5], name
    for name in ("train/bpd", "train/grad_norm", "lr-AdamW"):
        assert list(before.values(name)) == [0, 1, 2], name
        assert list(after.values(name)) == [3, 4, 5], name
    for part, run_dir in ((before, first), (after, second)):
        assert len(part.values("samples/_type")) == len(part.values("attention/_type")) == 1
        (picture,) = (run_dir / "wandb").rglob("media/images/samples*.png")
        assert decode_image(str(picture)).float().std() > 10  # not blank
        figures = results(run_dir)
        for name in ("val/bpd", "test/bpd", "test/fid", "params", "wall_seconds"):
            assert part.summary[name] == pytest.approx(figures[name]), name
        assert len(part.values("images_per_second")) == 1


@pytest.mark.slow
def test_the_jobs_of_a_sweep_share_a_group(train) -> None:
    sweep = train("hydra.mode=MULTIRUN", "debug=fast", "logger=wandb", "attention=none,itrans")
    itrans, none = sorted(parts(sweep / "0", sweep / "1"), key=lambda part: part.run.display_name)
    assert itrans.run.display_name == "itrans-after_coupling-1"
    assert none.run.display_name == "none-0"
    assert none.run.run_group == itrans.run.run_group == sweep.name
    assert none.run.run_id != itrans.run.run_id


@pytest.mark.slow
def test_a_job_of_a_sweep_is_resumed_alone_as_its_own_wandb_run(train) -> None:
    options = ["logger=wandb", "test=false"]
    sweep = train("hydra.mode=MULTIRUN", *options, "trainer.max_epochs=1", "seed=0,1")
    alone = train(*options, "trainer.max_epochs=2", "seed=1", f"resume={sweep}/1")
    zeroth, first, after = parts(sweep / "0", sweep / "1", alone)
    assert after.run.run_id == first.run.run_id != zeroth.run.run_id
    assert after.run.display_name == first.run.display_name == "imap-after_coupling-1"
    assert after.run.run_group == first.run.run_group == sweep.name
    assert max(first.values("val/bpd")) < min(after.values("val/bpd"))


@pytest.mark.slow
def test_the_jobs_of_a_sweep_that_go_on_from_one_checkpoint_have_their_own_runs(
    command, monkeypatch
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "shared")
    options = [*TINY, "logger=wandb", "test=false"]
    first = command("train", *options, "trainer.max_epochs=1")
    sweep = ["-m", *options, "optimizer.lr=1e-3,2e-3"]
    folder = command("train", *sweep, "trainer.max_epochs=2", f"resume={first}")
    before, *forks = parts(first, folder / "0", folder / "1")
    ids = [fork.run.run_id for fork in forks]
    assert before.run.run_id == "shared"
    assert len({"shared", *ids}) == 3
    # Resumed in their folders, they go on as themselves.
    command("train", *sweep, "trainer.max_epochs=3", "resume=auto", run_dir=folder)
    again = [part.run.run_id for part in parts(folder / "0", folder / "1")]
    assert sorted(again) == sorted(2 * ids)


@pytest.mark.slow
def test_two_ranks_are_one_wandb_run(train, forked_ranks) -> None:
    run_dir = train("debug=fast", "logger=wandb", "trainer=ddp_cpu")
    (part,) = parts(run_dir)
    assert part.summary["test/bpd"] == pytest.approx(results(run_dir)["test/bpd"])
    checkpoint = read_checkpoint(run_dir / "checkpoints" / "last.ckpt")
    assert checkpoint[KEY]["wandb_id"] == part.run.run_id


def test_an_evaluation_is_a_run_of_its_own_kind(train, command) -> None:
    trained = train("debug=fast", "logger=wandb")
    checkpoint = trained / "checkpoints" / "best.ckpt"
    evaluated = command("eval", f"ckpt_path={checkpoint}", "logger=wandb")
    training, evaluation = parts(trained, evaluated)
    assert evaluation.run.job_type == "eval"
    assert evaluation.run.display_name == f"eval of {trained.name}"
    assert evaluation.run.run_id != training.run.run_id
    assert evaluation.config["trained_as"] == training.run.run_id
    assert evaluation.config["choices"] == training.config["choices"]
    assert evaluation.summary["test/bpd"] == pytest.approx(results(evaluated)["test/bpd"])
    assert "samples/_type" in evaluation.summary
    (caption,) = training.summary["final/captions"]
    assert caption.startswith("64 samples of the best weights, those of step ")


def test_tensorboard_and_csv_hold_the_same_figures_as_each_other(train) -> None:
    run_dir = train("logger=tensorboard", "callbacks.pictures.every_n_epochs=1")
    events = EventAccumulator(str(run_dir / "tensorboard" / "version_0"))
    events.Reload()
    figures = run_dir / "csv" / "version_0"
    names = set((figures / "metrics.csv").read_text().splitlines()[0].split(",")) - {"step"}
    assert {"val/bpd", "test/bpd", "train/grad_norm", "lr-AdamW", "images_per_second"} <= names
    assert set(events.Tags()["scalars"]) == names
    for name in names - {"epoch"}:
        of_events = {event.step: event.value for event in events.Scalars(name)}
        assert of_events == pytest.approx(column(figures, name)), name
    assert len(events.Images("samples")) == 2


@pytest.mark.slow
def test_without_a_key_wandb_stays_offline_and_asks_nothing(tmp_path) -> None:
    """In a terminal, where W&B would ask."""
    program = (
        "import logging; logging.basicConfig()\n"
        "from attnflow.loggers.tracking import wandb_logger\n"
        f"logger = wandb_logger(project='attnflow', save_dir={str(tmp_path)!r})\n"
        "logger.experiment.log({'x': 1})\n"
        "logger.experiment.finish()\n"
    )
    keys = ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "NETRC")
    environment = {k: v for k, v in os.environ.items() if k not in keys}
    terminal, other_end = pty.openpty()
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"HOME": str(tmp_path)},
        cwd=tmp_path,
        stdin=other_end,
        stdout=other_end,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
        check=False,
    )
    os.close(terminal)
    os.close(other_end)
    assert run.returncode == 0, run.stderr
    assert f"no W&B key was found, so this run is kept in {tmp_path}/wandb" in run.stderr
    (part,) = parts(tmp_path)
    assert part.summary["x"] == 1


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("mode=onlin", "logger.wandb.mode: expected one of None, online"),
        ("log_model=last", "logger.wandb.log_model: expected true or false or all, got 'last'."),
        ("tags=paper", "logger.wandb.tags: expected a list"),
        ("tags=[3]", "logger.wandb.tags: expected a list of texts, got [3]."),
        (
            "colour=red",
            "logger.wandb.colour: expected an option of WandbLogger or of wandb.init, got 'red'.",
        ),
    ],
)
def test_bad_options_are_named_before_training(train, argument, named) -> None:
    with pytest.raises(SystemExit) as stopped:
        train("logger=wandb", f"++logger.wandb.{argument}")
    assert named in str(stopped.value.code)


class Unknowing(CSVLogger):
    """It looks at its options where it is first used."""

    def log_hyperparams(self, *arguments: object) -> None:
        raise TypeError("no argument 'colour'\nat all")


def test_what_a_tracker_says_to_its_options_is_one_sentence(tmp_path) -> None:
    logger = sheltered(Unknowing(tmp_path), "logger.mine")
    told = "logger.mine: expected options that its tracker takes, got TypeError: no argument"
    with pytest.raises(AttnFlowError, match=told) as raised:
        logger.log_hyperparams({})
    assert "\n" not in str(raised.value)


def test_bad_options_of_tensorboard_are_one_sentence(train) -> None:
    told = refused(train, "logger=tensorboard", "+logger.tensorboard.colour=3")
    assert "logger.tensorboard: expected options that its tracker takes, got TypeError: " in told
    assert "'colour'" in told


@pytest.mark.parametrize("option", ["run_id=nosuch", "experiment_name=''"])
def test_bad_options_of_mlflow_are_one_sentence(train, tmp_path, monkeypatch, option) -> None:
    pytest.importorskip("mlflow")
    # MLflow itself sets the variable, for all that this process does later.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    told = refused(train, "logger=mlflow", f"logger.mlflow.{option}")
    assert "logger.mlflow: expected options that its tracker takes, got " in told


def test_no_name_out_of_a_file_or_a_folder_is_looked_up(monkeypatch) -> None:
    """A folder may come from a stranger, as its run's name."""
    config = OmegaConf.create({"wandb": {"_target_": "dict", "name": None, "group": None}})
    monkeypatch.setattr("attnflow.loggers.tracking.sweep_name", lambda: None)
    assert named_runs(config, {}, evaluated="first").wandb.name == "eval of first"
    told = "logger.wandb.name: expected a name as plain text, got 'eval of ${oc.env:HOME}'."
    with pytest.raises(AttnFlowError, match=re.escape(told)):
        named_runs(config, {}, evaluated="${oc.env:HOME}")
    with pytest.raises(AttnFlowError, match=r"logger.wandb.group: expected a name as plain text"):
        named_runs(config, {}, {"wandb_group": "${hydra:runtime.cwd}"})


def test_the_gradient_norm_is_that_before_clipping(tmp_path) -> None:
    seen = {}

    class Recorder(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
            squares = [p.grad.square().sum() for p in pl_module.parameters() if p.grad is not None]
            seen[trainer.global_step] = float(sum(squares).sqrt())

    logger = CSVLogger(tmp_path)
    train_four_steps(
        partial(Adam, lr=1e-3),
        gradient_clip_val=0.1,
        log_every_n_steps=2,
        logger=logger,
        callbacks=[Recorder(), GradientNorm()],
    )
    logged = column(Path(logger.log_dir), "train/grad_norm")
    assert logged == pytest.approx({1: seen[1], 3: seen[3]}, rel=1e-5)
    assert min(logged.values()) > 0.1


def test_mlflow_holds_the_figures_the_options_and_the_pictures(train, tmp_path) -> None:
    """In a file beside the runs, without a server; a run is named after its attention."""
    mlflow = pytest.importorskip("mlflow")
    options = ["logger=mlflow", f"paths.root_dir={tmp_path}", "callbacks.pictures.every_n_epochs=1"]
    run_dir = train(*options, "attention=imap")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/logs/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'attnflow'")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "imap-after_coupling"
    assert run.info.status == "FINISHED"
    assert run.data.params["choices/attention"] == "imap"
    assert run.data.metrics["test/bpd"] == pytest.approx(results(run_dir)["test/bpd"], abs=1e-6)
    names = {path.name.split("+")[0] for path in (tmp_path / "logs" / "mlflow").rglob("*.png")}
    assert names == {"samples", "attention", "final"}
