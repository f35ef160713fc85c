"""A recording or a configuration → what a person wants to know before a run: nothing is streamed, nothing is written.

    from streamer import inspect

    inspect.info("drive.bag")           # topics, rates, gaps, sizes, warnings
    inspect.suggest("drive.bag")        # a configuration to begin with
    inspect.check("config.yaml")        # everything that would go wrong in a run
    inspect.plan("config.yaml")         # how well the streams fit together in time

The commands ``streamer info``, ``init``, ``check`` and ``plan`` print what these functions return.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamer.inspect.alignment import View
    from streamer.inspect.contents import Contents
    from streamer.inspect.findings import Checked
    from streamer.inspect.suggestion import Suggestion
    from streamer.inspect.survey import Survey

__all__ = ["check", "info", "open_contents", "plan", "suggest"]


@contextmanager
def open_contents(path: str | Path, *, salvage: bool = False, types: Sequence[str] = ()) -> Iterator[Contents]:
    """Open a recording and read its index once, for the time of the block; ``types`` as the setting of that name.

    Raises:
        RecordingError: the recording cannot be read.

    """
    from streamer.files import scratch_folder
    from streamer.inspect.contents import read_contents
    from streamer.source.source import Source

    with (
        scratch_folder() as scratch,
        Source(Path(path).absolute(), scratch, salvage=salvage) as source,
    ):
        yield read_contents(source, types)


def info(path: str | Path, *, salvage: bool = False, types: Sequence[str] = ()) -> Survey:
    """Return what the index of a recording tells, and a few messages of each topic.

    Raises:
        RecordingError: the recording cannot be read.

    """
    from streamer.inspect.survey import survey

    with open_contents(path, salvage=salvage, types=types) as found:
        return survey(found)


def suggest(path: str | Path, *, salvage: bool = False, types: Sequence[str] = ()) -> Suggestion:
    """Return a configuration for a recording that runs as it is.

    Raises:
        RecordingError: the recording cannot be read.

    """
    from streamer.inspect.proof import prove
    from streamer.inspect.suggestion import suggestion

    with open_contents(path, salvage=salvage, types=types) as found:
        return prove(found, suggestion(found))


def check(config: str | Path, *overrides: str) -> Checked:
    """Return everything that would go wrong in a run of a configuration; ``overrides`` are ``key.path=value``.

    A recording in its place (or several, the others among the overrides) is checked as ``init`` would configure it.

    Raises:
        ConfigError: the file cannot be read or holds a mistake.

    """
    from streamer.inspect.checks import check_config
    from streamer.inspect.given import given

    return check_config(given([str(config), *overrides], consumers_needed=True))


def plan(config: str | Path, *overrides: str) -> list[View]:
    """Return how the streams of each recording are laid against its ticks; consumers may be left out.

    A recording in the configuration's place is planned as ``init`` would configure it.

    Raises:
        ConfigError: the configuration holds a mistake or does not fit a recording.
        RecordingError: a recording does not hold what is asked of it.

    """
    from streamer.inprocess import Opened
    from streamer.inspect.alignment import view
    from streamer.inspect.given import given
    from streamer.source.find import recording_name

    opened = Opened(given([str(config), *overrides]))
    views = []
    for path in opened.paths():
        with opened.prepared(path) as prepared:
            views.append(view(prepared, recording_name(path)))
    return views
