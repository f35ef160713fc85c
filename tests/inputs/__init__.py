"""Recordings as other programs write them → right, refused or wrong: the kinds of a table, each with many members.

The bytes of every message are packed by hand, so the right value is what was put in; the file around them is written
by an independent writer (`mcap`, `rosbags`, `sqlite3`). ``python -m tests.inputs`` prints the table.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import yaml

import streamer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Encode = Callable[[int], bytes]
    Rows = list[list[float]]

COUNT = 10  # messages of a topic
START, PERIOD = 10**9, 10**8  # nanoseconds
CDR = b"\0\1\0\0"
NEXT = f"{'=' * 80}\n"


class Input(NamedTuple):
    """A recording and what of it is read: ``right`` are the rows of numbers, or the refusal as a pattern."""

    kind: str
    name: str
    write: Callable[[Path], Path]  # into a folder that is there; returns the recording
    right: Rows | str
    field: str = "y"
    topic: str = "/t"
    types: tuple[str, ...] = ()


def pack(form: str, *values: object) -> bytes:
    """Pack little-endian, without padding."""
    return struct.pack(f"<{form}", *values)


def rows(of: Callable[[int], float | list[float]]) -> Rows:
    """Give what each message holds."""
    return [value if isinstance(value := of(k), list) else [value] for k in range(COUNT)]


UP, DOWN = rows(lambda k: k), rows(lambda k: -k)


def read(one: Input, folder: Path) -> Rows:
    """Stream it as a user does."""
    settings = {
        "source": {"path": str(one.write(folder))},
        "streams": {"s": {"topic": one.topic, "field": one.field, "align": "nearest"}},
        "timeline": {"from": "s"},
        **({"types": list(one.types)} if one.types else {}),
    }
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return [np.ravel(frame["s"]).tolist() for frame in streamer.open(config).frames()]


def verdict(one: Input, folder: Path) -> tuple[str, str]:
    """Return ``right``, ``refused`` (as it has to be) or ``wrong``, and what was read or said."""
    try:
        found = read(one, folder)
    except streamer.StreamerError as error:
        said = " ".join(str(error).split())
        return ("refused" if isinstance(one.right, str) and re.search(one.right, said) else "wrong"), said
    return ("right" if found == one.right else "wrong"), str(found[:2])
