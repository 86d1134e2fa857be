"""Every block of the documentation is run, composed, or skipped for a reason."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_runs import PAGE, SMALL, commands_run, compositions, small
from page_server import CLIENT
from pages import OUTPUT, ROOT, Block, Page, attnflow_commands, blocks_of, pages

PAGES = pages()
RUN = [page for page in PAGES if any(b.treatment != "output" for b in page.blocks)]
LANGUAGES = ("bash", "python", "yaml", *OUTPUT)
START = 180.0  # seconds


def is_slow(page: Page) -> bool:
    """Whether a page does more than to compose configs or to print help."""
    return any(arguments != small(arguments) for arguments in page.commands)


def parameters() -> list:
    return [
        pytest.param(page, id=page.path, marks=[pytest.mark.slow] if is_slow(page) else [])
        for page in RUN
    ]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a process from which commands and pages are forked."""
    address = str(tmp_path_factory.mktemp("pages") / "server")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, sys.path[:1] + sys.path))}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "page_server.py"), address], env=environment
    )
    deadline = time.monotonic() + START
    while not Path(address).exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield address
    process.kill()
    process.wait()


class Reader:
    """A folder in which pages are run, with ``attnflow`` on its path."""

    def __init__(self, server: str, folder: Path) -> None:
        self.server, self.here, self.aside = server, folder / "here", folder / "aside"
        for place in (self.here, self.aside / "bin"):
            place.mkdir(parents=True)
        # As in a checkout, from which the pages take the model that lies there.
        (self.here / "models").symlink_to(ROOT / "models")
        client = self.aside / "bin" / "attnflow"
        client.write_text(CLIENT.format(python=sys.executable, address=server))
        client.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        places = (self.aside / "bin", Path(sys.executable).parent, os.environ["PATH"])
        return os.environ | {
            "PATH": os.pathsep.join(map(str, places)),
            "MPLBACKEND": "agg",
            "PYTHONPATH": str(ROOT / "src"),
            **{
                f"PAGE_{name.upper()}": str(self.aside / name)
                for name in ("blocks", "commands", "state")
            },
        }

    def reads(self, path: str) -> tuple[int, str]:
        """Run a page; returns its exit status and output."""
        output = self.aside / "output"
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.server)
        request = {"argv": [PAGE, path], "cwd": str(self.here), "environment": self.environment}
        with output.open("w") as written, open(os.devnull) as nothing:
            streams = [nothing.fileno(), written.fileno(), written.fileno()]
            socket.send_fds(connection, [json.dumps(request).encode()], streams)
            status = int(connection.recv(16) or b"1")
        return status, output.read_text()

    @property
    def done(self) -> list[int]:
        log = self.aside / "blocks"
        return [int(line) for line in log.read_text().split()] if log.exists() else []


@pytest.fixture
def reader(server: str, tmp_path: Path) -> Reader:
    return Reader(server, tmp_path)


@pytest.mark.parametrize("page", parameters())
def test_a_page_runs_from_top_to_bottom(page: Page, reader: Reader) -> None:
    status, output = reader.reads(page.path)
    assert status == 0, output[-6000:]
    treated = ("run", "composed", "written", "read")
    assert reader.done == [b.line for b in page.blocks if b.treatment in treated]
    # Commands in a loop of the shell run more often than they are written.
    assert len(commands_run(reader.aside / "commands")) >= len(page.commands)


def test_every_block_is_run_composed_or_skipped_for_a_reason(capsys) -> None:
    treatments, commands = Counter(), Counter()
    for page in PAGES:
        for block in page.blocks:
            is_directive = block.language.startswith("{")
            known = is_directive or block.language in LANGUAGES
            assert known, f"{page.path}:{block.line}: name a language"
            treatment = block.treatment
            if block.treatment == "skipped":
                is_said = block.mode == "needs" or len(block.reason.split()) > 1
                assert is_said, f"{page.path}:{block.line}: say why"
                assert not block.commands, f"{page.path}:{block.line}: compose it instead"
            treatments["directive" if is_directive else treatment] += 1
            commands[treatment] += len(block.commands)
    with capsys.disabled():
        print(
            f"\n{len(PAGES)} pages; blocks: {_counted(treatments)}; attnflow: {_counted(commands)}"
        )
    assert not commands["output"]
    assert not commands["skipped"]


def _counted(counter: Counter) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(counter.items()) if number)


def test_blocks_are_found_with_their_treatment() -> None:
    text = """\
```bash
attnflow train  # a comment
```
<!-- docs: compose -->

```bash
srun attnflow train trainer=ddp \\
  resume=auto && echo done
```
<!-- docs: skip: it needs a network -->
```bash
pip install attnflow
```
<!-- docs: needs no_such_package -->
```python
import no_such_package
```
- in a list:
  ```python
  # my_package/mine.py
  x = 1
  ```
````text
```bash
attnflow none
```
````
```yaml
a: 1
```
<!-- docs: given: photographs -->
```bash
ls photographs
```
"""
    found = list(blocks_of(text))
    treatments = "run composed skipped skipped written output read run"
    assert [b.treatment for b in found] == treatments.split()
    assert found[1].commands == [["train", "trainer=ddp", "resume=auto"]]
    assert found[2].reason == "it needs a network"
    assert found[4] == Block(20, "python", "# my_package/mine.py\nx = 1\n")
    assert found[5].commands == []
    assert found[7].mode == "given"
    assert found[7].reason == "photographs"


def test_commands_are_found_in_scripts() -> None:
    script = "export A=1\nattnflow train 'a=[1, 2]'; attnflow eval x=1 > out # attnflow no\nls attn"
    assert list(attnflow_commands(script)) == [["train", "a=[1, 2]"], ["eval", "x=1"]]


def test_a_sweep_is_composed_once_for_each_value() -> None:
    arguments = ["train", "-m", "attention=imap,itrans", "seed=1,2,3", "a=[1,2]", "b=$JOB"]
    assert list(compositions(arguments)) == [
        ["train", "attention=imap", "seed=1", "a=[1,2]", "b=1"],
        ["train", "attention=itrans", "seed=2", "a=[1,2]", "b=1"],
        ["train", "attention=imap", "seed=3", "a=[1,2]", "b=1"],
    ]


def test_trainings_are_made_small_and_nothing_else() -> None:
    assert small(["train", "seed=1"]) == ["train", "seed=1", *SMALL["train"]]
    assert small(["train", "resume=a", "trainer.max_epochs=9"])[-1] == "trainer.max_epochs=2"
    for unchanged in (["report", "logs"], ["train", "--help"], []):
        assert small(unchanged) == unchanged


BAD = {
    "python": "```python\nassert 1 == 2\n```\n",
    "bash": "```bash\nfalse\ntrue\n```\n",
    "attnflow": "```bash\nattnflow train atention=imap\n```\n",
    "composed": "<!-- docs: compose -->\n```bash\nattnflow train -m attention=imap,no_such\n```\n",
    "not refused": "```bash\n! attnflow \\\n  --version\n```\n",
    "yaml": "```yaml\na: [\n```\n",
}


@pytest.mark.parametrize("kind", BAD)
def test_what_fails_on_a_page_fails_its_test(kind: str, reader: Reader, tmp_path: Path) -> None:
    page = tmp_path / "bad.md"
    page.write_text("# A page\n\n" + BAD[kind])
    status, output = reader.reads(str(page))
    assert status != 0
    assert reader.done == []
    assert f"{page}:4" in output or f"{page}:5" in output


def test_blocks_share_a_namespace_a_shell_and_a_folder(reader: Reader, tmp_path: Path) -> None:
    page = tmp_path / "good.md"
    page.write_text(
        "```python\nx = 1\n```\n```bash\nexport A=2\nmkdir f && cd f\n```\n"
        "```python\n# mine/part.py\ny = 3\n```\n"
        "```python\nfrom mine.part import y\n\nassert x + y == 4\n```\n"
        '```bash\ntest "$A" = 2\ntest "${PWD##*/}" = f\n'
        "attnflow --version\n! attnflow nothing\n```\n"
    )
    status, output = reader.reads(str(page))
    assert status == 0, output
    assert len(reader.done) == 5
    assert commands_run(reader.aside / "commands") == [["--version"], ["nothing"]]
