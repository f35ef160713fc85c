"""A field path as a person writes it ("pose.position", "joint_q[12:26]") → its names, each with what it chooses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from streamer.errors import ConfigError, DecodeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PART = re.compile(r"([A-Za-z_]\w*)(?:\[([^\]]*)\])?")
_SELECTOR = re.compile(r"(?P<index>-?\d+)|(?P<start>-?\d+)?:(?P<stop>-?\d+)?(?::(?P<step>-?\d+)?)?")


class OutOfReachError(DecodeError):
    """A path asks for an element or a slice that a message does not have."""


def parse_path(path: str) -> list[tuple[str, slice | int | None]]:
    """Split a field path into names, each with the index or slice that stands behind it."""
    parts: list[tuple[str, slice | int | None]] = []
    for text in path.split(".") if path else ():
        match = _PART.fullmatch(text.strip())
        if match is None:
            msg = f"field {path!r}: {text!r} is not a name with an optional [index] or [from:to]"
            raise ConfigError(msg, key="field")
        name, inside = match.groups()
        parts.append((name, None if inside is None else _selector(inside, path)))
    return parts


def _selector(text: str, path: str) -> slice | int:
    match = _SELECTOR.fullmatch(text.strip())
    if match is None or match["step"] == "0":
        msg = f"field {path!r}: [{text}] is neither an index like [3] nor a slice like [12:26]"
        raise ConfigError(msg, key="field")
    if match["index"]:
        return int(match["index"])
    return slice(*(int(match[part]) if match[part] else None for part in ("start", "stop", "step")))


def pick(values: NDArray[Any], selector: slice | int, path: str) -> NDArray[Any]:
    """Return the numbers that an index or a slice chooses, 1-D.

    Raises:
        OutOfReachError: they are not all there.

    """
    count = len(values)
    if isinstance(selector, int):
        if not -count <= selector < count:
            msg = f"field {path!r}: there is no [{selector}], the message has {count} values"
            raise OutOfReachError(msg)
        one: NDArray[Any] = values[selector].reshape(1)
        return one
    if max(selector.stop or 0, selector.start or 0, -(selector.start or 0)) > count:
        msg = f"field {path!r}: the slice reaches beyond the {count} values that the message has"
        raise OutOfReachError(msg)
    chosen: NDArray[Any] = values[selector]
    return chosen
