"""Train small models by commands and copy what they draw into ``docs/pictures``.

``make docs-pictures`` runs it. Each picture stands with the commands that make it, those that the
pages name; names of pictures as arguments make these alone. What is finished is not trained again.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parent
RUNS = DOCS.parent / "logs" / "docs"
MOST_BYTES = 150_000

# The commands of a run by the name of its folder below RUNS, in their order.
COMMANDS = {
    "first": "train",
    "first_eval": "eval ckpt_path=first eval.pictures=[samples,attention]",
}


@dataclass(frozen=True)
class Picture:
    """A picture of the documentation.

    Attributes:
        runs: names of the runs that make it, in their order.
        file: that it is a copy of, below RUNS.
    """

    runs: tuple[str, ...]
    file: str


PICTURES = {
    "digits_samples": Picture(("first",), "first/samples/final.png"),
    "digits_attention": Picture(("first", "first_eval"), "first_eval/samples/attention.png"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the pictures that the arguments name, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="picture", help=", ".join(PICTURES))
    names = parser.parse_args(arguments).names or list(PICTURES)
    unknown = [name for name in names if name not in PICTURES]
    if unknown:
        parser.error(f"expected pictures of {', '.join(PICTURES)}, got {', '.join(unknown)}.")
    RUNS.mkdir(parents=True, exist_ok=True)
    for run in runs_of(names):
        if not (RUNS / run / "results.json").exists():
            make(run)
    for name in names:
        copy(name)


def runs_of(names: Sequence[str]) -> Iterator[str]:
    """The runs of these pictures, each once, in their order."""
    yield from dict.fromkeys(run for name in names for run in PICTURES[name].runs)


def make(run: str) -> None:
    """Do a run by its command, in the folder of the runs."""
    where = [f"hydra.run.dir={run}", "overwrite=true"]
    command = [*shlex.split(COMMANDS[run]), *where]
    print("attnflow", *command, flush=True)
    subprocess.run([sys.executable, "-m", "attnflow", *command], cwd=RUNS, check=True)


def copy(name: str) -> None:
    """Copy a picture, if it is small enough for a page."""
    source, target = RUNS / PICTURES[name].file, DOCS / "pictures" / f"{name}.png"
    size = source.stat().st_size
    if size > MOST_BYTES:
        sys.exit(f"{source}: expected at most {MOST_BYTES} bytes, got {size}.")
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(source, target)
    print(f"{target}: {size} bytes", flush=True)


if __name__ == "__main__":
    main()
