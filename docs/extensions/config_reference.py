"""Write ``reference/config.md`` from ``conf/`` before the pages are read.

Every group of the configuration has a table of its options, each with the first sentence of its
file, and every option one of its keys, with their defaults and the comments above them: the same
that ``attnflow COMMAND --help`` shows, read by the same functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import yaml
from sphinx.application import Sphinx

from attnflow.cli.command import COMMANDS, Command
from attnflow.cli.configs import config_folder
from attnflow.cli.described import first_sentence, options_of
from attnflow.cli.help import groups_of

__all__ = ["page", "setup", "write"]

PAGE = Path("reference", "config.md")
INTRODUCTION = """\
# Configuration

<!-- Written by docs/extensions/config_reference.py from conf/ at every build. -->

A command's configuration is composed from groups and options. A **group** is a folder of `conf/`,
an **option** a file in it: `attention=itrans` chooses the option `itrans` of the group `attention`.
Every key of an option is set with its path, as in `attention.num_heads=2`. Defaults in the form
`${seed}` take the value of another key. `attnflow train --help` prints the tables of this page that
a training takes, `attnflow train --cfg job` the composed configuration.

Options of your own lie in the folder `conf/` where you start a command.
"""
# What Markdown or MyST would read as markup.
MARKUP = re.compile(r"([\\`*_{}\[\]<>|$~#])")


def page(conf: Path) -> str:
    """The page, in Markdown."""
    groups = sorted(path.name for path in conf.iterdir() if path.is_dir())
    shared = sorted(conf.glob("data_*.yaml"))
    pieces = [INTRODUCTION, "## Commands", ""]
    for command in COMMANDS.values():
        pieces += command_section(command, conf)
    pieces += ["## Groups", ""]
    for group in groups:
        pieces += group_section(group, conf)
    pieces += ["(config-shared)=", "## What data sets share", ""]
    pieces += ["Files that the options of `data` build on.", ""]
    for path in shared:
        pieces += option_section(path, conf)
    return "\n".join(pieces)


def command_section(command: Command, conf: Path) -> Iterator[str]:
    """What a command takes: its groups with their default, and its own options."""
    path = conf / f"{command.name}.yaml"
    yield from (f"(config-{command.name})=", f"### attnflow {command.name}", "")
    yield from (escaped(command.about), "")
    chosen = [group for group in groups_of(path) if (conf / group[0]).is_dir()]
    if chosen:
        yield "Groups, with what is chosen by default: " + ", ".join(map(_choice, chosen)) + "."
        yield ""
    yield from key_table(path)


def _choice(chosen: tuple[str, str]) -> str:
    group, option = chosen
    shown = group if option == "null" else f"{group}={option}"
    target = group if option == "null" else f"{group}-{option}"
    return f"[`{shown}`](#config-{target})" + (" (none)" if option == "null" else "")


def group_section(group: str, conf: Path) -> Iterator[str]:
    """A group's table of options, and each of them."""
    paths = sorted((conf / group).glob("*.yaml"))
    yield from (f"(config-{group})=", f"### {group}", "")
    yield from ("| option | |", "|---|---|")
    for path in paths:
        yield f"| [`{group}={path.stem}`](#config-{group}-{path.stem}) | {about(path)} |"
    yield ""
    for path in paths:
        yield from option_section(path, conf)


def about(path: Path) -> str:
    return escaped(first_sentence(path))


def option_section(path: Path, conf: Path) -> Iterator[str]:
    """A file of the configuration: its comment, what it makes, what it builds on and its keys."""
    place = path.relative_to(conf).with_suffix("").parts
    title = "=".join(place) if len(place) > 1 else place[0]
    yield from (f"(config-{'-'.join(place)})=", f"#### `{title}`", "")
    yield from (escaped(opening(path)), "")
    target = target_of(path)
    if target.startswith("attnflow."):
        yield from (f"Makes {{py:obj}}`{target}`.", "")
    elif target:
        yield from (f"Makes `{target}`.", "")
    bases = list(bases_of(path, conf))
    if bases:
        yield from ("Builds on " + ", ".join(bases) + ".", "")
    yield from key_table(path)


def opening(path: Path) -> str:
    """The whole first comment of a file."""
    lines = takewhile(lambda line: line.startswith("#"), path.read_text().splitlines())
    return " ".join(line.lstrip("# ") for line in lines if "@package" not in line)


def target_of(path: Path) -> str:
    """What a file's own ``_target_`` names; "" for none."""
    held = yaml.safe_load(path.read_text())
    return str(held.get("_target_", "")) if isinstance(held, dict) else ""


def bases_of(path: Path, conf: Path) -> Iterator[str]:
    """Links to what the defaults of a file name."""
    held = yaml.safe_load(path.read_text())
    for entry in held.get("defaults", []) if isinstance(held, dict) else []:
        name, option = next(iter(entry.items())) if isinstance(entry, dict) else (entry, "")
        if name == "_self_" or option is None:
            continue
        place = re.sub(r"@.*|^override\s+", "", str(name)).strip("/")
        shown = f"{place}={option}" if option else place
        parts = [place, str(option)] if option else [place]
        inside = [path.parent.name, place]
        if (conf / "/".join(parts)).with_suffix(".yaml").is_file():
            yield f"[`{shown}`](#config-{'-'.join(parts)})"
        elif not option and (conf / "/".join(inside)).with_suffix(".yaml").is_file():
            yield f"[`{'='.join(inside)}`](#config-{'-'.join(inside)})"
        else:
            yield f"`{shown}`"


def key_table(path: Path) -> Iterator[str]:
    """The keys of a file, with defaults and comments; nothing for a file without."""
    held = yaml.safe_load(path.read_text()) or {}
    rows = [(o.key, _default(held, o.key, o.default), o.about) for o in options_of(path)]
    rows = [row for row in rows if any(row[1:]) and row[0] != "task_name"]
    if rows:
        yield from ("| key | default | |", "|---|---|---|")
        for key, default, comment in rows:
            yield f"| `{key}` | {_code(default)} | {escaped(comment)} |"
        yield ""


def _default(held: dict, key: str, shown: str) -> str:
    """A key's default as the file says it, and a list that stands over several lines in one."""
    it: object = held
    for part in key.split(".") if not shown else ():
        it = it.get(part) if isinstance(it, dict) else None
    return shown or (f"[{', '.join(map(str, it))}]" if isinstance(it, list) else "")


def _code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|')}`" if text else ""


def escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    return MARKUP.sub(r"\\\1", text)


def write(folder: Path) -> None:
    """Write the page into the folder of the documentation, unless it is there already."""
    path, text = folder / PAGE, page(config_folder())
    if not path.is_file() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def setup(app: Sphinx) -> dict[str, object]:
    """Write the page before Sphinx looks for pages."""
    app.connect("builder-inited", lambda app: write(Path(app.srcdir)))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
