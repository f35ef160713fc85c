"""The recordings that are done → the outputs that they share, put together by each consumer in a process of its own."""

from __future__ import annotations

import json
import re
import selectors
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from streamer.errors import BusyError, StreamerError, show_names
from streamer.ledger import Ledger
from streamer.pipelines import review
from streamer.pipelines.past import Done, done
from streamer.pipelines.recordings import recordings, unique_names
from streamer.runtime.course import NOTHING, join_states, unpack_states
from streamer.runtime.job import MergeJob
from streamer.runtime.messages import Failed, Merged
from streamer.supervisor.child import Child
from streamer.supervisor.context import RunContext
from streamer.supervisor.endings import MemoryKills, given_up, how_it_ended
from streamer.supervisor.recording import fill_in, import_paths, pause, sharing
from streamer.supervisor.signals import listen
from streamer.supervisor.status import Status
from streamer.supervisor.workdir import open_workdir

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.config.load import Loaded
    from streamer.supervisor.observer import Display

_Part: TypeAlias = "tuple[str, str, bytes | None, int | None, str, str, int, int, str]"  # as in `MergeJob.parts`
_LOOK_SECONDS = 0.5
_MOST_KILLS = 5  # of a merging process, by others
_FIRST_WAIT = 0.1  # seconds until it is started again, doubled each time
_PART = re.compile(r"only-(\d+)-of-(\d+)")  # the work folder of a run with --only


class Combined(NamedTuple):
    """How many recordings are merged, of how many, and the names of those that a person has rejected."""

    merged: int
    known: int
    rejected: list[str]


def merge_all(loaded: Loaded, display: Display) -> Combined:
    """Merge what is done of all recordings, by whatever runs; of a daemon's, take out and in what was reviewed.

    Raises:
        StreamerError: a consumer failed, or a run is under way in the work folder.

    """
    with listen() as signals, open_workdir(loaded.workdir) as workdir:
        context = RunContext(loaded, workdir, Status(display, workdir.status, str(loaded.path)), signals)
        if loaded.config.source.watch is not None:  # its recordings are in the outputs already
            return Combined(0, 0, merge(context, [], 0))
        names = unique_names(recordings(loaded))
        found: dict[str, list[tuple[str, Done]]] = {}
        for path in sorted([workdir.ledger, *loaded.workdir.glob("only-*/ledger.sqlite")]):
            with Ledger(path) as ledger:
                for one in done(ledger, loaded.path.name, names, sharing(loaded.config)):
                    found.setdefault(one.path, []).append((path.parent.name, one))
        there = [found[str(path)] for path in names if str(path) in found]
        cut = loaded.config.episodes is not None
        whole = sum(not cut or _is_whole([folder for folder, _ in ones]) for ones in there)
        rejected = merge(context, [_together([one for _, one in ones], cut=cut) for ones in there], len(names), whole)
        return Combined(whole, len(names), rejected)


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


def merge(context: RunContext, parts: list[Done], count: int, whole: int | None = None) -> list[str]:
    """Let every consumer that many recordings share merge the ``parts``, out of ``count`` recordings.

    ``whole`` says how many of the parts have all of their episodes, where not all do. What a person has rejected of an
    output (`streamer.pipelines.review`) is left out of it; return its names.

    Raises:
        StreamerError: a consumer failed, or a stop was asked for twice; what was there before is there still.

    """
    left_out: set[str] = set()
    for name in sorted(sharing(context.loaded.config)):
        together: dict[str, tuple[dict[str, Any], list[Done]]] = {}  # by what their options are
        for part in parts:
            options = fill_in(context.loaded.config.consumers[name].options, part.name)
            together.setdefault(json.dumps(options, sort_keys=True, default=str), (options, []))[1].append(part)
        if not parts:
            options = context.loaded.config.consumers[name].options
            together = {"": (options, [])} if _is_reviewed(context.loaded, options) else {}
        for options, found in together.values():
            left_out |= _merge(context, name, options, found)
    merged = len(parts) if whole is None else whole
    if merged < count:
        context.status.note(f"{merged} of {count} recordings are merged; the others are added once they are done")
    return sorted(left_out)


def _is_reviewed(loaded: Loaded, options: dict[str, Any]) -> bool:
    """Tell whether somebody has said something of what lies in an output."""
    return "out" in options and review.beside(loaded.base / str(options["out"])).exists()


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


def _parts(part: Done, name: str, *, cut: bool) -> list[_Part]:
    """Return a recording as a consumer's merging sees it: each of its episodes where it is cut."""
    if not cut:  # and left out as a whole, it is no part of the output
        left = part.states[name]
        return [] if left == NOTHING else [(part.name, part.path, left, None, "", "", 0, 0, "")]
    return [(e.name, part.path, *e[1:]) for e in unpack_states(part.states[name])]


def _merge(context: RunContext, name: str, options: dict[str, Any], parts: list[Done]) -> set[str]:
    """Have one output merged, and say what is left out of it; return the names of that."""
    loaded = context.loaded
    rejected = review.rejected(loaded.base / str(options["out"])) if _is_reviewed(loaded, options) else frozenset()
    cut = loaded.config.episodes is not None
    each = [found for part in parts for found in _parts(part, name, cut=cut)]
    unknown = sorted(rejected - {part[0] for part in each})  # of an earlier run, or of a daemon
    nothing = {part.name for part in parts if not _parts(part, name, cut=cut)}  # left out as a whole, all episodes too
    each += [(one, "", None, None, "", "", 0, 0, "") for one in (*unknown, *sorted(nothing - rejected))]
    _merge_in_child(context, name, options, (each, rejected | nothing))
    gone = rejected.intersection(part[0] for part in each)
    if gone:
        shown = show_names(sorted(gone))
        context.status.note(f"{name}: without {len(gone)} that a review has rejected: {shown}")
    return set(gone)


def _merge_in_child(
    context: RunContext, name: str, options: dict[str, Any], parts: tuple[list[_Part], frozenset[str]]
) -> None:
    """Merge in a process, which is started again where it is killed from outside: merging may be repeated.

    Raises:
        StreamerError: the consumer failed, or its process was killed too often.

    """
    loaded, starved = context.loaded, 0
    config = loaded.config.consumers[name]
    job = MergeJob(
        name,
        config.use or name,
        options,
        import_paths(loaded),
        tuple(parts[0]),
        durable=loaded.config.durable,
        rejected=tuple(sorted(parts[1])),
    )
    memory_kills = MemoryKills()
    for kills in range(1, _MOST_KILLS + 1):
        if _run_child(context, job):
            return
        starved += memory_kills.just_now()
        if kills < _MOST_KILLS:
            text = f"{name}: its merging process was killed by SIGKILL; it is started again"
            context.status.note(text, consumer=name)
            pause(context, _FIRST_WAIT * 2 ** (kills - 1))
    raise given_up(_MOST_KILLS, starved, consumer=name)


def _run_child(context: RunContext, job: MergeJob) -> bool:
    """Run a merging process to its end; tell whether it has merged, or was killed by SIGKILL from outside.

    Raises:
        StreamerError: it failed, or ended otherwise.

    """
    loaded = context.loaded
    log = context.workdir.logs / f"{job.name}.merge.log"
    child = Child("streamer.runtime.merge", f"merge {job.name}", folder=loaded.base, log=log)
    try:
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
    merged = any(isinstance(message, Merged) for message in heard)
    if not merged and code != -signal.SIGKILL:
        msg = f"its merging process ended ({how_it_ended(code)})"
        raise StreamerError(msg, consumer=job.name, hint=f"its log: {log}")
    return merged


def _wait(context: RunContext, child: Child) -> None:
    """Wait until the process says something; a first stop waits for its end, a second ends it.

    Raises:
        BusyError: there was a second.

    """
    with selectors.DefaultSelector() as selector:
        for what in (*child.watched(), context.stops):
            selector.register(what, selectors.EVENT_READ)
        selector.select(_LOOK_SECONDS)  # not every system announces the end of a process
    before = context.stops.asked
    context.stops.clear()
    if context.stops.asked > 1:
        msg = "the merging was stopped"
        raise BusyError(msg, hint=f"'streamer merge {context.loaded.path}' does it")
    if context.stops.asked > before:
        context.status.note("merging: this takes until its end (again to stop at once)")
