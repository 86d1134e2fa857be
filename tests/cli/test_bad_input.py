"""Bad input: one clear sentence, a non-zero exit, nothing overwritten."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT, SHORT, TINY, results, run_script
from refusals import refused


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["model.levels=5"], "8 x 8"),
        (
            ["attention=itrans", "attention.patch_size=3"],
            "patch_size: expected a divisor of both sides",
        ),
        (["attention=itrans", "attention.num_heads=99"], "num_heads: expected "),
        (["attention.mask=stripes"], "'stripes'"),
        (["attention.kernel_size=2"], "kernel_size: expected an odd number of 1 or more, got 2"),
        (["placement.positions=inside"], "'inside'"),
        (["placement.levels=[7]"], "[7]"),
        (["placement.steps=odd"], "'odd'"),
        (["data.global_batch_size=0"], "global_batch_size: expected 1 or more, got 0."),
        (["data.global_batch_size=5000"], "at most 1200, the images"),
        (["resume=nowhere.ckpt"], "nowhere.ckpt"),
        (["+attention.colour=red"], "colour"),
        (["trainer.max_epochs=-1"], "warmup_cosine"),
        (
            ["trainer.check_val_every_n_epoch=0"],
            "trainer.check_val_every_n_epoch: expected 1 or more, got 0.",
        ),
        (["trainer.log_every_n_steps=0"], "trainer.log_every_n_steps: expected 1 or more, got 0."),
        (["trainer.val_check_interval=0"], "val_check_interval: expected a share"),
        (["trainer.val_check_interval=4"], "val_check_interval: expected at most the 3 batches"),
        (["trainer.val_check_interval=often"], "trainer: "),
        (["trainer.max_epochs=0"], "trainer.max_epochs: expected 1 or more, or -1"),
        (["trainer.max_steps=0"], "trainer.max_steps: expected 1 or more, or -1"),
        (["trainer.max_time=00:00:00:00"], "trainer.max_time: expected more than no time"),
        (["trainer.max_time=soon"], "`Timer(duration='soon')` is not a valid duration"),
        (["trainer.limit_val_batches=0"], "limit_val_batches: expected one or more of the 5"),
        (["trainer.limit_val_batches=0.1"], "limit_val_batches: expected one or more of the 5"),
        (["trainer.limit_train_batches=0.01"], "limit_train_batches: expected one or more"),
        (["trainer.limit_test_batches=0"], "limit_test_batches: expected one or more of the 5"),
        (["callbacks.checkpoint=null"], "callbacks.checkpoint"),
        (["callbacks.checkpoint.monitor=val/loss"], "callbacks.checkpoint"),
        (["callbacks.checkpoint.mode=max"], "callbacks.checkpoint"),
        (["+callbacks.checkpoint.save_weights_only=true"], "save_weights_only: expected false"),
        # They would write the val/bpd of an earlier step beside the weights.
        (["+callbacks.checkpoint.every_n_train_steps=7"], "every_n_train_steps: expected none"),
        (
            ["+callbacks.checkpoint.train_time_interval={_target_: datetime.timedelta, days: 1}"],
            "train_time_interval: expected none",
        ),
        (["callbacks.checkpoint.save_on_train_epoch_end=true"], "epoch_end: expected none"),
        (
            ["callbacks.checkpoint.save_top_k=2"],
            "1 of checkpoints that are all called 'best', got 2",
        ),
        (["callbacks.checkpoint.save_top_k=-1"], "all called 'best', got -1; a callbacks.checkpoi"),
        (
            [
                "callbacks.checkpoint.save_top_k=3",
                "callbacks.checkpoint.enable_version_counter=true",
                "callbacks.checkpoint.filename='{epoch}'",
            ],
            "all called '{epoch}', got 3",
        ),
        (["resume=true"], "resume: expected a path, got True"),
        (["resume=5"], "run directory, got '5' (5 does not exist)"),
        (["resume=[a]"], "resume: expected a path, got ['a']"),
        (["init_from={a:1}"], "init_from: expected a path, got {'a': 1}"),
        (["init_from=3"], "checkpoint 3: expected a .ckpt file"),
        (["init_strict=maybe"], "init_strict: expected true or false, got 'maybe'."),
        (["callbacks.last=5"], "callbacks.last: expected a _target_ with its options"),
        (["logger.csv=5"], "logger.csv: expected a _target_ with its options"),
        (["optimizer.betas=3"], "optimizer.betas: expected two numbers, got 3."),
        (["optimizer.betas=[0.9]"], "optimizer.betas: expected two numbers, got [0.9]."),
        (
            ["+optimizer.capturable=true"],
            "optimizer.capturable: expected false on the CPU, which has no CUDA graphs",
        ),
        (["+optimizer.differentiable=true"], "optimizer.differentiable: expected false, as"),
        (
            ["optimizer=adamax", "optimizer._target_=torch.optim.LBFGS"],
            "optimizer._target_: expected an optimizer that asks for one gradient a step",
        ),
        (["callbacks.ema.device=cuda:99"], "callbacks.ema.device: expected null or a device of"),
        (
            ["trainer.precision=fp8"],
            "precision: expected one of 32-true, bf16-mixed, 16-mixed, got",
        ),
        (["trainer.precision=64"], "32-true, bf16-mixed, 16-mixed, got 64."),
        (
            ["trainer.precision=16-mixed"],
            "trainer.precision: expected 32-true or bf16-mixed on a CPU, got '16-mixed'.",
        ),
        (
            ["optimizer.fused=true", "+optimizer.foreach=true"],
            "the optimizer refuses its options: `fused` and `foreach` cannot be `True` together.",
        ),
        (
            ["+trainer.num_nodes=2"],
            "trainer.num_nodes: expected 1 for a trainer of one device (trainer=ddp and "
            "trainer=ddp_cpu take more), got 2.",
        ),
        (["trainer.devices=2"], "trainer.devices: expected 1 for a trainer of one device"),
        (["+trainer.max_time=5"], "trainer.max_time: expected text or a mapping or null, got 5."),
        (
            ["trainer.val_check_interval=true"],
            "trainer.val_check_interval: expected a number or text or",
        ),
        (
            ["hparams_search=optuna", "hydra.sweeper.n_trials=0"],
            "hydra.sweeper.n_trials: expected 1 or more, got 0.",
        ),
        (
            ["hparams_search=optuna", "hydra.sweeper.n_jobs=0"],
            "hydra.sweeper.n_jobs: expected 1 or more, got 0.",
        ),
        (
            ["hparams_search=optuna", "hydra.sweeper.direction=up"],
            "sweeper.direction: expected one of minimize, maximize, got 'up'.",
        ),
        (["launcher=joblib", "hydra.launcher.n_jobs=0"], "n_jobs: expected 1 or more, or -1"),
        (["trainer.limit_train_batches=0"], "limit_train_batches: expected one or more of"),
        (["seed=abc"], "seed: expected a whole number from 0 to 4294967295, got 'abc'."),
        (["seed=-1"], "seed: expected a whole number from 0 to 4294967295, got -1."),
        (["test=maybe"], "test: expected true or false, got 'maybe'."),
        (["model.steps=1.5"], "model.steps: expected a whole number, got 1.5."),
        (
            ["coupling_net.hidden_channels=wide"],
            "coupling_net.hidden_channels: expected a whole number, got 'wide'.",
        ),
        (
            ["trainer.max_epochs=many"],
            "trainer.max_epochs: expected a whole number or null, got 'many'.",
        ),
        (["trainer.compile=maybe"], "trainer.compile: expected true or false, got 'maybe'."),
        (["optimizer.lr=fast"], "optimizer.lr: expected a number, got 'fast'."),
        (["optimizer.lr=inf"], "optimizer.lr: expected a finite number, got inf"),
        (["optimizer.betas=[0.9,nan]"], "optimizer.betas.1: expected a finite number, got nan"),
        (["optimizer.lr=-1"], "Invalid learning rate: -1"),
        (["+optimizer.momentum=1"], "momentum"),
        (["trainer.max_epochs=-5"], "trainer: MisconfigurationException: `max_epochs`"),
        (
            ["callbacks.pictures.num_samples=few"],
            "callbacks.pictures.num_samples: expected a whole number, got 'few'.",
        ),
        (
            ["trainer.accumulate_grad_batches=0"],
            "trainer.accumulate_grad_batches: expected 1 or more, got 0.",
        ),
        (
            ["trainer.gradient_clip_val=-1"],
            "trainer.gradient_clip_val: expected 0 or more, got -1.",
        ),
        (["coupling_net.hidden_channels=0"], "hidden_channels: expected 1 or more, got 0."),
        (
            ["coupling_net=convnet", "coupling_net.dropout=1"],
            "dropout: expected a share from 0 to below 1, got 1",
        ),
        (["prior.hidden_channels=0"], "error: prior.hidden_channels: expected 1 or more, got 0."),
        (["prior=mar", "prior.hidden_channels=0"], "prior.hidden_channels: expected 1 or more"),
        (
            ["dequantization=variational", "dequantization.steps=0"],
            "dequantization.steps: expected 1 or more",
        ),
        (
            ["dequantization=gaussian", "dequantization.std=0"],
            "dequantization.std: expected a number above 0, got 0.",
        ),
        (
            ["conditioning=class", "conditioning.condition_dropout=1.5"],
            "condition_dropout: expected a share from 0 to below 1, got 1.5.",
        ),
        (
            ["conditioning=class", "conditioning.guidance=1"],
            "conditioning.guidance: expected 0 of a model that was trained without "
            "condition_dropout, got 1.",
        ),
        (
            ["conditioning=class", "conditioning.guidance=-1"],
            "conditioning.guidance: expected a weight of 0 or more, got -1.",
        ),
        (["data.num_workers=-1"], "data.num_workers: expected 0 or more, got -1."),
        (["scheduler.warmup_steps=-1"], "scheduler.warmup_steps: expected 0 or more, got -1."),
        (
            ["scheduler.final_fraction=2"],
            "scheduler.final_fraction: expected a share from 0 to 1, got 2.",
        ),
        (["callbacks.pictures.every_n_epochs=0"], "every_n_epochs: expected 1 or more, got 0."),
        # What other libraries say themselves.
        (["logger=wandb", "logger.wandb.project='a/b:c?'"], "wandb: UsageError: Invalid project"),
        (["optimizer.lr=${nothing}"], "optimizer.lr: InterpolationKeyError: Interpolation key"),
        (["data.global_batch_size=${oc.env:NO_SUCH}"], "Environment variable 'NO_SUCH' not found"),
        (["coupling_net.hidden_channels=20000000"], "out of memory (RuntimeError: "),
        (["+trainer.gradient_clip_algorithm=half"], "`gradient_clip_algorithm` half is invalid"),
        (["+trainer.profiler=fast"], "MisconfigurationException"),
        (
            ["+scheduler.colour=red"],
            "scheduler.colour: expected an option of warmup_cosine (optimizer,",
        ),
        (
            ["scheduler._target_=torch.optim.lr_scheduler.StepLR"],
            "scheduler.warmup_steps: expected",
        ),
        (["data=longrange", "+data.colour=red"], "data.colour: expected an option of LongRange"),
        # What no name leads to.
        (["attention._target_=nowhere.Mine"], "there is no module 'nowhere': expected one that"),
        (["attention._target_=attnflow.transforms.IMapp"], "did you mean 'IMap'?"),
        (["attention._target_=attnflow.transforms.IMap.x"], "but IMap has no 'x'"),
        (["attention._target_=attnflow.version.__version__"], "a class or a function, got str"),
        (["attention._target_=3"], "attention._target_: expected the full name of a class, got 3"),
        (["data.augment=[{_target_:nowhere.Flip}]"], "data.augment.0._target_ is 'nowhere.Flip'"),
        # What is no part of a model, or of data.
        (
            ["~attention", "+attention={_target_:torch.nn.Identity,_partial_:true}"],
            "base.Transform or of a subclass",
        ),
        (["~prior", "+prior={_target_:torch.nn.Linear,_partial_:true}"], "prior: expected what"),
        (
            ["~data", "+data={_target_:torch.nn.Identity}"],
            "data: expected an object of attnflow.data.base",
        ),
        (["~attention", "+attention={kernel_size:1}"], "attention: expected a class or a function"),
    ],
)
def test_bad_configs_are_named(command, arguments, named) -> None:
    assert named in refused(command, "train", *SHORT, *arguments)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a training."""
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        run_script(patch, "train", *TINY, "test=false", f"hydra.run.dir={folder}/run")
    return folder / "run" / "checkpoints" / "last.ckpt"


@pytest.fixture
def checkpoint(kept, tmp_path) -> Path:
    return Path(shutil.copy(kept, tmp_path / "last.ckpt"))


def damage(path: Path, how: str) -> Path:
    damaged = path.with_name(f"{how}.ckpt")
    if how == "truncated":
        damaged.write_bytes(path.read_bytes()[:20_000])
    elif how == "empty":
        damaged.write_bytes(b"")
    elif how == "text":
        damaged.write_text("not a checkpoint")
    elif how == "options":  # its first letter is an instruction of pickle
        damaged.write_text("trainer.max_epochs=3")
    elif how == "other_program":
        torch.save({"state_dict": {}, "epoch": 3}, damaged)
    return damaged


@pytest.mark.slow
@pytest.mark.parametrize("how", ["truncated", "empty", "text", "options", "other_program"])
def test_damaged_checkpoints_are_named(command, checkpoint, how) -> None:
    damaged = damage(checkpoint, how)
    before = damaged.read_bytes()
    for arguments in (["eval", f"ckpt_path={damaged}"], ["train", *SHORT, f"resume={damaged}"]):
        assert str(damaged) in refused(command, *arguments)
    assert damaged.read_bytes() == before


@pytest.mark.slow
def test_a_number_of_epochs_that_is_none_is_named_to_a_resumed_run_too(command, checkpoint) -> None:
    told = refused(command, "train", *TINY, f"resume={checkpoint}", "trainer.max_epochs=many")
    assert "trainer.max_epochs: expected a whole number or null, got 'many'." in told


@pytest.mark.slow
def test_another_architecture_is_refused(command, checkpoint) -> None:
    before = checkpoint.read_bytes()
    message = refused(command, "train", *TINY, f"resume={checkpoint}", "model.steps=3")
    assert f"model.steps: expected 1 as in the checkpoint {checkpoint}, got 3" in message
    message = refused(command, "train", *TINY, f"resume={checkpoint}", "attention=none")
    assert f"attention: expected IMap as in the checkpoint {checkpoint}, got null" in message
    assert checkpoint.read_bytes() == before


def test_eval_needs_a_checkpoint(command) -> None:
    assert "ckpt_path" in refused(command, "eval")
    assert "missing.ckpt" in refused(command, "eval", "ckpt_path=missing.ckpt")
    assert "got a folder" in refused(command, "eval", f"ckpt_path={ROOT}")
    for option, named in (
        ("eval.num_samples=few", "eval.num_samples: expected a whole number, got 'few'."),
        ("eval.pictures=5", "eval.pictures: expected a list, [] for none, got 5"),
        ("eval.pictures=samples", "eval.pictures: expected a list"),
        ("eval.temperatures=null", "eval.temperatures: expected a list"),
        (
            "ckpt_path=5",
            "checkpoint 5: expected a .ckpt file, a run's folder or an exported model's, got a",
        ),
        ("ckpt_path=true", "ckpt_path: expected a path, got True"),
        ("eval.num_sound=0", "eval.num_sound: expected 1 or more, got 0."),
        (
            "eval.temperatures=[-1]",
            "a temperature of eval.temperatures: expected 0 or more, got -1.",
        ),
    ):
        assert named in refused(command, "eval", "ckpt_path=x.ckpt", option)


def test_a_loss_that_is_not_finite_stops_with_a_diagnosis(command, train, monkeypatch) -> None:
    from attnflow.transforms.coupling import Coupling

    forward = Coupling.forward
    calls = []

    def poisoned(self, x, context=None):
        calls.append(self)
        z, log_det = forward(self, x, context)
        # Two steps in two levels: the third training step's second coupling goes wrong.
        bad = self.training and len(calls) > 4 and self is calls[1] and calls.count(self) > 2
        return z, log_det * float("nan") if bad else log_det

    affine = [*SHORT, "model.steps=2", "coupling=affine", "test=false"]
    checkpoint = command("train", *affine) / "checkpoints" / "last.ckpt"
    before = checkpoint.read_bytes()
    monkeypatch.setattr(Coupling, "forward", poisoned)
    more = [f"resume={checkpoint}", "trainer.max_epochs=9", "callbacks.non_finite.limit=3"]
    message = refused(command, "train", *affine, *more)
    assert "the 4. in a row" in message
    assert "levels.0.transforms.step_1.coupling (AffineCoupling)" in message
    assert "log_det" in message
    assert "at step" in message
    assert "last good checkpoint" in message
    assert checkpoint.read_bytes() == before


@pytest.mark.slow
def test_figures_that_are_not_finite_are_no_result(command, tmp_path) -> None:
    """Neither of a training, nor of one that is finished, nor of an evaluation."""
    options = ["optimizer.lr=1e9", "callbacks.non_finite=null", "trainer.max_epochs=1"]
    run_dir = tmp_path / "wild"
    with pytest.raises(SystemExit, match=r"val/bpd: expected a finite number, got (inf|nan);"):
        command("train", *SHORT, *options, run_dir=run_dir)
    with pytest.raises(SystemExit, match="which is not finite"):
        command("train", *SHORT, *options, "resume=auto", run_dir=run_dir)
    assert (results(run_dir)["val/bpd"], results(run_dir)["steps"]) == (None, 3)
    message = refused(command, "eval", f"ckpt_path={run_dir}", "eval.pictures=[]", "trainer=cpu")
    assert "not finite" in message


@pytest.mark.slow
def test_the_process_exits_with_one_sentence(tmp_path) -> None:
    run = subprocess.run(
        [sys.executable, "train.py", f"hydra.run.dir={tmp_path}", "model.levels=5"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    told = run.stderr.strip().splitlines()[-1]
    assert told.startswith("error: model.levels: expected at most 3, as often as 8 x 8 can be")


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--help"], 0, "placement=after_coupling"),
        (["--cfg", "job"], 0, "attnflow.transforms.IMap"),
        (["attention=imapp"], 1, "imap_global"),
        (["placement=inside"], 1, "after_coupling"),
        (["trainer.max_epoch=3"], 1, "max_epoch"),
    ],
)
def test_quick_answers_import_nothing_heavy(tmp_path, arguments, status, text) -> None:
    """--help, --cfg and misspelt options answer without waiting for torch."""
    program = (
        "import sys, atexit, runpy\n"
        "atexit.register(lambda: print('heavy:', 'torch' in sys.modules))\n"
        f"sys.argv = {['train.py', *arguments]!r}\n"
        "runpy.run_path('train.py', run_name='__main__')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == status
    assert text in run.stdout + run.stderr
    assert "heavy: False" in run.stdout
