"""Run a page of the documentation from top to bottom in an empty folder, as its reader would.

:func:`small` is the one place where commands differ from what the page says: it appends the
settings of :data:`SMALL`, so that a training takes two batches; and a page that ``attnflow
explore`` serves is left as soon as it is there. All else is run as it is written.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml
from page_givens import GIVENS
from pages import Block, Page

# What is appended to a command of a page, by its name.
SMALL = {
    "train": [
        "trainer.max_epochs=1",
        "trainer.check_val_every_n_epoch=1",
        "trainer.val_check_interval=null",
        "trainer.limit_train_batches=2",
        "trainer.limit_val_batches=1",
        "trainer.limit_test_batches=1",
        "callbacks.progress=null",
    ],
    "eval": ["trainer.limit_test_batches=1", "eval.num_searched=64", "eval.num_conditions=4"],
    "sample": ["n=8"],
    "explore": ["port=0", "test_images=8"],
}
# A search has two trials.
SEARCH = "hydra.sweeper.n_trials=2"
# A run that is resumed with more epochs has one more.
RESUMED = "trainer.max_epochs=2"
# The first argument of a request for a page.
PAGE = "--page"
# Seconds that a block may take.
DEADLINE = 600
SWEEP = ("-m", "--multirun")
# A command that a page shows to be refused, with the lines that it goes on in.
REFUSED = re.compile(r"(?m)^! ((?:.*\\\n)*.*)$")
# Beside the environment and the folder, which the blocks of a page share as lines of one shell do.
SHELL = """\
set -euo pipefail
if [ -f "$PAGE_STATE" ]; then source "$PAGE_STATE"; fi
trap 'status=$?; {{ declare -px | grep -v "^declare -[a-z]*r"; echo "cd $(printf %q "$PWD")"; }} \
> "$PAGE_STATE"; exit $status' EXIT
{script}
"""


def small(arguments: list[str]) -> list[str]:
    """A command's arguments, and the settings that make it small."""
    name = arguments[0] if arguments else ""
    added = list(SMALL.get(name, ()))
    if any(option in arguments for option in ("--help", "-h", "--cfg", "--hydra-help")):
        return arguments
    if any(argument.startswith("hparams_search=") for argument in arguments):
        added.append(SEARCH)
    resumed = any(re.match(r"resume=(?!null|auto)", argument) for argument in arguments)
    if resumed and any(argument.startswith("trainer.max_epochs=") for argument in arguments):
        added.append(RESUMED)
    return [*arguments, *added]


def leave_pages() -> None:
    """Let this process's ``attnflow explore`` end once its page is served."""
    from attnflow.cli import explore

    explore.wait = lambda: None


def run_page(path: str) -> None:
    """Run a page in this process, whose folder is empty; tells each block that it has come to.

    Args:
        path: of the page, in the repository.
    """
    sys.path.insert(0, os.getcwd())
    namespace: dict[str, object] = {"__name__": "__main__"}
    page = Page(path)
    for block in page.blocks:
        if block.treatment not in ("run", "composed", "written", "read"):
            continue
        print(f"\n--- {path}:{block.line} ({block.treatment})", flush=True)
        treat(block, page, namespace)
        with open(os.environ["PAGE_BLOCKS"], "a") as done:
            done.write(f"{block.line}\n")


def treat(block: Block, page: Page, namespace: dict[str, object]) -> None:
    """Do with a block what its treatment says, in folders of which some are given."""
    for name in block.reason.split() if block.mode == "given" else ():
        GIVENS[name](Path(name))
    if block.treatment == "composed":
        for arguments in block.commands:
            for composed in compositions(arguments):
                run(["attnflow", *composed, "--cfg", "job"], quiet=True)
    elif block.treatment == "written":
        Path(block.file).parent.mkdir(parents=True, exist_ok=True)
        Path(block.file).write_text(block.text)
    elif block.treatment == "read":
        yaml.safe_load(block.text)
    elif block.language == "bash":
        # In bash itself, a command after a "!" fails nothing, whether it succeeds or not.
        script = REFUSED.sub(r"if \1; then echo 'expected a refusal' >&2; exit 1; fi", block.text)
        run(["bash", "-c", SHELL.format(script=script)])
    else:
        # The lines of a traceback are those of the page.
        exec(compile("\n" * (block.line - 1) + block.text, page.path, "exec"), namespace)


def run(command: list[str], quiet: bool = False) -> None:
    """Run a command; ends this process with its status where that is not 0."""
    output = subprocess.DEVNULL if quiet else None
    status = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=output, timeout=DEADLINE
    ).returncode
    if status:
        sys.exit(f"{command[:6]} ended with {status}.")


def compositions(arguments: list[str]) -> Iterator[list[str]]:
    """A command for every value of a sweep, each value once; itself where it is no sweep."""
    arguments = [re.sub(r"\$\{?[A-Z_]+\}?", "1", argument) for argument in arguments]
    if not any(argument in SWEEP for argument in arguments):
        yield arguments
        return
    arguments = [argument for argument in arguments if argument not in SWEEP]
    values = [swept(argument) for argument in arguments]
    for number in range(max(map(len, values))):
        yield [several[number % len(several)] for several in values]


def swept(argument: str) -> list[str]:
    """The values of an argument between its commas; not those in brackets or quotes."""
    key, equals, value = argument.partition("=")
    if not equals or re.search(r"[\[({'\"]", value):
        return [argument]
    return [f"{key}={one}" for one in value.split(",")]


def commands_run(log: Path) -> list[list[str]]:
    """The arguments of each ``attnflow`` that a page has called."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
