"""What a person presses on the page → a request to the daemon: from its own page only."""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.routing import Route

from streamer.errors import BusyError, StreamerError
from streamer.ingest.answers import plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from streamer.ingest.aside import Aside
    from streamer.ingest.details import Details

_PAGE = Path(__file__).with_name("page") / "index.html"


class Acts:
    """What a person may do from the page: only this page knows the key, and a browser lets no other site send it.

    A form of another site cannot set a header of its own, and a script of another site would have to ask first.
    """

    def __init__(self, act: Callable[..., dict[str, Any]] | None, details: Details | None, aside: Aside) -> None:
        """Have ``act`` do it; without, nothing is done. A review is written by ``details``, in a call ``aside``."""
        self._act, self._details, self._aside = act, details, aside
        self._key = secrets.token_urlsafe(32)
        text = _PAGE.read_text(encoding="utf-8")
        self._page = text.replace('name="act" content=""', f'name="act" content="{self._key}"') if act else text

    def routes(self) -> list[Route]:
        """Return the addresses of the buttons."""

        async def retry(request: Request) -> Response:
            return await self._do(request, "retry", what=f"#{request.path_params['what']}")

        def simply(verb: str) -> Route:
            async def do(request: Request) -> Response:
                return await self._do(request, verb)

            return Route(f"/{verb}", do, methods=["POST"])

        async def review(request: Request) -> Response:
            if (refusal := self._refusal(request)) is not None or self._details is None:
                return refusal or plain("there is nothing to review", 404)
            said = [request.query_params.get(key, "") for key in ("name", "verdict", "note")]
            what = partial(self._details.review, request.path_params["id"], *said)
            return await _answered(self._aside.call(what))

        return [
            Route("/retry/{what:int}", retry, methods=["POST"]),
            Route("/review/{id:int}", review, methods=["POST"]),
            *map(simply, ("pause", "resume", "drain")),
        ]

    async def page(self, _: Request) -> Response:
        """Return the page, which has the key."""
        return Response(self._page, media_type="text/html")

    def _refusal(self, request: Request) -> Response | None:
        """Return the answer to whoever is not this page; None to the page."""
        given = request.headers.get("x-streamer-act", "").encode(errors="replace")
        origin = request.headers.get("origin")
        is_foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
        if self._act is None or is_foreign or not hmac.compare_digest(given, self._key.encode()):
            return plain("only the page of this daemon may ask for that: load it again", 403)
        return None

    async def _do(self, request: Request, verb: str, **values: str) -> Response:
        if (refusal := self._refusal(request)) is not None or self._act is None:
            return refusal or plain("nothing may be done here", 403)
        return await _answered(self._ask(verb, **values))

    async def _ask(self, verb: str, **values: str) -> str:
        assert self._act is not None  # noqa: S101 - for the type checker: `_do` has looked
        answer = await asyncio.to_thread(self._act, verb, **values)
        return str(answer.get("text", ""))


async def _answered(doing: Awaitable[str]) -> Response:
    """Return what was done, in words, or why it was not."""
    try:
        return Response(json.dumps({"text": await doing}), media_type="application/json")
    except StreamerError as error:
        return plain(str(error), 503 if isinstance(error, BusyError) else 409)
