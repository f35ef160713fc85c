"""A request about one recording → its details, pictures, logs and files.

A file is never shown in the page's own name: a browser saves it, or shows a picture or a film and runs nothing in it.
"""

from __future__ import annotations

import json
import os
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from streamer.ingest.answers import patient, plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from streamer.ingest.aside import Aside
    from streamer.ingest.details import Details, Shown

_PIECE = 1 << 18  # bytes of a file that are sent at once
_NOT_PRIVATE = (
    "logs and outputs are shown where the configuration has an http_token: any user of the machine can ask here"
)


def routes_to(details: Details, aside: Aside, *, is_private: bool) -> list[Route]:
    """Return the addresses; logs and outputs only where ``is_private``: whoever asks has shown a token."""

    async def about(request: Request) -> Response:
        found = await aside.call(partial(details.about, request.path_params["id"]))
        return _json(found) if found is not None else plain("no recording has that number", 404)

    async def picture(request: Request) -> Response:
        values = request.path_params
        return _file(await aside.call(partial(details.picture, values["id"], values["n"])), aside)

    async def output(request: Request) -> Response:
        values = request.path_params
        if not is_private:
            return plain(_NOT_PRIVATE, 403)
        return _file(await aside.call(partial(details.output, values["id"], values["consumer"], values["n"])), aside)

    async def log(request: Request) -> Response:
        if not is_private:
            return plain(_NOT_PRIVATE, 403)
        name = request.query_params.get("of", "")
        text = await aside.call(partial(details.log, request.path_params["id"], name))
        return plain("that log is not there", 404) if text is None else plain(text.rstrip("\n"))

    async def recent(_: Request) -> Response:
        return plain(details.recent().rstrip("\n")) if is_private else plain(_NOT_PRIVATE, 403)

    return [
        Route("/recording/{id:int}", patient(about)),
        Route("/picture/{id:int}/{n:int}", patient(picture)),
        Route("/output/{id:int}/{consumer}/{n:int}", patient(output)),
        Route("/log/{id:int}", patient(log)),
        Route("/log", patient(recent)),
    ]


def _json(values: object) -> Response:
    return Response(json.dumps(values), media_type="application/json")


def _file(shown: Shown | None, aside: Aside) -> Response:
    """Send an open file, a piece at a time, and close it."""
    if shown is None:
        return plain("that file is not there", 404)
    how = "attachment" if shown.media_type == "application/octet-stream" else "inline"
    headers = {
        "content-length": str(shown.size),
        "content-disposition": f"{how}; filename*=UTF-8''{quote(shown.name.encode(errors='replace'))}",
    }
    return _Sent(_pieces(shown, aside), shown, headers)


async def _pieces(shown: Shown, aside: Aside) -> AsyncIterator[bytes]:
    place = 0
    while place < shown.size:
        piece = await aside.call(partial(os.pread, shown.fd, min(_PIECE, shown.size - place), place))
        if not piece:
            return
        place += len(piece)
        yield piece


class _Sent(StreamingResponse):
    """A file that is closed when it has been sent, or nobody takes it any more."""

    def __init__(self, pieces: AsyncIterator[bytes], shown: Shown, headers: dict[str, str]) -> None:
        super().__init__(pieces, media_type=shown.media_type, headers=headers)
        self._fd = shown.fd

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            os.close(self._fd)
