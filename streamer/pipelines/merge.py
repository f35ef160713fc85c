"""The recordings that are done → the outputs that they share, put together by each consumer in a process of its own."""

from __future__ import annotations

import json
import re
import selectors
from collections import Counter
from typing import TYPE_CHECKING, Any

from streamer.errors import BusyError, StreamerError
from streamer.ledger import Ledger
from streamer.pipelines.past import Done, done
from streamer.pipelines.recordings import recordings, unique_names
from streamer.runtime.course import join_states, unpack_states
from streamer.runtime.job import MergeJob
from streamer.runtime.messages import Failed, Merged
from streamer.supervisor.child import Child
from streamer.supervisor.context import RunContext
from streamer.supervisor.endings import how_it_ended
from streamer.supervisor.recording import fill_in, import_paths, sharing
from streamer.supervisor.signals import listen
from streamer.supervisor.status import Status
from streamer.supervisor.workdir import open_workdir

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.config.load import Loaded
    from streamer.supervisor.observer import Display

_PART = re.compile(r"only-(\d+)-of-(\d+)")  # the work folder of a run with --only


def merge_all(loaded: Loaded, display: Display) -> tuple[int, int]:
    """Merge what is done of all recordings, by whatever runs; return how many those are, and how many there are.

    Raises:
        StreamerError: a consumer failed, or a run is under way in the work folder.

    """
    with listen() as signals, open_workdir(loaded.workdir) as workdir:
        names = unique_names(recordings(loaded))
        found: dict[str, list[tuple[str, Done]]] = {}
        for path in sorted([workdir.ledger, *loaded.workdir.glob("only-*/ledger.sqlite")]):
            with Ledger(path) as ledger:
                for one in done(ledger, loaded.path.name, names, sharing(loaded.config)):
                    found.setdefault(one.path, []).append((path.parent.name, one))
        context = RunContext(loaded, workdir, Status(display, workdir.status, str(loaded.path)), signals)
        there = [found[str(path)] for path in names if str(path) in found]
        cut = loaded.config.episodes is not None
        whole = sum(not cut or _is_whole([folder for folder, _ in ones]) for ones in there)
        merge(context, [_together([one for _, one in ones], cut=cut) for ones in there], len(names), whole)
        return whole, len(names)


def _is_whole(folders: list[str]) -> bool:
    """Tell whether a recording's episodes are all done, by the work folders of the runs that have done them."""
    parts = [found.groups() for folder in folders if (found := _PART.fullmatch(folder))]
    counts = Counter(count for _, count in parts)
    return len(parts) < len(folders) or any(int(count) == n for count, n in counts.items())


def _together(ones: list[Done], *, cut: bool) -> Done:
    """Put together what several runs have done of one recording: of its episodes, each a part."""
    last = ones[-1]
    if not cut or len(ones) == 1:
        return last
    states: dict[str, bytes | None] = {n: join_states([one.states[n] for one in ones]) for n in last.states}
    return Done(last.path, last.name, states)


def merge(context: RunContext, parts: list[Done], count: int, whole: int | None = None) -> None:
    """Let every consumer that many recordings share merge the ``parts``, out of ``count`` recordings.

    ``whole`` says how many of the parts have all of their episodes, where not all do.

    Raises:
        StreamerError: a consumer failed, or a stop was asked for twice; what was there before is there still.

    """
    for name in sorted(sharing(context.loaded.config)):
        together: dict[str, tuple[dict[str, Any], list[Done]]] = {}  # by what their options are
        for part in parts:
            options = fill_in(context.loaded.config.consumers[name].options, part.name)
            together.setdefault(json.dumps(options, sort_keys=True, default=str), (options, []))[1].append(part)
        for options, found in together.values():
            _merge(context, name, options, found)
    merged = len(parts) if whole is None else whole
    if merged < count:
        context.status.note(f"{merged} of {count} recordings are merged; the others are added once they are done")


def merge_episodes(context: RunContext, path: Path, name: str) -> None:
    """Let every consumer merge the episodes of one recording that is done, where it is cut into such.

    Raises:
        StreamerError: a consumer failed, or a stop was asked for twice.

    """
    if context.loaded.config.episodes is None:
        return
    with Ledger(context.workdir.ledger) as ledger:
        parts = done(ledger, context.pipeline, {path: name}, sharing(context.loaded.config))
    merge(context, parts, 1)


def _parts(part: Done, name: str, *, cut: bool) -> list[tuple[str, str, bytes | None, int | None, str, str, int, int]]:
    """Return a recording as a consumer's merging sees it: each of its episodes where it is cut."""
    if not cut:
        return [(part.name, part.path, part.states[name], None, "", "", 0, 0)]
    return [(e.name, part.path, *e[1:]) for e in unpack_states(part.states[name])]


def _merge(context: RunContext, name: str, options: dict[str, Any], parts: list[Done]) -> None:
    loaded = context.loaded
    config = loaded.config.consumers[name]
    log = context.workdir.logs / f"{name}.merge.log"
    child = Child("streamer.runtime.merge", f"merge {name}", folder=loaded.base, log=log)
    try:
        job = MergeJob(
            name,
            config.use or name,
            options,
            import_paths(loaded),
            tuple(found for part in parts for found in _parts(part, name, cut=loaded.config.episodes is not None)),
            durable=loaded.config.durable,
        )
        child.channel.send(job)
        heard: list[Any] = []
        while (code := child.ended()) is None:
            _wait(context, child)
            heard += child.heard()
        heard += child.heard()
    finally:
        child.close()
    for message in heard:
        if isinstance(message, Failed):
            failure = message.cause.within(hint=f"its log: {log}")
            raise failure
    if not any(isinstance(message, Merged) for message in heard):
        msg = f"its merging process ended ({how_it_ended(code)})"
        raise StreamerError(msg, consumer=name, hint=f"its log: {log}")


def _wait(context: RunContext, child: Child) -> None:
    """Wait until the process says something; a first stop waits for its end, a second ends it.

    Raises:
        BusyError: there was a second.

    """
    with selectors.DefaultSelector() as selector:
        for what in (*child.watched(), context.stops):
            selector.register(what, selectors.EVENT_READ)
        selector.select()
    before = context.stops.asked
    context.stops.clear()
    if context.stops.asked > 1:
        msg = "the merging was stopped"
        raise BusyError(msg, hint=f"'streamer merge {context.loaded.path}' does it")
    if context.stops.asked > before:
        context.status.note("merging: this takes until its end (again to stop at once)")
