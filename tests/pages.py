"""The documentation's pages, and the blocks in them that are run, composed, written or read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
SITE = ROOT / "docs"

FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>[^`\s]*)")
MARKER = re.compile(r"^ *<!-- docs: (?P<mode>compose|skip|needs|given):? *(?P<reason>.*?) *-->$")
FILE = re.compile(r"^# (?P<path>[\w./-]+\.(?:py|yaml|sh|csv))$")
# Pages that are written when the site is built.
BUILT = ("measured", "_build", "config.md")
# What is shown and not run.
OUTPUT = ("text", "console", "json", "csv", "html", "bibtex")
# What ends a command in a line of the shell.
ENDS = re.compile(r"^[;&|<>()\n]+$")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        line: of its first line of text, from 1.
        language: that its fence names; "" for none.
        text: without indentation.
        mode: ``compose``, ``skip``, ``needs`` or ``given``, of the comment before it; "" for none.
        reason: why it is skipped, the module without which it is, or the folders that are given.
    """

    line: int
    language: str
    text: str
    mode: str = ""
    reason: str = ""

    @property
    def file(self) -> str:
        """The path of the file that it is, which its first line names; "" for none."""
        first = FILE.match(self.text.partition("\n")[0])
        return first["path"] if first and self.language in ("python", "yaml") else ""

    @property
    def treatment(self) -> str:
        """What the suite does with it: run | composed | skipped | written | read | output."""
        if self.mode == "compose":
            return "composed"
        if self.mode == "skip" or (self.mode == "needs" and not find_spec(self.reason)):
            return "skipped"
        if self.file:
            return "written"
        return {"bash": "run", "python": "run", "yaml": "read"}.get(self.language, "output")

    @cached_property
    def commands(self) -> list[list[str]]:
        """The arguments of every ``attnflow`` in it."""
        return list(attnflow_commands(self.text)) if self.language == "bash" else []


@dataclass(frozen=True)
class Page:
    """A file of Markdown, by its path in the repository."""

    path: str

    @cached_property
    def text(self) -> str:
        return (ROOT / self.path).read_text()

    @cached_property
    def blocks(self) -> list[Block]:
        return list(blocks_of(self.text))

    @property
    def commands(self) -> list[list[str]]:
        """Of all ``attnflow`` that run."""
        return [c for block in self.blocks if block.treatment == "run" for c in block.commands]


def pages() -> list[Page]:
    """Every page that users read, but for those that are built of other files."""
    site = (p.relative_to(ROOT) for p in SITE.rglob("*.md") if not set(BUILT) & set(p.parts))
    return [Page(path) for path in ("README.md", "CONTRIBUTING.md", *map(str, sorted(site)))]


def blocks_of(text: str) -> Iterator[Block]:
    """The fenced blocks of Markdown; a fence inside of a longer one is its text."""
    lines = text.splitlines()
    mode, number = ("", ""), 0
    while number < len(lines):
        opened, marked = FENCE.match(lines[number]), MARKER.match(lines[number])
        if marked:
            mode = (marked["mode"], marked["reason"])
        elif opened:
            end = re.compile(rf"^ *{opened['fence']}`*$")
            rest = lines[number + 1 :]
            ends = (at for at, line in enumerate(rest) if end.match(line))
            held = rest[: next(ends, len(rest))]
            indent = len(opened["indent"])
            inside = "\n".join(line[indent:] for line in held) + "\n"
            yield Block(number + 2, opened["language"], inside, *mode)
            mode, number = ("", ""), number + len(held) + 1
        elif lines[number].strip():
            mode = ("", "")
        number += 1


def attnflow_commands(script: str) -> Iterator[list[str]]:
    """The arguments of every ``attnflow`` in a script of the shell."""
    joined = re.sub(r"(?m)(?:^|(?<=\s))#[^\n]*", "", script.replace("\\\n", " "))
    words = shlex.shlex(joined, posix=True, punctuation_chars=";&|<>()\n")
    words.whitespace, words.whitespace_split, words.commenters = " \t", True, ""
    command: list[str] = []
    for word in [*words, "\n"]:
        if not ENDS.match(word):
            command.append(word)
            continue
        if "attnflow" in command:
            yield command[command.index("attnflow") + 1 :]
        command = []
