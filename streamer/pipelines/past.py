"""The ledger of a run over many recordings → which of them an earlier run has finished, and what was just finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from streamer.errors import ConfigError, UsageError
from streamer.ledger import Ledger
from streamer.runtime.continuation import check_settings, note_settings
from streamer.supervisor.workdir import Workdir

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from streamer.ledger import Known
    from streamer.pipelines.unit import Ended, Work

    Settings: TypeAlias = Mapping[str, Mapping[str, Any]]  # of each consumer


class Done(NamedTuple):
    """A recording that is done: its path, its name, and each consumer's last state."""

    path: str
    name: str
    states: dict[str, bytes | None]


def done(ledger: Ledger, pipeline: str, names: Mapping[Path, str], consumers: frozenset[str]) -> list[Done]:
    """Return those of the recordings that are done, in their order."""
    known = ledger.recordings(pipeline)
    found = [(path, name, known[str(path)]) for path, name in names.items() if str(path) in known]
    return [
        Done(str(path), name, {consumer: ledger.cursor(k.number, consumer).state for consumer in consumers})
        for path, name, k in found
        if k.state == "done"
    ]


def settle(ledger: Ledger, pipeline: str, works: list[Work], mode: str, settings: Settings) -> None:
    """Decide what an earlier run means: mark what it finished, or forget all.

    A finished run to which recordings were added is gone on with, also with ``mode`` fresh: only these are streamed.

    Raises:
        UsageError: it is unfinished, and ``mode`` is fresh.
        ConfigError: it is to be continued, and a consumer has other ``settings`` now.

    """
    known = ledger.recordings(pipeline)
    mine = [work for work in works if str(work.path) in known]
    missing = [work for work in mine if known[str(work.path)].state != "done"]
    if mode == "fresh" and missing and (len(missing) < len(mine) or any(_has_commits(w, pipeline) for w in missing)):
        msg = (
            f"an earlier run of {pipeline} is unfinished: {len(missing)} of its {len(mine)} recordings are missing "
            f"({missing[0].name} first)"
        )
        raise UsageError(msg, hint="continue it with --resume, or begin anew with --restart")
    has_more = bool(mine) and len(mine) < len(works) and all(_is_as_it_was(work, known) for work in mine)
    if mode != "resume" and not (mode == "fresh" and has_more and _same_settings(ledger, known, mine, settings)):
        ledger.forget(pipeline)
        return
    for work in mine:
        if work not in missing:
            check_settings(ledger, known[str(work.path)].number, settings)
            work.state = "earlier"


def _is_as_it_was(work: Work, known: Mapping[str, Known]) -> bool:
    """Tell whether a recording is done, under these streams and timeline, and was not written to since."""
    before = known[str(work.path)]
    return before.state == "done" and (before.fingerprint, before.plan) == (work.stamp, work.asked)


def _same_settings(ledger: Ledger, known: Mapping[str, Known], works: list[Work], settings: Settings) -> bool:
    try:
        for work in works:
            check_settings(ledger, known[str(work.path)].number, settings)
    except ConfigError:
        return False
    return True


def _has_commits(work: Work, pipeline: str) -> bool:
    path = Workdir(work.folder).ledger
    if not path.exists():
        return False
    with Ledger(path) as ledger:
        return any(known.committed for known in ledger.recordings(pipeline).values())


def note_begun(ledger: Ledger, pipeline: str, work: Work) -> None:
    """Enter a recording as one that is under way."""
    ledger.begin(pipeline, str(work.path), "", "", 0, 0)


def note_done(ledger: Ledger, pipeline: str, work: Work, ended: Ended, settings: Settings) -> None:
    """Enter a recording as done, with what each consumer committed last, and under which settings."""
    number = ledger.begin(pipeline, str(work.path), work.stamp, work.asked, work.frames[1], 0)
    ledger.reset(number)
    for consumer, (chunk, state) in (ended.cursors or {}).items():
        ledger.commit(number, consumer, chunk - 1, state)
    note_settings(ledger, number, settings)
    ledger.finish(number, "done")


def note_missing(ledger: Ledger, pipeline: str, work: Work, state: str, error: str) -> None:
    """Enter a recording as interrupted or failed."""
    number = ledger.begin(pipeline, str(work.path), "", "", 0, 0)
    ledger.finish(number, state, error)
