"""What a person presses on the page → a request to the daemon: from its own page only."""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.routing import Route

from streamer.errors import BusyError, StreamerError
from streamer.ingest.answers import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

_PAGE = Path(__file__).with_name("page") / "index.html"


class Acts:
    """What a person may do from the page: only this page knows the key, and a browser lets no other site send it.

    A form of another site cannot set a header of its own, and a script of another site would have to ask first.
    """

    def __init__(self, act: Callable[..., dict[str, Any]] | None) -> None:
        """Have ``act`` do it; without, nothing is done."""
        self._act = act
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

        return [Route("/retry/{what:int}", retry, methods=["POST"]), *map(simply, ("pause", "resume", "drain"))]

    async def page(self, _: Request) -> Response:
        """Return the page, which has the key."""
        return Response(self._page, media_type="text/html")

    async def _do(self, request: Request, verb: str, **values: str) -> Response:
        given = request.headers.get("x-streamer-act", "").encode(errors="replace")
        origin = request.headers.get("origin")
        is_foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
        if self._act is None or is_foreign or not hmac.compare_digest(given, self._key.encode()):
            return plain("only the page of this daemon may ask for that: load it again", 403)
        try:
            answer = await asyncio.to_thread(self._act, verb, **values)
        except StreamerError as error:
            return plain(str(error), 503 if isinstance(error, BusyError) else 409)
        return Response(json.dumps({"text": answer.get("text", "")}), media_type="application/json")
