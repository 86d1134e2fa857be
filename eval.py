"""Evaluate a checkpoint: ``python eval.py ckpt_path=PATH``, as ``attnflow eval`` does.

The shell's completion (``python eval.py -sc install=bash``) looks for ``@hydra.main`` here, which
is what ``attnflow.cli.command`` calls.
"""

from __future__ import annotations

from attnflow.utils.signals import end_at_signals

if __name__ == "__main__":
    end_at_signals()  # first: from here on, Ctrl-C leaves no traceback

from attnflow.cli.command import COMMANDS

if __name__ == "__main__":
    COMMANDS["eval"].start("python eval.py")
