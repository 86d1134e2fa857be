"""``attnflow COMMAND [key=value] ...``, also as ``python -m attnflow``."""

from __future__ import annotations

import os
import sys

from attnflow.utils.signals import end_at_signals

if __name__ == "__main__":
    end_at_signals()  # first: from here on, Ctrl-C leaves no traceback

from attnflow.cli.command import COMMANDS
from attnflow.version import __version__

USAGE = "usage: attnflow COMMAND [key=value] ...    attnflow COMMAND --help"
COMPLETION = ("-sc", "--shell-completion")


def main() -> None:
    """Run the command that the first argument names."""
    end_at_signals()
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h"):
        print("\n".join([USAGE, "", *(f"  {c.name:<9}{c.about}" for c in COMMANDS.values())]))
    elif name == "--version":
        print(__version__)
    elif name in COMPLETION:
        complete(arguments)
    elif name in COMMANDS:
        sys.argv[1:] = arguments
        COMMANDS[name].start(f"attnflow {name}")
    else:
        sys.exit(f"error: expected one of the commands {', '.join(COMMANDS)}, got {name}.")


def complete(arguments: list[str]) -> None:
    """Answer a shell that asks for completions, or print what makes it ask.

    Hydra's own answer is for an application of one command, so the command's name is taken out of
    the line that is completed.
    """
    words = os.environ.get("COMP_LINE", "").split(" ")
    name = words[1] if len(words) > 2 else ""
    if arguments[:1] and arguments[0].startswith("query") and name not in COMMANDS:
        print(" ".join(COMMANDS))
        return
    os.environ["COMP_LINE"] = " ".join([*words[:1], *words[2:]])
    sys.argv[1:] = ["--shell-completion", *arguments]
    COMMANDS[name or "train"].start("attnflow")


if __name__ == "__main__":
    main()
