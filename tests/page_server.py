"""Serves ``attnflow`` and whole pages to other processes, forked from one that imported everything.

Importing torch takes longer than what most commands of a page do. ``python page_server.py SOCKET``
listens at a socket; a client sends its arguments, folder, environment and standard streams, and
is told the exit status. ``attnflow`` on the PATH of a page is such a client, of :data:`CLIENT`.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

# A page's ``attnflow``, which starts in a fraction of a second.
CLIENT = """\
#!{python} -IS
import json, os, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect({address!r})
request = {{"argv": sys.argv[1:], "cwd": os.getcwd(), "environment": dict(os.environ)}}
with open(os.environ["PAGE_COMMANDS"], "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
socket.send_fds(connection, [json.dumps(request).encode()], [0, 1, 2])
sys.exit(int(connection.recv(16) or b"1"))
"""
MOST_BYTES = 2**20
WAIT = 0.02
# What starts processes of its own ends them where Python ends, which a forked process does not.
ALONE = "launcher="


def main(address: str) -> None:
    """Serve until this process is ended."""
    import_everything()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those who serve a client are not waited for
    while True:
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os._exit(serve(connection))
        connection.close()


def import_everything() -> None:
    """What commands and pages import; no gradient is computed, which would forbid to fork."""
    from importlib import import_module

    from attnflow.cli.command import COMMANDS

    names = [command.home.partition(":")[0] for command in COMMANDS.values()]
    for name in (*names, "attnflow.cli.run", "attnflow.flows", "attnflow.data", "page_runs"):
        import_module(name)


def serve(connection: socket.socket) -> int:
    """Do what a client asks, in a process of its own that ends where the client does."""
    sent, streams, _, _ = socket.recv_fds(connection, MOST_BYTES, 3)
    request = json.loads(sent)
    pid = os.fork()
    if pid == 0:
        connection.close()
        os.setsid()
        become(request, streams)
    for stream in streams:
        os.close(stream)
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            connection.send(str(code if code >= 0 else 128 - code).encode())
            return 0
        readable, _, _ = select.select([connection], [], [], WAIT)
        if readable:  # the client has ended
            os.killpg(pid, signal.SIGKILL)
            return 1


def become(request: dict, streams: list[int]) -> None:
    """Take a client's place, do its task, and end as Python does."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    own = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [os.path.abspath(place) for place in own if place]
    os._exit(ended(task(request["argv"])))


def task(argv: list[str]) -> Callable[[], None]:
    """A page, or a command with the small settings."""
    import page_runs

    if argv[:1] == [page_runs.PAGE]:
        return lambda: page_runs.run_page(argv[1])
    arguments = page_runs.small(argv)
    if any(argument.startswith(ALONE) for argument in argv):
        python = [sys.executable, "-m", "attnflow"]
        return lambda: os.execv(sys.executable, [*python, *arguments])
    page_runs.leave_pages()
    sys.argv = ["attnflow", *arguments]
    from attnflow.__main__ import main as attnflow

    return attnflow


def ended(does: Callable[[], None]) -> int:
    """Do it; returns the exit status that Python would end with."""
    status = 0
    try:
        does()
    except SystemExit as stopped:
        status = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
        if isinstance(stopped.code, str):
            print(stopped.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main(sys.argv[1])
