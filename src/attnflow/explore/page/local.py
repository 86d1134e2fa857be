"""What keeps the page to this machine: no request of a browser goes to another one."""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["LOOPBACK", "LocalOnly", "middleware_for"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# gradio's page would fetch a script and fonts from elsewhere; a browser that is told this does not.
POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'self'; "
    "form-action 'self'; base-uri 'self'"
)


class LocalOnly:
    """Tells the browser, with every answer, to ask no other host.

    Args:
        app: that answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", POLICY.encode())
                message = {**message, "headers": [*message["headers"], policy]}
            await send(message)

        await self.app(scope, receive, told)


def middleware_for(host: str) -> list[Middleware]:
    """What stands before the page at a host.

    At this machine's own address, requests by any other name are refused: a page of the web could
    otherwise give its own name this address, and read from here.
    """
    own = [Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])]
    return [*(own if host in LOOPBACK else []), Middleware(LocalOnly)]
