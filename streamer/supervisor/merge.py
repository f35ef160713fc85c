"""The recordings that are done → the outputs that they share, put together by each consumer in a process of its own."""

from __future__ import annotations

import selectors
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from streamer.errors import BusyError, StreamerError
from streamer.ledger import Ledger
from streamer.runtime.job import MergeJob, to_wire
from streamer.supervisor.child import Child, how_it_ended
from streamer.supervisor.recordings import recordings
from streamer.supervisor.run import Over, open_workdir, sharing, unique_names
from streamer.supervisor.signals import listen
from streamer.supervisor.status import Status

if TYPE_CHECKING:
    from streamer.config.load import Loaded
    from streamer.supervisor.session import Observer


class Done(NamedTuple):
    """A recording that is done: its path, its name, and each consumer's last state."""

    path: str
    name: str
    states: dict[str, bytes | None]


def done(ledger: Ledger, pipeline: str, names: dict[Path, str], consumers: frozenset[str]) -> list[Done]:
    """Return those of the recordings that are done, in their order."""
    known = ledger.recordings(pipeline)
    found = [(path, name, known[str(path)]) for path, name in names.items() if str(path) in known]
    return [
        Done(str(path), name, {consumer: ledger.cursor(k.number, consumer).state for consumer in consumers})
        for path, name, k in found
        if k.state == "done"
    ]


def merge_all(loaded: Loaded, observer: Observer) -> tuple[int, int]:
    """Merge what is done of all recordings, by whatever runs; return how many those are, and how many there are.

    Raises:
        StreamerError: a consumer failed, or a run is under way in the work folder.

    """
    with listen() as signals, open_workdir(loaded.workdir) as workdir:
        names = unique_names(recordings(loaded))
        found: dict[str, Done] = {}
        for path in sorted([workdir.ledger, *loaded.workdir.glob("only-*/ledger.sqlite")]):
            with Ledger(path) as ledger:
                found |= {one.path: one for one in done(ledger, loaded.path.name, names, sharing(loaded.config))}
        over = Over(loaded, workdir, lambda: names, Status(observer, workdir.status, str(loaded.path)), signals)
        parts = [found[str(path)] for path in names if str(path) in found]
        merge(over, parts, len(names))
        return len(parts), len(names)


def merge(over: Over, parts: list[Done], count: int) -> None:
    """Let every consumer that many recordings share merge the ``parts``, out of ``count`` recordings.

    Raises:
        StreamerError: a consumer failed, or a stop was asked for twice; what was there before is there still.

    """
    for name in sorted(sharing(over.loaded.config)):
        _merge(over, name, parts)
    if len(parts) < count:
        over.status.note(f"{len(parts)} of {count} recordings are merged; --resume puts those that come in their place")


def _merge(over: Over, name: str, parts: list[Done]) -> None:
    loaded = over.loaded
    config = loaded.config.consumers[name]
    log = over.workdir.logs / f"{name}.merge.log"
    child = Child("streamer.runtime.merge", f"merge {name}", folder=loaded.base, log=log)
    try:
        job = MergeJob(
            name,
            config.use or name,
            config.options,
            tuple(dict.fromkeys([str(loaded.base), str(Path.cwd())])),
            tuple((part.name, part.path, part.states[name]) for part in parts),
        )
        child.channel.send("job", job=to_wire(job))
        heard: list[dict[str, Any]] = []
        while (code := child.ended()) is None:
            _wait(over, child)
            heard += child.heard()
        heard += child.heard()
    finally:
        child.close()
    for message in heard:
        if message["event"] == "error":
            raise StreamerError.from_wire(message["error"]).within(hint=f"its log: {log}")
    if not any(message["event"] == "merged" for message in heard):
        msg = f"its merging process ended ({how_it_ended(code)})"
        raise StreamerError(msg, consumer=name, hint=f"its log: {log}")


def _wait(over: Over, child: Child) -> None:
    """Wait until the process says something; a first stop waits for its end, a second ends it.

    Raises:
        BusyError: there was a second.

    """
    with selectors.DefaultSelector() as selector:
        for what in (*child.watched(), over.stops):
            selector.register(what, selectors.EVENT_READ)
        selector.select()
    before = over.stops.asked
    over.stops.clear()
    if over.stops.asked > 1:
        msg = "the merging was stopped"
        raise BusyError(msg, hint=f"'streamer merge {over.loaded.path}' does it")
    if over.stops.asked > before:
        over.status.note("merging: this takes until its end (again to stop at once)")
