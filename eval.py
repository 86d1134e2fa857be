"""Evaluate a checkpoint: ``python eval.py ckpt_path=PATH``."""

from __future__ import annotations

import sys
from pathlib import Path

from attnflow.utils.signals import end_at_signals

if __name__ == "__main__":
    end_at_signals()  # first: from here on, Ctrl-C leaves no traceback

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="eval")
def main(config: DictConfig) -> float | None:
    """Evaluate with the composed config; returns test/bpd."""
    end_at_signals()  # in a launcher's worker too
    # Imported here: torch and lightning take seconds, --help and --cfg should not.
    from attnflow.cli.evaluate import evaluate
    from attnflow.cli.run import run

    return run(evaluate, config)


if __name__ == "__main__":
    from attnflow.cli.slips import check_slips

    check_slips(sys.argv[1:], Path(__file__).parent / "conf")
    main()
    from attnflow.cli.run import exit_status

    sys.exit(exit_status())
