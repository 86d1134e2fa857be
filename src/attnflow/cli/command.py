"""The commands: each is a config of ``conf/`` and a task that it is given to."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import hydra
from omegaconf import DictConfig

from attnflow.cli.composition import composed, composing, flags_first
from attnflow.cli.configs import config_folder, own_folder, with_own_folder
from attnflow.cli.help import help_of
from attnflow.cli.slips import check_plugins, check_slips, named_data, named_subject
from attnflow.utils.signals import end_at_signals, signals_first

__all__ = ["COMMANDS", "Command"]

HELP = ("--help", "-h")


@dataclass(frozen=True)
class Command:
    """A command, which takes options as Hydra's applications do.

    Attributes:
        name: of its config too, ``conf/NAME.yaml``.
        home: module and name of the function that does it. It is imported when it is needed:
            torch takes seconds, ``--help`` and ``--cfg`` should not.
        about: what it does, in a sentence.
        subject: the option that an argument without a name is of.
        is_run: whether it makes a folder of its own, as a run or a sweep.
    """

    name: str
    home: str
    about: str
    subject: str | None = None
    is_run: bool = True

    def start(self, program: str) -> None:
        """Do what the command line says (``sys.argv``), and exit with a status.

        Args:
            program: how the command is called, for its help.
        """
        arguments, conf = sys.argv[1:], config_folder()
        if any(argument in HELP for argument in arguments):
            own = own_folder(arguments)
            folders = [conf, *([] if own is None else [own])]
            say(help_of(program, self.about, conf / f"{self.name}.yaml", folders))
            sys.exit(0)
        arguments = named_data(named_subject(arguments, self.subject), conf)
        sys.argv[1:] = with_own_folder(flags_first(arguments))
        check_slips(sys.argv[1:], conf)
        check_plugins(sys.argv[1:])
        with signals_first(), composing(sys.argv[1:], self.name):
            run = hydra.main(version_base="1.3", config_path=str(conf), config_name=self.name)
            run(self.task())()
        from attnflow.cli.run import exit_status

        sys.exit(exit_status())

    def task(self) -> Callable[[DictConfig], float | None]:
        """What Hydra calls with a composed config, here or in a launcher's worker."""
        module, _, name = self.home.partition(":")
        is_run = self.is_run

        def task(config: DictConfig) -> float | None:
            composed()
            end_at_signals()  # in a launcher's worker too
            from attnflow.cli.run import do, run

            return (run if is_run else do)(getattr(import_module(module), name), config)

        return task


def say(text: str) -> None:
    """Print a text, to the end or to where its reader has closed the pipe."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


COMMANDS = {
    command.name: command
    for command in (
        Command("train", "attnflow.cli.train:train", "Train a flow."),
        Command(
            "eval",
            "attnflow.cli.evaluate:evaluate",
            "Evaluate a checkpoint: figures and pictures.",
        ),
        Command("sample", "attnflow.cli.sample:sample", "Draw images of a checkpoint, as files."),
        Command("score", "attnflow.cli.score:score", "Tell every image's bits/dim, as a table."),
        Command("export", "attnflow.cli.export:export", "Write a model as a folder to share."),
        Command(
            "report",
            "attnflow.cli.report:report",
            "Compare the runs in a folder, in a page.",
            subject="folder",
            is_run=False,
        ),
        Command("explore", "attnflow.cli.explore:explore", "Serve a page over trained models."),
    )
}
