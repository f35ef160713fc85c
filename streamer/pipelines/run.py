"""A configuration → its recordings, streamed here or each by a process of its own, and a report: one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.ledger import Ledger
from streamer.pipelines import past
from streamer.pipelines.many import Recordings, stream_many
from streamer.pipelines.merge import merge_episodes
from streamer.pipelines.recordings import recordings, unique_names
from streamer.pipelines.unit import Work, asked_of
from streamer.supervisor.context import RunContext, reported
from streamer.supervisor.recording import Recording, consumer_settings, stream
from streamer.supervisor.signals import listen
from streamer.supervisor.status import Status
from streamer.supervisor.workdir import open_workdir

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streamer.config.load import Loaded
    from streamer.supervisor.observer import Display
    from streamer.supervisor.report import Report, Streamed


def run(loaded: Loaded, mode: str, display: Display, only: tuple[int, int] | None = None) -> Report:
    """Stream every recording of a configuration; ``mode`` is fresh, resume, restart or go_on.

    The first SIGINT or SIGTERM lets every consumer finish its chunk, the second stops at once.

    ``only`` (index, count) takes every count-th recording, from the index on, in a work folder of that part's own;
    of recordings that are cut, it takes that part of the episodes of each. Nothing is merged. What goes wrong stands
    in the report.

    Raises:
        StreamerError: the work folder is in use or cannot be written to.

    """
    with listen() as signals, open_workdir(workdir_of(loaded, only)) as workdir:
        context = RunContext(loaded, workdir, Status(display, workdir.status, str(loaded.path)), signals)
        return reported(context, _streamed(context, mode, only))


def workdir_of(loaded: Loaded, only: tuple[int, int] | None = None) -> Path:
    """Return the work folder of a run, or that of a part of it: no two may use one at a time."""
    return loaded.workdir if only is None else loaded.workdir / f"only-{only[0]}-of-{only[1]}"


def _alone(context: RunContext, path: Path, name: str, mode: str) -> Iterator[Streamed]:
    """Stream the only recording, unless that was done and what it wrote is still there."""
    config = context.loaded.config
    work = Work(path, name, context.workdir.path, asked_of(config, context.loaded.base))
    asked = past.Asked(mode, consumer_settings(config), context.loaded.base)
    with Ledger(context.workdir.ledger) as ledger:
        mode = past.mode_alone(ledger, context.pipeline, work, asked)
    for streamed in stream(context, Recording(path, name), mode):
        yield streamed
        if streamed.state == "done":
            merge_episodes(context, path, name)
            with Ledger(context.workdir.ledger) as ledger:
                past.note_alone(ledger, context.pipeline, work)


def _streamed(context: RunContext, mode: str, only: tuple[int, int] | None) -> Iterator[Streamed]:
    """Stream a single recording with processes of this one, several each by a process of its own."""
    names = unique_names(recordings(context.loaded))
    if only is None and len(names) == 1 and context.loaded.config.engine == "local":
        ((path, name),) = names.items()
        yield from _alone(context, path, name, mode)
        return
    yield from stream_many(context, _chosen(names, only, cut=context.loaded.config.episodes is not None), mode)


def _chosen(names: dict[Path, str], only: tuple[int, int] | None, *, cut: bool) -> Recordings:
    """Choose what is streamed; where recordings have few episodes, not always the same part has one more."""
    if only is None:
        return Recordings(names)
    first, step = only
    if not cut:
        return Recordings(dict(list(names.items())[first::step]), whole=False)
    return Recordings(names, whole=False, shares={p: ((first + n) % step, step) for n, p in enumerate(names)})
