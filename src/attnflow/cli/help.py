"""``--help``: what a command takes, with the first sentence of every option."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from attnflow.cli.described import Option, first_sentence, options_of

__all__ = ["help_of"]

# Groups that hold no choice.
PLACES = ("paths", "hydra")
WIDTH = 100
INDENT = 26
GROUP = re.compile(r"^  - (?:override )?/?(?P<group>\w+): (?P<chosen>\w+)$")
USAGE = """\
usage: {program} [GROUP=OPTION] [KEY=VALUE] ...

{about}

  --cfg job       the composed config, without doing anything
  --config-dir    a folder of your own groups and options; ./conf by default
  -m, --multirun  a job for each combination of values with commas between them
  --hydra-help    Hydra's own flags
"""


def help_of(program: str, about: str, primary: Path, folders: Sequence[Path]) -> str:
    """The text of ``--help``.

    Args:
        program: how the command is called.
        about: what it does.
        primary: its config, which names its groups and options.
        folders: that hold groups: the package's, and a user's own.
    """
    pieces = [USAGE.format(program=program, about=about)]
    for group, chosen in groups_of(primary):
        choices = list(choices_of(group, folders))
        if choices:
            shown = chosen if chosen != "null" else "none by default"
            pieces += [f"{group}={shown}", *(described(*choice) for choice in choices), ""]
    pieces += ["options", *(option_line(option) for option in options_of(primary))]
    return "\n".join(pieces)


def groups_of(primary: Path) -> Iterator[tuple[str, str]]:
    """The groups of a config's defaults, each with what is chosen; not those without a choice."""
    text = primary.read_text().partition("defaults:\n")[2]
    for line in text.splitlines():
        entry = GROUP.match(line)
        if entry and entry["group"] not in PLACES:
            yield entry["group"], entry["chosen"]
        elif line and not line.startswith("  "):
            return


def choices_of(group: str, folders: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """The options of a group by name, each with its first sentence."""
    found = {path.stem: path for folder in folders for path in (folder / group).glob("*.yaml")}
    for name in sorted(found):
        yield name, first_sentence(found[name])


def option_line(option: Option) -> str:
    shown = f"{option.key}={option.default}" if option.default else option.key
    return described(shown, option.about)


def described(name: str, about: str) -> str:
    """A name, and beside it what is said of it, over as many lines as it needs."""
    head = f"  {name}"
    if not about:
        return head
    lines = textwrap.wrap(about, WIDTH - INDENT)
    if len(head) + 2 > INDENT:
        return "\n".join([head, *(" " * INDENT + line for line in lines)])
    first, *rest = lines
    return "\n".join([f"{head:<{INDENT}}{first}", *(" " * INDENT + line for line in rest)])
