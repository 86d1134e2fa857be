"""Searches over hyperparameters: Optuna by Hydra's sweeper, and the file for W&B's agents."""

from __future__ import annotations

from importlib import metadata

import pytest
from conftest import ROOT, results
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

CONF = ROOT / "conf"


@pytest.mark.slow
def test_optuna_searches_for_the_lowest_bits(train) -> None:
    """Without -m; a search that is kept in a file goes on where it stopped."""
    search = ["debug=fast", "hparams_search=optuna", "hydra.sweeper.storage=sqlite:///search.db"]
    tried = []
    for _ in range(2):
        sweep = train(*search, "hydra.sweeper.n_trials=1")
        tried.append(results(sweep / "0"))
        best = OmegaConf.load(sweep / "optimization_results.yaml")
    assert best.best_value == min(job["val/bpd"] for job in tried)
    assert best.best_params.keys() == {"attention", "placement", "optimizer.lr"}
    assert best.best_params["attention"] in {job["attention"] for job in tried}
    assert 0.0003 <= best.best_params["optimizer.lr"] <= 0.01


def test_a_missing_plugin_is_named(train, monkeypatch) -> None:
    distribution = metadata.distribution

    def without_plugin(name: str) -> metadata.Distribution:
        if name == "hydra-optuna-sweeper":
            raise metadata.PackageNotFoundError(name)
        return distribution(name)

    monkeypatch.setattr("attnflow.cli.slips.distribution", without_plugin)
    with pytest.raises(SystemExit) as stopped:
        train("hparams_search=optuna")
    assert "pip install 'attnflow[search]'" in str(stopped.value.code)


def test_wandb_agents_arguments_compose() -> None:
    """An agent puts key=value for ${args_no_hyphens} and runs the command."""
    sweep = OmegaConf.to_container(OmegaConf.load(CONF / "wandb_sweep.yaml"), resolve=False)
    assert (ROOT / sweep["program"]).is_file()
    assert sweep["metric"] == {"name": "val/bpd", "goal": "minimize"}
    *start, logger, arguments = sweep["command"]
    assert start == ["${env}", "${interpreter}", "${program}"]
    assert arguments == "${args_no_hyphens}"
    parameters = sweep["parameters"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for name, values in parameters.items():
            for value in values.get("values", [values.get("min"), values.get("max")]):
                assert compose("train", [logger, f"{name}={value}"])
    lowest = [
        f"{k}={v['values'][-1] if 'values' in v else v['min']}" for k, v in parameters.items()
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [logger, *lowest])
    assert config.optimizer.lr == 0.0003
    assert config.attention._target_.endswith("ITrans")
    assert config.logger.wandb.project == "attnflow"
