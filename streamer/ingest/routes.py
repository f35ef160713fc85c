"""A request → what the daemon shows (page, events, JSON, metrics, health), to those who may see it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route, Router

from streamer.errors import BusyError, StreamerError
from streamer.ingest import metrics
from streamer.ingest.address import is_loopback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PAGE = Path(__file__).with_name("page")
_ASSETS = {"page.js": "text/javascript", "page.css": "text/css", "icon.svg": "image/svg+xml"}
_NEWEST_SECONDS = 1.0
_TURN_SECONDS = 0.2  # how often an event stream checks whether the server ends or its client has gone
_HEARTBEAT_SECONDS = 15.0
_MOST_STREAMS = 16
_COOKIE_SECONDS = 90 * 86400  # for a person who looks once a week
_OPEN = ("/livez", "/readyz")  # asked by orchestrators, which have no token
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Newest:
    """Takes snapshots, at most one a second however many clients ask, and none while nobody does."""

    def __init__(self, take: Callable[[], dict[str, Any]]) -> None:
        self._take = take
        self._taken = float("-inf")
        self._value: dict[str, Any] = {}
        self._read = self._taken  # when what ``_said`` says was taken
        self._said = ""
        self._edition, self._event = 0, b""

    def __call__(self) -> dict[str, Any]:
        """Return a snapshot that is at most a second old."""
        now = time.monotonic()
        if now - self._taken >= _NEWEST_SECONDS:
            self._value, self._taken = self._take(), now
        return self._value

    def event(self, seen: int) -> tuple[int, bytes] | None:
        """Return the snapshot's edition and its event; None where nothing has changed since edition ``seen``."""
        value = self()
        if self._read != self._taken:
            self._read = self._taken
            said = json.dumps(value | {"updated": None})
            if said != self._said:
                self._said = said
                self._edition, self._event = self._edition + 1, f"data: {json.dumps(value)}\n\n".encode()
        return None if self._edition == seen else (self._edition, self._event)


@dataclass(frozen=True, slots=True)
class View:
    """What the daemon shows, whether its loop is alive, and whether the server is about to end."""

    newest: Newest
    trouble: Callable[[], str | None]
    image: Callable[[int], bytes | None]
    is_alive: Callable[[], bool]
    is_ending: Callable[[], bool]
    act: Callable[..., dict[str, Any]] | None = None  # asks the daemon for what a person wants: a verb, its values


def application(view: View, token: str | None, cookie: str, *, is_local: bool) -> ASGIApp:
    """Return the application; ``cookie`` names the token's cookie, ``is_local`` says that it is on loopback."""
    registry = metrics.registry(view.newest)
    streams = _Streams(view)

    async def live(_: Request) -> Response:
        return _plain("alive") if view.is_alive() else _plain("the daemon's loop does not turn", 503)

    async def ready(_: Request) -> Response:
        trouble = view.trouble()
        return _plain("ready") if trouble is None else _plain(trouble, 503)

    async def status(_: Request) -> Response:
        return Response(json.dumps(view.newest()), media_type="application/json")

    async def scrape(request: Request) -> Response:
        body, content_type = metrics.exposition(registry, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    async def image(request: Request) -> Response:
        found = view.image(request.path_params["id"])
        if found is None:
            return _plain("no image of that recording now", 404)
        return Response(found, media_type="image/png" if found.startswith(b"\x89PNG") else "image/jpeg")

    acts = _Acts(None if token is None else view.act)  # without one, every user of this machine can ask
    routes = [
        Route("/", acts.page),
        Route("/retry/{what:int}", acts.retry, methods=["POST"]),
        Route("/drain", acts.drain, methods=["POST"]),
        *(Route(f"/{name}", _file(name, media_type)) for name, media_type in _ASSETS.items()),
        Route("/livez", live),
        Route("/readyz", ready),
        Route("/status.json", status),
        Route("/metrics", scrape),
        Route("/image/{id:int}", image),
        Route("/events", streams.open, methods=["GET"]),
    ]
    return _Gate(Router(routes, redirect_slashes=False), token, cookie, is_local=is_local)


def _file(name: str, media_type: str) -> Callable[[Request], Any]:
    body = (_PAGE / name).read_bytes()

    async def send(_: Request) -> Response:
        return Response(body, media_type=media_type)

    return send


class _Acts:
    """What a person may do from the page: only this page knows the key, and a browser lets no other site send it.

    A form of another site cannot set a header of its own, and a script of another site would have to ask first.
    """

    def __init__(self, act: Callable[..., dict[str, Any]] | None) -> None:
        self._act = act
        self._key = secrets.token_urlsafe(32)
        text = (_PAGE / "index.html").read_text(encoding="utf-8")
        self._page = text.replace('name="act" content=""', f'name="act" content="{self._key}"') if act else text

    async def page(self, _: Request) -> Response:
        return Response(self._page, media_type="text/html")

    async def retry(self, request: Request) -> Response:
        return await self._do(request, "retry", what=f"#{request.path_params['what']}")

    async def drain(self, request: Request) -> Response:
        return await self._do(request, "drain")

    async def _do(self, request: Request, verb: str, **values: str) -> Response:
        given = request.headers.get("x-streamer-act", "").encode(errors="replace")
        origin = request.headers.get("origin")
        is_foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
        if self._act is None or is_foreign or not hmac.compare_digest(given, self._key.encode()):
            return _plain("only the page of this daemon may ask for that: load it again", 403)
        try:
            await asyncio.to_thread(self._act, verb, **values)
        except StreamerError as error:
            return _plain(str(error), 503 if isinstance(error, BusyError) else 409)
        return Response(status_code=204)


def _plain(text: str, status: int = 200) -> Response:
    # A path that is no valid UTF-8 arrives with surrogates, which cannot be encoded as they are.
    return PlainTextResponse(f"{text}\n".encode(errors="backslashreplace"), status)


class _Streams:
    """Server-sent events: one for each change, at most one a second, to a limited number of clients."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._count = 0

    async def open(self, request: Request) -> Response:
        if request.method == "HEAD":  # it holds no place, as no event follows
            return Response(media_type="text/event-stream")
        if self._count >= _MOST_STREAMS:
            return _plain(f"{_MOST_STREAMS} pages are open already; close one", 503)
        return _Stream(self, request)

    async def events(self, request: Request) -> AsyncIterator[bytes]:
        yield b"retry: 2000\n\n"
        seen, sent = -1, time.monotonic()
        while not self._view.is_ending() and not await request.is_disconnected():
            if found := self._view.newest.event(seen):
                seen, event = found
                yield event
                sent = time.monotonic()
            elif time.monotonic() - sent > _HEARTBEAT_SECONDS:
                yield b": still here\n\n"  # what cannot be written ends the stream of a client that is gone
                sent = time.monotonic()
            await asyncio.sleep(_TURN_SECONDS)

    def __enter__(self) -> None:
        self._count += 1

    def __exit__(self, *_: object) -> None:
        self._count -= 1


class _Stream(StreamingResponse):
    """The events of one client, which counts for as long as it is being answered."""

    def __init__(self, streams: _Streams, request: Request) -> None:
        super().__init__(streams.events(request), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._streams:
            await super().__call__(scope, receive, send)


class _Gate:
    """Lets authorized requests through, and adds the headers that keep a browser from leaking an answer."""

    def __init__(self, app: ASGIApp, token: str | None, cookie: str, *, is_local: bool) -> None:
        self._app = app
        self._token = None if token is None else token.encode()
        # The cookie stands for the token without showing it; a token with any characters makes a valid cookie.
        self._pass = b"" if token is None else hashlib.sha256(f"cookie:{token}".encode()).hexdigest().encode()
        self._cookie = cookie
        self._is_local = is_local
        self._form = (_PAGE / "token.html").read_bytes()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refusal = self._refusal(Request(scope))
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        """Return the answer to a request that is not authorized (yet); None where it is."""
        path = request.scope["path"]
        if self._token is None:  # with one, a page under a false name has no cookie
            is_foreign = self._is_local and not _is_this_machine(request)
            return _plain("this server has another name", 421) if is_foreign else None
        given = request.query_params.get("token") if path == "/" else None
        if given is not None and hmac.compare_digest(given.encode(errors="replace"), self._token):
            return self._let_in()
        if path in _OPEN or self._is_known(request):
            return None
        if path != "/":
            challenge = {"WWW-Authenticate": "Bearer"}
            return PlainTextResponse("needs the token: Authorization: Bearer …\n", 401, headers=challenge)
        refusal = Response(self._form, 401, media_type="text/html", headers={"WWW-Authenticate": "Bearer"})
        if request.headers.get("sec-fetch-site") == "cross-site":
            # A browser that follows a link from another site sends no strict cookie; when it reloads the page, it does.
            refusal.headers["Refresh"] = "0; url=./"
        return refusal

    def _let_in(self) -> Response:
        answer = RedirectResponse("./", 303)
        answer.set_cookie(self._cookie, self._pass.decode(), max_age=_COOKIE_SECONDS, httponly=True, samesite="strict")
        return answer

    def _is_known(self, request: Request) -> bool:
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        given = credentials.strip().encode("latin-1") if scheme.lower() == "bearer" else b""
        cookie = request.cookies.get(self._cookie, "").encode("latin-1")
        return hmac.compare_digest(given, self._token or b"") | hmac.compare_digest(cookie, self._pass)


def _is_this_machine(request: Request) -> bool:
    """Tell whether a browser meant this machine: a foreign name may have been made to resolve to it."""
    try:
        return is_loopback(urlsplit(f"//{request.headers.get('host', '')}").hostname or "")
    except ValueError:
        return False
