"""A call that may take long, or for ever → its result, while the server's event loop goes on.

A disk that does not answer keeps a thread. Those threads are few, and are not waited for when the program ends.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from streamer.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST = 6  # calls at once
_SECONDS = 5.0  # for one
_T = TypeVar("_T")


class Aside:
    """Makes a few calls at once."""

    def __init__(self) -> None:
        """Begin with none."""
        self._count = 0

    async def call(self, what: Callable[[], _T]) -> _T:
        """Return what a call returns, or raise what it raises.

        Raises:
            BusyError: it takes too long (and goes on), or too many of those before still go on.

        """
        if self._count >= _MOST:
            msg = "too much is being looked up that does not come: does a disk hang?"
            raise BusyError(msg)
        loop = asyncio.get_running_loop()
        found: asyncio.Future[_T] = loop.create_future()

        def settle(result: _T | None, error: BaseException | None) -> None:
            self._count -= 1
            if found.done():  # nobody waits any more
                return
            if error is not None:
                found.set_exception(error)
            else:
                found.set_result(result)  # type: ignore[arg-type] # without an error there is a result

        def work() -> None:
            result, error = None, None
            try:
                result = what()
            except Exception as raised:  # noqa: BLE001 - it goes to whoever waits
                error = raised
            with suppress(RuntimeError):  # the server has ended meanwhile
                loop.call_soon_threadsafe(settle, result, error)

        try:
            threading.Thread(target=work, name="look", daemon=True).start()
        except RuntimeError as error:
            msg = "the system has no thread for this"
            raise BusyError(msg) from error
        self._count += 1
        try:
            return await asyncio.wait_for(found, _SECONDS)
        except TimeoutError as error:
            msg = f"it cannot be looked up within {_SECONDS:g} s: does a disk hang?"
            raise BusyError(msg) from error
