"""The ledger of a run over many recordings → which of them an earlier run has finished, and what was just finished."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from streamer.errors import ConfigError, UsageError
from streamer.ledger import Ledger
from streamer.runtime.continuation import check_settings, note_settings
from streamer.supervisor.recording import fill_in
from streamer.supervisor.workdir import Workdir

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamer.ledger import Known
    from streamer.pipelines.unit import Ended, Work

Settings: TypeAlias = Mapping[str, Mapping[str, Any]]  # of each consumer


class Asked(NamedTuple):
    """What is asked of a run: its ``mode`` (fresh, resume, restart, or go_on) and its consumers' settings.

    To go on is to resume what is unfinished, and to do anew what is done with other settings.

    ``base`` is the folder from which the paths of their outputs start.
    """

    mode: str
    settings: Settings
    base: Path


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


def settle(ledger: Ledger, pipeline: str, works: list[Work], asked: Asked) -> str:
    """Decide what an earlier run means: mark what it finished, or forget all; return the mode for what is left.

    With mode ``fresh`` as well, what is done is not done again, and what failed before it committed anything is tried
    again; where a setting or a recording has changed, or an output is missing, all is done anew.

    Raises:
        UsageError: it stopped in the midst of a recording, and the mode is fresh.
        ConfigError: it is to be continued, and a consumer has other settings now.

    """
    known = ledger.recordings(pipeline)
    mine = [work for work in works if str(work.path) in known]
    finished = [work for work in mine if known[str(work.path)].state == "done"]
    missing = [work for work in mine if work not in finished]
    begun = [work for work in missing if _has_commits(work, pipeline)] if asked.mode in ("fresh", "go_on") else []
    if asked.mode == "fresh" and begun:
        msg = (
            f"an earlier run of {pipeline} is unfinished: {len(missing)} of its {len(mine)} recordings are missing "
            f"({begun[0].name} first)"
        )
        raise UsageError(msg, hint="continue it with --resume, or begin anew with --restart")
    stands = _stands(ledger, known, works, finished, asked) or (bool(begun) and not finished)
    if asked.mode != "resume" and not stands:
        ledger.forget(pipeline)
        return "restart"
    for work in finished:
        check_settings(ledger, known[str(work.path)].number, asked.settings)
        work.state = "earlier"
    return "resume" if begun else asked.mode


def mode_alone(ledger: Ledger, pipeline: str, work: Work, asked: Asked) -> str:
    """Return the mode for a run over this recording alone: ``resume`` also where all is done and still there."""
    if is_done(ledger, pipeline, work, asked):
        return "resume"
    known = ledger.recordings(pipeline).get(str(work.path))
    if asked.mode == "go_on":
        return "restart" if known is not None and known.state == "done" else "resume"
    return asked.mode


def is_done(ledger: Ledger, pipeline: str, work: Work, asked: Asked) -> bool:
    """Tell whether a run over this recording alone would do again what is done, and still there."""
    known = ledger.recordings(pipeline)
    finished = [work] if str(work.path) in known and known[str(work.path)].state == "done" else []
    return _stands(ledger, known, [work], finished, asked)


def _stands(ledger: Ledger, known: Mapping[str, Known], works: list[Work], finished: list[Work], asked: Asked) -> bool:
    """Tell whether what is finished need not be done again, of the ``works`` that are wanted."""
    if asked.mode not in ("fresh", "go_on") or not all(_is_as_it_was(work, known) for work in finished):
        return False
    if not _same_settings(ledger, known, finished, asked.settings):
        return False
    outs = [out for work in finished for out in _outs(work, asked)]
    has_new = len(finished) < len(works)  # else a run that writes nothing is one that is wanted again
    return all(out.exists() for out in outs) and bool(finished) and (has_new or bool(outs))


def _outs(work: Work, asked: Asked) -> Iterator[Path]:
    """Yield what consumers' options call ``out``, of one recording; of its episodes the folder."""
    for settings in asked.settings.values():
        out = fill_in(settings["options"], work.name).get("out")
        if isinstance(out, str):
            path = asked.base / Path(out).expanduser()
            yield path.parent if "{episode}" in path.name else path


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


def note_alone(ledger: Ledger, pipeline: str, work: Work) -> None:
    """Note of a recording that was streamed alone what `note_done` notes, by which a later run knows it."""
    ledger.mark(pipeline, str(work.path), work.stamp, work.asked)


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
