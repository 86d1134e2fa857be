"""Train a flow: ``python train.py [group=option] [key=value] ...``; ``--help`` lists the groups."""

from __future__ import annotations

import sys
from pathlib import Path

from attnflow.utils.signals import end_at_signals

if __name__ == "__main__":
    end_at_signals()  # first: from here on, Ctrl-C leaves no traceback

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> float | None:
    """Train with the composed config; returns the best val/bpd."""
    end_at_signals()  # in a launcher's worker too
    # Imported here: torch and lightning take seconds, --help and --cfg should not.
    from attnflow.cli.run import run
    from attnflow.cli.train import train

    return run(train, config)


if __name__ == "__main__":
    from attnflow.cli.run import check_plugins, exit_status
    from attnflow.cli.slips import check_slips

    check_slips(sys.argv[1:], Path(__file__).parent / "conf")
    check_plugins(sys.argv[1:])
    main()
    sys.exit(exit_status())
