"""Serve the page until the command ends."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from attnflow.errors import AttnFlowError
from attnflow.explore.opened import Shelf
from attnflow.explore.page.assembly import STYLE, THEME, build_page
from attnflow.explore.page.local import middleware_for
from attnflow.explore.uploads import LARGEST

__all__ = ["served"]

WAITING = 16  # actions that may wait for the one that runs


@contextmanager
def served(shelf: Shelf, second: str, host: str, port: int) -> Iterator[str]:
    """Serve the page in the background.

    Args:
        shelf, second: as for :func:`~attnflow.explore.page.assembly.build_page`.
        host: address that it listens at.
        port: 0 for any free one.

    Yields:
        Its address.

    Raises:
        AttnFlowError: no such host here, or a port that is taken.
    """
    chosen = free_port(host, port)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # gradio asks its own server
    with TemporaryDirectory(prefix="attnflow_explore_") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads  # read when the components are made
        page = build_page(shelf, second)
        page.queue(max_size=WAITING, default_concurrency_limit=1)
        _, address, _ = page.launch(
            server_name=host,
            server_port=chosen,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            max_file_size=LARGEST,
            footer_links=[],
            app_kwargs={"middleware": middleware_for(host)},
            theme=THEME,
            css_paths=[STYLE],
            ssr_mode=False,
            mcp_server=False,
            enable_monitoring=False,
        )
        try:
            yield address
        finally:
            page.close(verbose=False)


def free_port(host: str, port: int) -> int:
    """The port, or any free one for 0.

    Raises:
        AttnFlowError: it is taken, or no port of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
            return listening.getsockname()[1]
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AttnFlowError(
            f"host, port: expected an address of this machine and a free port, as in port=0, got "
            f"{host} and {port} ({reason})."
        ) from error
