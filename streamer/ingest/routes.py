"""A request → what the daemon shows (page, events, JSON, metrics, health), to those who may see it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route, Router

from streamer.errors import StreamerError
from streamer.ingest import metrics
from streamer.ingest.acts import Acts
from streamer.ingest.address import is_loopback
from streamer.ingest.answers import patient, plain
from streamer.ingest.aside import Aside
from streamer.ingest.looks import routes_to
from streamer.ingest.patches import States, step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from streamer.ingest.details import Details

_PAGE = Path(__file__).with_name("page")
_ASSETS = {"page.css": "text/css", "icon.svg": "image/svg+xml"} | dict.fromkeys(
    ("page.js", "words.js", "rows.js", "details.js"), "text/javascript"
)
_NEWEST_SECONDS = 1.0
_BYTES_A_SECOND, _MOST_SAVED = 2000, 16_000  # of changes, to one client; what it may be sent at once after a silence
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
    """Takes snapshots, at most one a second however many clients ask, and none while nobody does.

    One is taken by a thread of its own: a disk that does not answer holds up those who ask, and nothing else.
    """

    def __init__(self, take: Callable[[], dict[str, Any]]) -> None:
        self._take, self._states, self._aside = take, States(), Aside()
        self._taken = float("-inf")
        self._coming: asyncio.Task[None] | None = None
        self.value: dict[str, Any] = {}
        self.state: dict[str, Any] = {}

    async def get(self) -> dict[str, Any]:
        """Return a snapshot that is at most a second old.

        Raises:
            BusyError: it takes too long.

        """
        if time.monotonic() - self._taken >= _NEWEST_SECONDS:
            if self._coming is None or self._coming.done():
                self._coming = asyncio.ensure_future(self._renew())
                self._coming.add_done_callback(lambda task: task.cancelled() or task.exception())  # if nobody waits
            await asyncio.shield(self._coming)
        return self.value

    async def _renew(self) -> None:
        now = time.monotonic()
        self.value, self.state = await self._aside.call(self._look)
        self._taken = now

    def _look(self) -> tuple[dict[str, Any], dict[str, Any]]:
        value = self._take()
        return value, self._states.take(value)


@dataclass(frozen=True, slots=True)
class View:
    """What the daemon shows, whether its loop is alive, and whether the server is about to end."""

    newest: Newest
    trouble: Callable[[], str | None]
    image: Callable[[int], bytes | None]
    is_alive: Callable[[], bool]
    is_ending: Callable[[], bool]
    act: Callable[..., dict[str, Any]] | None = None  # asks the daemon for what a person wants: a verb, its values
    details: Details | None = None


def application(  # long, as it has each route in it: what they share are its arguments
    view: View, token: str | None, cookie: str, *, is_local: bool
) -> ASGIApp:
    """Return the application; ``cookie`` names the token's cookie, ``is_local`` says that it is on loopback."""
    registry = metrics.registry(lambda: view.newest.value)
    streams, aside = _Streams(view), Aside()

    async def live(_: Request) -> Response:
        return plain("alive") if view.is_alive() else plain("the daemon's loop does not turn", 503)

    async def ready(_: Request) -> Response:
        trouble = view.trouble()
        return plain("ready") if trouble is None else plain(trouble, 503)

    async def status(_: Request) -> Response:
        return Response(json.dumps(await view.newest.get()), media_type="application/json")

    async def scrape(request: Request) -> Response:
        await view.newest.get()
        body, content_type = metrics.exposition(registry, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    async def curves(request: Request) -> Response:
        for run in (await view.newest.get()).get("running", ()):
            if run["id"] == request.path_params["id"]:
                memory = (run.get("status") or {}).get("memory", {})
                lines = {name: values.get("points", []) for name, values in memory.items()}
                return Response(json.dumps(lines), media_type="application/json")
        return Response("{}", media_type="application/json")  # it has ended meanwhile

    async def image(request: Request) -> Response:
        found = await aside.call(partial(view.image, request.path_params["id"]))
        if found is None:
            return Response(status_code=204)  # it has none yet, or has just ended: no fault
        return Response(found, media_type="image/png" if found.startswith(b"\x89PNG") else "image/jpeg")

    act = None if token is None else view.act  # without a token, every user of this machine can ask
    acts = Acts(act, view.details, aside)
    looks = [] if view.details is None else routes_to(view.details, aside, is_private=token is not None)
    routes = [
        Route("/", acts.page),
        *acts.routes(),
        *(Route(f"/{name}", _file(name, media_type)) for name, media_type in _ASSETS.items()),
        Route("/livez", live),
        Route("/readyz", ready),
        Route("/status.json", patient(status)),
        Route("/metrics", patient(scrape)),
        Route("/curves/{id:int}", patient(curves)),
        Route("/image/{id:int}", patient(image)),
        Route("/events", patient(streams.open), methods=["GET"]),
        *looks,
    ]
    return _Gate(Router(routes, redirect_slashes=False), token, cookie, is_local=is_local)


def _file(name: str, media_type: str) -> Callable[[Request], Any]:
    body = (_PAGE / name).read_bytes()

    async def send(_: Request) -> Response:
        return Response(body, media_type=media_type)

    return send


class _Streams:
    """Server-sent events to a limited number of clients: the state at first, then patches, each with its edition."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._count = 0

    async def open(self, request: Request) -> Response:
        if request.method == "HEAD":  # it holds no place, as no event follows
            return Response(media_type="text/event-stream")
        if self._count >= _MOST_STREAMS:
            return plain(f"{_MOST_STREAMS} pages are open already; close one", 503)
        return _Stream(self, request)

    async def events(self, request: Request) -> AsyncIterator[bytes]:
        """Tell all that there is, then what changes, at no more than so many bytes a second in the long run."""
        yield b"retry: 2000\n\n"
        seen: dict[str, Any] | None = None
        edition, purse, counted, sent = 0, float(_MOST_SAVED), time.monotonic(), time.monotonic()
        while not self._view.is_ending() and not await request.is_disconnected():
            with suppress(StreamerError):  # a disk hangs or fails: what was seen last stands
                await self._view.newest.get()
            now, state = time.monotonic(), self._view.newest.state
            purse, counted = min(purse + (now - counted) * _BYTES_A_SECOND, _MOST_SAVED), now
            told: dict[str, Any] = {}
            if seen is None and state:
                told, seen, edition = {"all": state}, state, 1
            elif seen is not None and seen is not state and purse > 0:
                patch, seen = step(seen, state, int(purse))
                told = {"since": edition, "patch": patch} if patch else {}
                edition += bool(patch)
            if told or now - sent > _HEARTBEAT_SECONDS:  # what cannot be written ends the stream of a client that left
                event = json.dumps({"edition": edition, "now": round(time.time(), 1), **told}, separators=(",", ":"))
                purse -= len(event) if "patch" in told else 0
                sent = now
                yield f"data: {event}\n\n".encode()
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
            return plain("this server has another name", 421) if is_foreign else None
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
