"""What a resumed training is told to change: honoured from the next step on, or refused."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import results, run_script
from lightning import Trainer
from lightning.pytorch.callbacks import WeightAveraging
from runs import assert_same_training, content, last

from attnflow.cli import train as training
from attnflow.training.differences import differences

pytestmark = pytest.mark.slow

# Two epochs of ten steps, and the checkpoint of a step within the second one.
BASE = (
    "trainer=cpu",
    "model.levels=1",
    "model.steps=1",
    "coupling_net.hidden_channels=4",
    "callbacks.progress=null",
    "callbacks.summary=null",
    "callbacks.last.every_n_steps=4",
    "trainer.limit_train_batches=10",
    "trainer.check_val_every_n_epoch=1",
    "trainer.log_every_n_steps=1",
    "trainer.max_epochs=2",
    "callbacks.pictures=null",
    "callbacks.attention=null",
    "callbacks.round_trip.num_images=4",
    "test=false",
)
TESTED = ("test=true", "callbacks.soundness.num_images=4")
WARMUP = "scheduler.warmup_steps=5"
FROZEN = ("optimizer.lr=0", "optimizer.weight_decay=0")

Resume = Callable[..., Path]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that is resumed; tests change copies of it."""
    folder = tmp_path_factory.mktemp("kept") / "base"
    with pytest.MonkeyPatch.context() as patch:
        run_script(patch, "train", *BASE, *TESTED, WARMUP, f"hydra.run.dir={folder}")
    return folder


@pytest.fixture
def base(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept, tmp_path / "base"))


@pytest.fixture
def resume(base: Path, command) -> Resume:
    """Go on with the base run for another epoch, with further options, in a folder of its own."""

    def run(*arguments: str, run_dir: Path | None = None, path: Path = base) -> Path:
        options = (*BASE, "trainer.max_epochs=3", f"resume={path}", *arguments)
        same_schedule = not any("scheduler=" in argument for argument in arguments)
        return command("train", *options, *[WARMUP] * same_schedule, run_dir=run_dir)

    return run


@pytest.fixture
def trainers(monkeypatch: pytest.MonkeyPatch) -> list[Trainer]:
    """The Lightning trainers of the trainings of this test."""
    made, make = [], training.make_trainer

    def note(*arguments: object) -> Trainer:
        made.append(make(*arguments))
        return made[-1]

    monkeypatch.setattr(training, "make_trainer", note)
    return made


def rates(run_dir: Path) -> dict[int, float]:
    """The learning rate of every step."""
    with (run_dir / "csv" / "version_0" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    name = next(name for name in rows[0] if name.startswith("lr-"))
    return {int(row["step"]): float(row[name]) for row in rows if row[name]}


def group(run_dir: Path) -> dict[str, object]:
    """The optimizer's options at the end of a run."""
    return last(run_dir)["optimizer_states"][0]["param_groups"][0]


def cosine(step: int, total: int, lr: float = 4e-3) -> float:
    """The rate after the warm-up, by its formula."""
    return lr * (1 + math.cos(math.pi * min((step - 5) / (total - 5), 1))) / 2


def refused(resume: Resume, *arguments: str, **options: Path) -> str:
    with pytest.raises(SystemExit) as stopped:
        resume(*arguments, **options)
    message = str(stopped.value.code)
    assert message.startswith("error: ")
    assert "\n" not in message
    return message


def test_a_longer_training_takes_the_schedule_of_its_own_length(resume) -> None:
    run_dir = resume("trainer.max_epochs=4")
    found = rates(run_dir)
    assert [found[step] for step in range(5, 20)] == pytest.approx(
        [cosine(step, 20) for step in range(5, 20)]
    )
    assert [found[step] for step in range(20, 39)] == pytest.approx(
        [cosine(step, 40) for step in range(20, 39)]
    )
    assert group(run_dir)["lr"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "rate"),
    [
        (["scheduler=none"], 4e-3),
        (["scheduler=warmup_constant", WARMUP], 4e-3),
        (["scheduler.final_fraction=0.5"], 2e-3),
        (
            [WARMUP[:-1] + "60", "scheduler=warmup_cosine", "trainer.max_epochs=4"],
            4e-3 * (1 + 59 * 40 / 60) / 60,
        ),
    ],
)
def test_the_schedule_is_as_the_command_says(resume, arguments, rate) -> None:
    assert group(resume(*arguments))["lr"] == pytest.approx(rate)


def test_the_optimizer_and_the_rate_of_every_step_are_as_the_command_says(resume) -> None:
    options = ("optimizer.weight_decay=0.3", "optimizer.betas=[0.8,0.95]", "+optimizer.eps=1e-5")
    run_dir = resume("optimizer.lr=1e-6", *options, "trainer.max_epochs=4")
    found = group(run_dir)
    assert list(found["betas"]) == [0.8, 0.95]
    for name, value in {"initial_lr": 1e-6, "weight_decay": 0.3, "eps": 1e-5}.items():
        assert found[name] == pytest.approx(value), name
    rate_of = rates(run_dir)
    wanted = [cosine(step, 40, 1e-6) for step in range(20, 39)]
    assert [rate_of[step] for step in range(20, 39)] == pytest.approx(wanted)


def test_a_schedule_of_another_class_is_entered_at_the_present_step(resume) -> None:
    another = (
        "scheduler={_target_: torch.optim.lr_scheduler.OneCycleLR, _partial_: true, max_lr: 1}"
    )
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([parameter], lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1, total_steps=30)
    for _ in range(25):
        optimizer.step()
        schedule.step()
    found = rates(resume("~scheduler", f"+{another}"))
    assert found[25] == pytest.approx(optimizer.param_groups[0]["lr"])


def test_a_schedule_may_follow_one_whose_state_it_could_not_load(command, base) -> None:
    """And one may follow none, or none one."""
    options = [option for option in BASE if option != WARMUP]
    cycle = "scheduler={_target_: torch.optim.lr_scheduler.OneCycleLR, _partial_: true, max_lr: 1}"
    cycled = command("train", *options, "~scheduler", f"+{cycle}")
    assert "max_lr" in group(cycled)
    rate_of = rates(command("train", *options, WARMUP, "trainer.max_epochs=3", f"resume={cycled}"))
    wanted = [cosine(step, 30) for step in range(20, 29)]
    assert [rate_of[step] for step in range(20, 29)] == pytest.approx(wanted)
    constant = command(
        "train", *options, "scheduler=none", "trainer.max_epochs=3", f"resume={base}"
    )
    assert rates(constant)[25] == pytest.approx(4e-3)
    rate_of = rates(
        command("train", *options, WARMUP, "trainer.max_epochs=4", f"resume={constant}")
    )
    assert rate_of[35] == pytest.approx(cosine(35, 40))


def test_trainer_and_callbacks_are_as_the_command_says(resume, trainers) -> None:
    resume(
        "trainer.gradient_clip_val=0.25",
        "trainer.log_every_n_steps=7",
        "callbacks.non_finite.limit=3",
        "callbacks.spikes.window=17",
        "callbacks.round_trip=null",
        "callbacks.checkpoint.save_top_k=2",
        "callbacks.checkpoint.filename='best-{step}'",
    )
    (trainer,) = trainers
    named = {type(callback).__name__: callback for callback in trainer.callbacks}
    assert (trainer.gradient_clip_val, trainer.log_every_n_steps) == (0.25, 7)
    assert (named["NonFiniteGuard"].limit, named["SpikeDetection"].window) == (3, 17)
    assert "RoundTripMonitor" not in named
    assert named["ModelCheckpoint"].save_top_k == 2


def test_a_number_of_steps_ends_training_where_it_would_have_ended(resume, command) -> None:
    """From an epoch's end, too, whose next epoch Lightning leaves out."""
    open_ended = ("trainer.max_epochs=9", "scheduler=warmup_constant", WARMUP)
    whole = command("train", *BASE, *open_ended, "trainer.max_steps=27")
    part = command("train", *BASE, *open_ended, "trainer.max_steps=20")
    for name in ("last", "last.previous"):
        path = part / "checkpoints" / f"{name}.ckpt"
        ended = resume(*open_ended, "trainer.max_steps=27", path=path)
        assert results(ended)["steps"] == 27
        assert_same_training(last(ended), last(whole))
        assert last(ended)["loops"] == last(whole)["loops"]


def test_another_decay_averages_the_steps_to_come(resume) -> None:
    ended = last(resume("callbacks.ema.decay=0"))
    assert ended["averaging_state"]["n_averaged"] == 30
    for name, average in ended["state_dict"].items():
        assert torch.equal(average, ended["current_model_state"][name])


def test_without_averaging_training_goes_on_from_its_own_weights(resume, base) -> None:
    before = last(base)
    ended = last(resume("callbacks.ema=null", *FROZEN))
    assert "averaging_state" not in ended
    for name, weight in ended["state_dict"].items():
        assert torch.equal(weight, before["current_model_state"][name])
    assert any(not torch.equal(ended["state_dict"][n], w) for n, w in before["state_dict"].items())


def test_averaging_may_begin_in_the_middle(resume, trainers) -> None:
    plain = resume("callbacks.ema=null")
    ended = last(resume("trainer.max_epochs=4", path=plain))
    assert any(isinstance(c, WeightAveraging) for c in trainers[-1].callbacks)
    assert ended["averaging_state"]["n_averaged"] == 10


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["optimizer=adamax"], "optimizer: expected AdamW as in the checkpoint {path}, got Adamax"),
        (["optimizer=adam"], "optimizer: expected AdamW as in the checkpoint {path}, got Adam"),
        (["+optimizer.amsgrad=true"], "optimizer.amsgrad: expected null as in the checkpoint"),
        (["data=longrange", "data.size=8"], "data: expected DigitsDataModule"),
        (["seed=1"], "seed: expected 0 as in the checkpoint {path}, got 1"),
        (["attention.mask=channel"], "attention.mask: expected 'checkerboard'"),
        (["placement=level_end"], "placement.positions: expected 'after_coupling'"),
        (["coupling=affine"], "coupling: expected MixLogCDFCoupling"),
        (["dequantization=variational"], "dequantization: expected UniformDequantizer"),
        (["trainer.limit_val_batches=2"], "trainer.limit_val_batches: expected 1.0"),
        (["+trainer.fast_dev_run=2"], "trainer.fast_dev_run: expected null"),
        (["trainer.max_epochs=1"], "trainer.max_epochs: expected 2 or more"),
        (["trainer.max_steps=7"], "trainer.max_steps: expected 20 or more"),
    ],
)
def test_what_a_run_keeps_is_refused(resume, base, tmp_path, arguments, told) -> None:
    run_dir = tmp_path / "refused"
    message = refused(resume, *arguments, run_dir=run_dir)
    assert told.format(path=base / "checkpoints" / "last.ckpt") in message
    assert not list(run_dir.glob("*.json")) + list(run_dir.glob("checkpoints"))


def test_a_batch_is_another_between_two_epochs_alone(resume, base) -> None:
    within = base / "checkpoints" / "last.previous.ckpt"
    for option in ("data.global_batch_size=32", "trainer.limit_train_batches=9"):
        message = refused(resume, option, path=within)
        assert f"{option.split('=')[0]}: expected" in message
        assert "8 batches within an epoch" in message
    smaller = resume("data.global_batch_size=32", "trainer.limit_train_batches=20")
    assert results(smaller)["steps"] == 40
    # The schedule ends with the training: 20 steps of the first batch size and 20 of the second.
    assert group(smaller)["lr"] == pytest.approx(0, abs=1e-12)
    assert rates(smaller)[30] == pytest.approx(cosine(30, 40))


def test_data_that_has_grown_is_refused(resume, base) -> None:
    path = base / "checkpoints" / "last.ckpt"
    content = last(base)
    del content["attnflow"]["splits"]  # of an earlier version, which tells this alone
    content["attnflow"]["train_images"] = 1199
    torch.save(content, path)
    assert "expected the 1199 images" in refused(resume)


def test_a_checkpoint_that_says_too_little_is_refused(resume, base) -> None:
    path = base / "checkpoints" / "last.ckpt"
    content = last(base)
    del content["attnflow"]["train_images"]
    torch.save(content, path)
    assert "expected a whole config to resume from" in refused(resume)


def test_a_finished_run_stays_as_it_is(base, command, capfd) -> None:
    def held() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in base.rglob("*.*") if path.is_file()}

    before = held()
    command("train", *BASE, *TESTED, WARMUP, "resume=auto", run_dir=base)
    assert "finished after 2 epochs, 20 steps" in capfd.readouterr().out
    assert held() == before


def test_a_run_whose_time_is_up_stays_as_it_is(command, tmp_path, capfd) -> None:
    run_dir = tmp_path / "timed"
    options = (*BASE, "scheduler=warmup_constant", "trainer.max_epochs=100000", "resume=auto")
    command("train", *options, "trainer.max_time=00:00:00:01", run_dir=run_dir)
    before, first = content(run_dir), results(run_dir)
    assert first["train/seconds"] >= 1
    command("train", *options, "trainer.max_time=00:00:00:01", run_dir=run_dir)
    assert "a larger trainer.max_time (00:00:00:01, over all legs)" in capfd.readouterr().out
    assert content(run_dir) == before
    steps = first["steps"] + 2
    more = ("trainer.max_time=00:01:00:00", f"trainer.max_steps={steps}")
    command("train", *options, *more, run_dir=run_dir)
    assert results(run_dir)["steps"] == steps
    assert results(run_dir)["train/seconds"] > first["train/seconds"]


def test_three_legs_make_one_run(resume, base) -> None:
    first = results(base)
    second = resume("trainer.max_epochs=3", "resume=auto", run_dir=base)
    third = results(resume("trainer.max_epochs=4", path=second))
    assert (third["legs"], third["epochs"], third["steps"]) == (3, 4, 40)
    assert third["wall_seconds"] > results(second)["wall_seconds"] > first["wall_seconds"]
    assert third["images_per_second"] > 0


def test_where_training_goes_on_is_told(resume, base) -> None:
    within = base / "checkpoints" / "last.previous.ckpt"
    run_dir = resume("optimizer.lr=1e-6", *TESTED, path=within)
    told = (run_dir / "train.log").read_text()
    assert f"resumed from {within} at step 18, epoch 1, 8 batches" in told
    assert "  optimizer.lr        0.004 -> 1e-06\n  trainer.max_epochs      2 -> 3\n" in told


@pytest.mark.parametrize("moved", [False, True])
def test_the_best_of_all_legs_is_kept(resume, base, moved) -> None:
    best = results(base)
    if moved:
        base = base.rename(base.with_name("elsewhere"))
    run_dir = resume("optimizer.lr=3", "scheduler=none", *TESTED, path=base)
    found = results(run_dir)
    assert last(run_dir)["callbacks"]["Legs"]["legs"] == 2
    assert (found["val/bpd"], found["test/bpd"]) == (best["val/bpd"], best["test/bpd"])
    kept = torch.load(run_dir / "checkpoints" / "best.ckpt", weights_only=True)
    assert kept["global_step"] == 20


def test_an_old_best_is_not_left_beside_later_figures(resume, base, tmp_path) -> None:
    before, none = content(base), "callbacks.checkpoint.save_top_k=0"
    for options in ([f"resume={base}"], ["resume=auto"]):
        run_dir = base if "resume=auto" in options else tmp_path / "other"
        message = refused(resume, none, *options, run_dir=run_dir)
        assert "callbacks.checkpoint.save_top_k: expected 1 or more" in message
        assert message.endswith("has kept its best, in best.ckpt, got 0.")
        assert not (tmp_path / "other" / "checkpoints").exists()
    changed = {name for name, held in content(base).items() if before.get(name) != held}
    assert changed == {"train.log"}


def test_the_best_of_several_stays_the_best(resume, base) -> None:
    several = ("callbacks.checkpoint.save_top_k=2", "callbacks.checkpoint.filename='best-{step}'")
    run_dir = resume(*several, "optimizer.lr=0.3", "scheduler=none", "trainer.max_epochs=4")
    found = results(run_dir)
    assert (found["val/step"], found["val/bpd"]) == (20, results(base)["val/bpd"])
    kept = {path.name for path in (run_dir / "checkpoints").glob("best*")}
    assert len(kept) == 2
    assert kept & {"best.ckpt", "best-step=20.ckpt"}


def test_a_foreign_best_checkpoint_is_not_taken(resume, base, command, tmp_path) -> None:
    """That of another run, which lies beside a copy of the last checkpoint."""
    better = command("train", *BASE, WARMUP, "trainer.max_epochs=6", "model.steps=2")
    gathered = tmp_path / "gathered"
    gathered.mkdir()
    shutil.copy(base / "checkpoints" / "last.ckpt", gathered / "a.ckpt")
    shutil.copy(better / "checkpoints" / "best.ckpt", gathered / "best.ckpt")
    found = results(resume("optimizer.lr=3", "scheduler=none", path=gathered / "a.ckpt"))
    assert (found["val/step"], found["val/bpd"]) == (20, results(base)["val/bpd"])


def test_the_best_of_steps_that_are_made_again_is_put_aside(resume, base) -> None:
    within = base / "checkpoints" / "last.previous.ckpt"
    options = ("optimizer.lr=1e-6", "trainer.max_epochs=2")
    before = results(base)["val/bpd"]
    found = results(resume(*options, path=within, run_dir=base))
    assert found["val/bpd"] > before
    aside = torch.load(base / "checkpoints" / "best.later.ckpt", weights_only=True)
    assert (aside["global_step"], found["val/step"]) == (20, 20)


def test_no_path_of_a_file_is_removed(resume, base, tmp_path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    path, run_dir = base / "checkpoints" / "last.ckpt", tmp_path / "mine"
    content = last(base)
    (key,) = (k for k in content["callbacks"] if k.startswith("ModelCheckpoint"))
    victim, score = str(run_dir / "checkpoints" / ".." / ".." / "precious"), torch.tensor(99.0)
    state = {
        "monitor": "zzz",
        "best_k_models": {victim: score},
        "kth_best_model_path": victim,
        "kth_value": score,
        "best_model_path": victim,
        "best_model_score": score,
        "current_score": score,
    }
    content["callbacks"][key] = state
    torch.save(content, path)
    resume(run_dir=run_dir)
    assert precious.is_dir()


def test_a_share_is_no_number_of_batches() -> None:
    before, now = {"trainer": {"limit": 1.0, "on": 1}}, {"trainer": {"limit": 1, "on": True}}
    assert [d.key for d in differences(before, now)] == ["trainer.limit", "trainer.on"]
    assert differences({"a": [1, {"b": 2}]}, {"a": [1, {"b": 2}]}) == []


def test_an_epoch_that_has_begun_is_not_done(command, tmp_path) -> None:
    run_dir = command("train", *BASE, WARMUP, "trainer.max_steps=25", "trainer.max_epochs=9")
    assert (results(run_dir)["epochs"], results(run_dir)["steps"]) == (2, 25)
    again = ("trainer.max_steps=25", "trainer.max_epochs=9", f"resume={run_dir}")
    in_new_folder = command("train", *BASE, WARMUP, *again)
    assert (results(in_new_folder)["epochs"], results(in_new_folder)["steps"]) == (2, 25)
    assert "no step was left to make after step 25" in (in_new_folder / "train.log").read_text()
    options = (*BASE, WARMUP, "resume=auto", "trainer.max_epochs=3")
    command("train", *options, run_dir=run_dir)
    assert "no step was left" not in (run_dir / "train.log").read_text()
    assert (results(run_dir)["epochs"], results(run_dir)["steps"]) == (3, 30)


def test_what_a_run_has_not_saved_is_made_again(base, command) -> None:
    """Its results say that a checkpoint could not be written."""
    path = base / "results.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"unwritten_checkpoints": 1}))
    command("train", *BASE, WARMUP, "resume=auto", run_dir=base)
    assert results(base)["legs"] == 2


def test_the_checkpoint_that_has_come_furthest_is_gone_on_from(base, resume) -> None:
    resume("callbacks.last=null", "resume=auto", run_dir=base)
    assert results(resume("trainer.max_epochs=4", "resume=auto", run_dir=base))["steps"] == 40
    assert f"{base}/checkpoints/best.ckpt at step 30" in (base / "train.log").read_text()


def test_a_best_checkpoint_that_is_gone_is_told(resume, base) -> None:
    path = base / "checkpoints" / "last.ckpt"
    path.with_name("best.ckpt").unlink()
    content = last(base)
    (keeper,) = (s for s in content["callbacks"].values() if "best_k_models" in s)
    keeper["best_k_models"] = {"/nowhere/best.ckpt": keeper["best_model_score"]}
    torch.save(content, path)
    run_dir = resume("optimizer.lr=3", "scheduler=none")
    assert "the best checkpoint up to step 20 (val/bpd" in (run_dir / "train.log").read_text()
    kept = torch.load(run_dir / "checkpoints" / "best.ckpt", weights_only=True)
    assert kept["global_step"] == 30


def test_a_kill_s_half_row_is_no_row(resume, base) -> None:
    file = base / "csv" / "version_0" / "metrics.csv"
    text = file.read_text()
    file.write_text(text + text.splitlines()[-1][:-3])
    rows = rates(resume())
    assert sorted(rows) == list(range(30))


def start(command, path: object, *arguments: str) -> Path:
    return command("train", *BASE, f"init_from={path}", *arguments)


def test_another_training_starts_from_averaged_weights(command, base) -> None:
    other = ("data.global_batch_size=40", "optimizer=adamax", "optimizer.lr=0", "seed=3")
    run_dir = start(command, base, "trainer.max_epochs=1", *other)
    ended, best = last(run_dir), base / "checkpoints" / "best.ckpt"
    assert (ended["global_step"], ended["callbacks"]["Legs"]["legs"]) == (10, 1)
    given = torch.load(best, weights_only=True)["state_dict"]
    for name, weight in ended["current_model_state"].items():
        assert torch.equal(weight, given[name]), name
    assert f"started from {len(given)} weights of {best}" in (run_dir / "train.log").read_text()


def test_weights_that_do_not_fit_are_refused_or_listed(command, base) -> None:
    with pytest.raises(SystemExit, match=r"init_from: .* weights do not fit; init_strict=false"):
        start(command, base, "model.steps=2")
    run_dir = start(command, base, "model.steps=2", "init_strict=false", *FROZEN)
    told = (run_dir / "train.log").read_text()
    assert "weights do not fit and were not taken" in told
    assert "step_1.coupling" in told
    assert "absent there" in told
    given, ended = last(base)["state_dict"], last(run_dir)["current_model_state"]
    for name in given:
        assert torch.equal(ended[name], given[name]), name


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["init_from=nowhere.ckpt"], "nowhere.ckpt: expected a .ckpt file"),
        (["init_from=.", "resume=nowhere"], "expected one of them"),
        (["init_from=."], "init_from: expected a checkpoint or a run's folder, got '.'"),
    ],
)
def test_what_cannot_be_started_from_is_named(command, arguments, told) -> None:
    with pytest.raises(SystemExit) as stopped:
        command("train", *BASE, *arguments)
    assert told in str(stopped.value.code)
