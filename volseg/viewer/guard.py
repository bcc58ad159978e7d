"""The door of the server: who may ask, and the headers of every answer.

The page is on this machine's own address, where other pages in the same browser can send requests too. So
the address holds a random token, the Host header must be ours (a name that someone points at 127.0.0.1 is
not), and what changes something must come from our own page.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE = ("GET", "HEAD")
POLICY = "; ".join(
    (
        "default-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""What the page may load: its own files, and nothing that is written into a page."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Guard:
    """An ASGI app that lets only those to `app` who know the token and come by our own address."""

    app: ASGIApp
    token: str
    port: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on below the token."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # a websocket
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refused = self._refusal(scope)
        if refused:
            await _answer(*refused, send_with_headers)
            return
        path = scope["path"].removeprefix(f"/{self.token}")
        inner = {**scope, "path": path, "raw_path": path.encode()}
        await self.app(inner, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the reason why a request goes no further."""
        headers = Headers(scope=scope)
        if headers.getlist("host") not in [[host] for host in self._hosts()]:
            return 421, "this server answers only at the address that volseg printed"
        given, _, rest = scope["path"].removeprefix("/").partition("/")
        known = secrets.compare_digest(given.encode(), self.token.encode())
        if not known or f"/{rest}" != scope["path"].removeprefix(f"/{given}"):
            return 404, "nothing here; open the whole address that volseg printed"
        if scope["method"] not in SAFE and not self._is_own_page(headers):
            return 403, "only volseg's own page may change something here"
        return None

    def _hosts(self) -> tuple[str, str]:
        return f"127.0.0.1:{self.port}", f"localhost:{self.port}"

    def _is_own_page(self, headers: Headers) -> bool:
        """Whether a request that changes something comes from our page, or from no page at all.

        With Referrer-Policy no-referrer, browsers send the Origin `null` with some requests of our own page;
        Sec-Fetch-Site, which no page can forge, then tells that they are ours.
        """
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site not in (None, "same-origin", "none"):
            return False
        own = origin in [f"http://{host}" for host in self._hosts()]
        return origin is None or own or (origin == "null" and site == "same-origin")


async def _answer(status: int, text: str, send: Callable[[Message], Any]) -> None:
    """Send an error as JSON, and close the connection without reading what the request brings."""
    body = json.dumps({"error": text}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
