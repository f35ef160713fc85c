"""Values → answers of the server, and a handler → one that says in words why it has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse

from streamer.errors import BusyError, StreamerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response


def plain(text: str, status: int = 200) -> Response:
    """Return a text as an answer."""
    # A path that is no valid UTF-8 arrives with surrogates, which cannot be encoded as they are.
    return PlainTextResponse(f"{text}\n".encode(errors="backslashreplace"), status)


def patient(handle: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Return a handler that answers 503 where something does not come in time, and 500 where it cannot be had."""

    async def answer(request: Request) -> Response:
        try:
            return await handle(request)
        except StreamerError as error:
            return plain(str(error), 503 if isinstance(error, BusyError) else 500)

    return answer
