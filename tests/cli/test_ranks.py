"""Starting ranks: who does it, and what happens when one of them fails."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from conftest import ROOT, SHORT
from hydra import compose, initialize_config_dir

from attnflow.cli import ranks
from attnflow.cli.ranks import cause_of_failure, count_ranks, rank_environment
from attnflow.data import DigitsDataModule
from attnflow.errors import AttnFlowError


def config(*overrides: str):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", [*overrides, "paths.output_dir=."])


def test_ranks_are_counted() -> None:
    assert count_ranks(config("trainer=cpu")) == 0
    assert count_ranks(config("trainer=ddp_cpu")) == 2
    assert count_ranks(config("trainer=ddp_cpu", "trainer.devices=4")) == 4
    with pytest.raises(
        AttnFlowError, match="expected a multiple of 3, the number of ranks, got 64"
    ):
        count_ranks(config("trainer=ddp_cpu", "trainer.devices=3"))
    with pytest.raises(
        AttnFlowError, match=r"trainer\.devices: expected 1 .*trainer=ddp .*, got 2"
    ):
        count_ranks(config("trainer=cpu", "trainer.devices=2"))


@pytest.mark.parametrize(
    "environment",
    [
        {
            "SLURM_NTASKS": "2",
            "SLURM_NTASKS_PER_NODE": "2",
            "SLURM_JOB_NAME": "train",
            "SLURM_JOB_ID": "71",
            "SLURM_PROCID": "0",
            "SLURM_LOCALID": "0",
            "SLURM_NODEID": "0",
        },
        {
            "TORCHELASTIC_RUN_ID": "71",
            "LOCAL_RANK": "0",
            "RANK": "0",
            "GROUP_RANK": "0",
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": "29500",
        },
    ],
    ids=["slurm", "torchrun"],
)
def test_ranks_that_others_have_started_are_not_started_again(monkeypatch, environment) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert count_ranks(config("trainer=ddp_cpu")) == 0


def test_a_port_in_use_is_named(monkeypatch) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("MASTER_PORT", str(port))
        with pytest.raises(AttnFlowError, match=f"MASTER_PORT: expected .* got {port} "):
            rank_environment(nodes=1, ranks=2)
        # It is the first node's.
        monkeypatch.setenv("NODE_RANK", "1")
        assert rank_environment(nodes=1, ranks=2)["MASTER_PORT"] == str(port)
    monkeypatch.delenv("MASTER_PORT")
    monkeypatch.delenv("NODE_RANK")
    assert int(rank_environment(nodes=1, ranks=2)["MASTER_PORT"]) != port


def test_several_nodes_must_know_the_first(monkeypatch) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK"):  # earlier trainings may have set them
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(AttnFlowError, match="no MASTER_ADDR and no MASTER_PORT and no NODE_RANK"):
        rank_environment(nodes=2, ranks=2)


class ManyRanks:
    """What a data module asks of a trainer."""

    world_size, global_rank = 301, 0


def test_more_ranks_than_samples_are_refused() -> None:
    digits = DigitsDataModule(global_batch_size=602)
    digits.trainer = ManyRanks()
    with pytest.raises(AttnFlowError, match=r"val split: expected .*, got 300 images on 301 ranks"):
        digits.val_dataloader()
    digits.global_batch_size = 64
    with pytest.raises(AttnFlowError, match=r"a multiple of 301, .* got 64"):
        digits.train_dataloader()


def test_the_first_error_is_the_cause(tmp_path) -> None:
    def tell(rank: int, content: str) -> None:
        path = tmp_path / f"error_{rank}.json"
        path.write_text(content)
        os.utime(path, ns=(time.time_ns(), rank))

    tell(1, '[null, "Traceback\\nValueError: later"]')
    tell(0, '[null, "Traceback\\nRuntimeError: Connection closed by peer"]')
    assert cause_of_failure(tmp_path, [1, 1]).startswith("rank 0 failed (RuntimeError: Connection")
    assert "rank 2 ended with status -9" in cause_of_failure(tmp_path, [1, 1, -9])
    tell(1, '["the loss is nan.", "Traceback"]')
    assert cause_of_failure(tmp_path, [1, 1, -9]) == "the loss is nan."


@pytest.mark.parametrize("code", ["sys.exit(1)", "sys.exit(143)", "os.kill(os.getpid(), 15)"])
def test_a_rank_that_waits_for_one_that_has_ended_is_ended(monkeypatch, code) -> None:
    """Whatever its number: the first waits for the second, which a signal ended before it began."""
    monkeypatch.setattr(ranks, "GRACE", 0.2)
    monkeypatch.setattr(ranks, "LINGER", 0.2)
    bodies = ("import time; time.sleep(3600)", f"import os, sys; {code}")
    processes = [subprocess.Popen([sys.executable, "-c", body]) for body in bodies]
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it waits for ever"))
    signal.alarm(60)
    try:
        ranks.wait(processes)
        assert processes[0].poll() is None
    finally:
        signal.alarm(0)
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("raise", "error: rank 1 failed (RuntimeError: this rank has had enough)"),
        ("kill", "error: rank 1 ended with status -9 and no word"),
    ],
)
def test_a_failing_rank_ends_all(command, tmp_path, forked_ranks, how, told) -> None:
    run_dir = tmp_path / "failed"
    probe = ["+callbacks.probe._target_=probe.Probe", f"+callbacks.probe.folder={run_dir}"]
    with pytest.raises(SystemExit) as stopped:
        command(
            "train",
            *SHORT,
            *probe,
            f"+callbacks.probe.how={how}",
            "trainer=ddp_cpu",
            run_dir=run_dir,
        )
    assert str(stopped.value.code).startswith(told)
    for line in (run_dir / "started").read_text().splitlines():
        with pytest.raises(ProcessLookupError):
            os.kill(int(line.split()[1]), 0)


@pytest.mark.slow
def test_bad_input_to_all_ranks_is_told_once(command, forked_ranks, capfd) -> None:
    with pytest.raises(SystemExit) as stopped:
        command("train", *SHORT, "trainer=ddp_cpu", "data.global_batch_size=63")
    assert stopped.value.code == (
        "error: data.global_batch_size: expected a multiple of 2, the number of ranks, got 63."
    )
    assert "Traceback" not in capfd.readouterr().err
