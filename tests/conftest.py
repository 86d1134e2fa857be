"""Helpers that several tests share."""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path

# Two ranks or jobs at once must not fight over two cores; nothing may ask for a login.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"

import pytest
import torch
import yaml
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from torch import nn

from attnflow.cli.command import COMMANDS
from attnflow.utils.signals import ENDING

ROOT = Path(__file__).parents[1]

# Configs are read and written by the thousand here: in C where PyYAML has it, to the same values.
if yaml.__with_libyaml__:
    yaml.SafeLoader, yaml.Dumper = yaml.CSafeLoader, yaml.CDumper

# A training of a few steps, with a model that takes no time.
QUICK = [
    "trainer=cpu",
    "trainer.max_epochs=2",
    "trainer.limit_train_batches=3",
    "trainer.check_val_every_n_epoch=1",
    "trainer.log_every_n_steps=1",
    "callbacks.pictures.num_samples=4",
    "callbacks.round_trip.num_images=4",
    "callbacks.soundness.num_images=4",
    "callbacks.progress=null",
    "callbacks.summary=null",
]

# Options of a small flow of each kind.
SMALL = {
    "glow": ["model.steps=1", "coupling_net.hidden_channels=16"],
    "jet": ["model.steps=2", "model.spatial_every=2", "coupling_net.width=8"],
    "tarflow": ["model.blocks=2", "causal_net.width=8", "causal_net.num_heads=2"],
}
SHORT = [*QUICK, *SMALL["glow"]]

# The shortest training.
TINY = [*SHORT, "trainer.max_epochs=1", "model.levels=1"]
TINY += ["trainer.limit_test_batches=1", "trainer.limit_val_batches=1"]

# Options that say whether a command is a sweep.
MODES = ("hydra.mode=", "hparams_search=", "launcher=", "hydra/")

Command = Callable[..., Path]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--models", type=int, default=16, help="models to compose at random")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What trains by a command is slow."""
    for item in items:
        if "train" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def inception_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """torch-fidelity's architecture with random weights, in its format."""
    # Imported here: tests without it should not wait for it.
    from torch_fidelity import feature_extractor_inceptionv3 as fidelity

    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fidelity, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(fidelity.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = fidelity.FeatureExtractorInceptionV3("random", ["2048"])
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)  # or the features would all but vanish
    network.fc.weight.mul_(100)  # confident, or all images would be of all classes, and score 1
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def run_script(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: str) -> None:
    """Run train.py, eval.py or another command in this process, with these arguments."""
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
    if not any(a.startswith(MODES) for a in arguments):
        # Hydra composes the whole config a first time to look for its mode, which these alone set.
        monkeypatch.setattr(Hydra, "get_mode", lambda *_, **__: None)
    GlobalHydra.instance().clear()
    handlers = {signum: signal.getsignal(signum) for signum in ENDING}
    try:
        if (ROOT / f"{name}.py").exists():
            runpy.run_path(str(ROOT / f"{name}.py"), run_name="__main__")
        else:
            COMMANDS[name].start(f"attnflow {name}")
    except SystemExit as stopped:
        if stopped.code != 0:
            raise
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a script in this process, as its command line would; returns its run directory."""

    def run(name: str, *arguments: str, run_dir: Path | None = None) -> Path:
        runs = len(list(tmp_path.glob(f"{name}_*")))
        monkeypatch.chdir(tmp_path)
        run_dir = run_dir or tmp_path / f"{name}_{runs}"
        where = [f"hydra.run.dir={run_dir}", f"hydra.sweep.dir={run_dir}"]
        run_script(monkeypatch, name, *arguments, *where)
        return run_dir

    return run


@pytest.fixture
def train(command: Command) -> Command:
    """A short training with further arguments; returns its run directory."""

    def run(*arguments: str, run_dir: Path | None = None) -> Path:
        chosen = [option for option in arguments if str(option).startswith("model=")]
        small = SMALL[chosen[-1].removeprefix("model=") if chosen else "glow"]
        if "coupling_net=vit" in arguments:
            small = [*small[:1], "coupling_net.width=8"]
        return command("train", *QUICK, *small, *arguments, run_dir=run_dir)

    return run


@pytest.fixture
def forked_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the ranks of commands forked from a process that has imported everything."""
    from processes import serve_rank  # which imports this file

    monkeypatch.setattr("attnflow.cli.ranks.start", serve_rank)


def results(run_dir: Path) -> dict:
    """What a run wrote as results.json."""
    return json.loads((run_dir / "results.json").read_text())
