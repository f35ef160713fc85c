"""What happens → log lines: readable on a terminal, one JSON object a line elsewhere."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

from streamer.text import visible

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    import structlog
    from structlog.typing import FilteringBoundLogger

_WINDOW = 60.0  # seconds in which …
_BURST = 5  # … so many equal lines are written
_SAME = ("level", "event", "recording", "path", "error", "what", "logger")  # what makes lines equal
_MOST_KNOWN = 1000
_KEPT = 200  # lines for who looks


def make_log(recent: Recent | None = None) -> FilteringBoundLogger:
    """Return a logger onto standard error; values are bound to it by name, and stand in each of its lines.

    ``recent`` keeps the last of them.
    """
    import structlog

    terminal = sys.stderr is not None and sys.stderr.isatty()
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if terminal
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            Repeats(),
            structlog.processors.TimeStamper(fmt="iso", utc=not terminal),
            *([recent] if recent is not None else []),
            *([_made_visible] if terminal else []),
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Lenient())),
    )
    log: FilteringBoundLogger = structlog.get_logger()
    logging.getLogger().addHandler(_Through(log))
    return log


class Repeats:
    """A step of the log that drops a warning or error that has just been written often, and counts what it dropped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, ...], list[float]] = {}  # since when, written since, dropped since

    def __call__(self, logger: object, method: str, values: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Let a line pass, or drop it."""
        import structlog

        del logger
        if method == "info":
            return values
        key = tuple(str(values.get(name, "")) for name in _SAME)
        now = time.monotonic()
        with self._lock:
            if len(self._seen) > _MOST_KNOWN:
                self._seen = {k: one for k, one in self._seen.items() if now - one[0] < _WINDOW}
            since, written, dropped = self._seen.get(key, (now, 0, 0))
            if now - since < _WINDOW and written >= _BURST:
                self._seen[key] = [since, written, dropped + 1]
                raise structlog.DropEvent
            fresh = now - since >= _WINDOW
            self._seen[key] = [now if fresh else since, 1 if fresh else written + 1, 0]
        return {**values, "not_shown_before": int(dropped)} if dropped else values


class Recent:
    """A step of the log that keeps its last lines, for who looks; any thread may read them."""

    def __init__(self) -> None:
        self._lines: deque[dict[str, Any]] = deque(maxlen=_KEPT)

    def __call__(self, logger: object, method: str, values: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Let a line pass, and keep it."""
        del logger, method
        self._lines.append(dict(values))
        return values

    def text(self) -> str:
        """Return the lines as they may be shown, the last one at the end."""
        return "".join(f"{_as_text(line)}\n" for line in list(self._lines))


def _as_text(values: dict[str, Any]) -> str:
    """Write a line: its time, how much it matters, what happened, and what to."""
    about = {key: value for key, value in values.items() if key not in ("timestamp", "level", "event", "exc_info")}
    told = " ".join(f"{key}={value}" for key, value in about.items())
    level = values.get("level", "info")
    return visible(" ".join(filter(None, (str(values.get("timestamp", ""))[:19], level, str(values["event"]), told))))


def _made_visible(logger: object, method: str, values: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep a terminal from obeying what a file is called."""
    del logger, method
    return {key: visible(value) if isinstance(value, str) else value for key, value in values.items()}


class _Through(logging.Handler):
    """What modules log that know only the standard library, in the same form."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        trace = {"exc_info": record.exc_info} if record.exc_info else {}
        self._log.log(record.levelno, record.getMessage(), logger=record.name, **trace)


class _Lenient:
    """Standard error, but for its faults: that it is closed, or its disk full, is no reason to end."""

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.flush()
