"""What an earlier run committed, and what this run is asked for → whether it may be continued, and if not, why not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer.errors import ConfigError, RecordingError, names_differ
from streamer.ledger import Ledger
from streamer.plan import digest
from streamer.runtime.about import chunk_starts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamer.runtime.job import ReaderJob
    from streamer.runtime.prepare import Prepared, Stream

_ANEW = "undo the change, or begin anew with --restart"
_MOST = 4  # differences that a message lists


def begin(ledger: Ledger, job: ReaderJob, prepared: Prepared) -> int:
    """Enter the recording into the ledger; return its number.

    Raises:
        ConfigError: something was committed under another plan, or under other settings of a consumer.
        RecordingError: another recording of the same run has other elements.

    """
    plan, fingerprint = digest(prepared.plan, _decoding(prepared), job.chunk_size), prepared.source.fingerprint
    settings = {name: seat.settings for name, seat in job.consumers.items()}
    known = ledger.recordings(job.pipeline).get(job.path)
    if known and known.committed:
        if (known.plan, known.fingerprint) != (plan, fingerprint):
            msg = (
                "the unfinished run had another plan (other streams, timeline, chunk_size, or the recording was "
                "changed), so it cannot be continued"
            )
            raise ConfigError(msg, path=job.path, hint=_ANEW)
        check_settings(ledger, known.number, settings)
    chunks = len(chunk_starts(prepared, job.chunk_size))
    number = ledger.begin(job.pipeline, job.path, fingerprint, plan, prepared.plan.frames, chunks)
    if known and not known.committed:
        ledger.reset(number)
    check_elements(ledger, number, prepared, job.path)
    if job.together:
        with Ledger(Path(job.together)) as together:
            check_elements(together, together.recordings(job.pipeline)[job.path].number, prepared, job.path)
    note_settings(ledger, number, settings)
    return number


def _decoding(prepared: Prepared) -> str:
    decided: list[Any] = [_decided(stream) for stream in prepared.streams]
    if prepared.cut is not None:
        decided += [[astuple(e.episode), e.first] for e in prepared.episodes]
    return json.dumps(decided, default=str)


def _decided(stream: Stream) -> list[Any]:
    """Return what a stream's samples depend on; one without a map says nothing of maps."""
    decoding = asdict(stream.settings.decoding)
    steps = decoding.pop("map")
    if stream.parts:
        own = [steps, stream.chain.code if stream.chain else ()]
        return [stream.spec.names, own, [_decided(part) for part in stream.parts]]
    decided = [stream.topic.name, stream.settings.clock, decoding, stream.spec.names, stream.spec.unit]
    return [*decided, steps, stream.chain.code if stream.chain else ()] if steps else decided


def check_elements(ledger: Ledger, recording: int, prepared: Prepared, path: str) -> None:
    """Make sure that vectors have the same elements as in the other recordings of the run.

    Raises:
        RecordingError: they have others, or in another order.

    """
    elements = {s.settings.name: s.spec.names for s in prepared.streams if s.names_matter}
    if other := ledger.agree(recording, elements):
        stream, where, names = other
        msg = f"its elements are not those of {where}, which is of the same run: "
        raise RecordingError(
            msg + names_differ(elements[stream], names),
            key=f"streams.{stream}",
            path=path,
            hint="choose them by name with 'elements'",
        )


def note_settings(ledger: Ledger, recording: int, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Store the settings under which consumers write the outputs of a recording."""
    for name, values in settings.items():
        ledger.note_settings(recording, name, json.dumps(values, sort_keys=True, default=str))


def check_settings(ledger: Ledger, recording: int, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Make sure that consumers go on under the settings with which they have committed.

    Raises:
        ConfigError: one has others now; what differs is shown.

    """
    for name, values in settings.items():
        cursor, text = ledger.cursor(recording, name), ledger.settings(recording, name)
        if text is None or not (cursor.chunk or cursor.closed):
            continue
        now = json.loads(json.dumps(values, default=str))
        found = list(differences(json.loads(text), now))
        if found:
            key, before, after = found[0]
            others = ", ".join(key for key, _, _ in found[1:_MOST])
            more = f" (and {others})" if others else ""
            msg = f"it was {before} in the run to be continued and is {after} now{more}: one output would mix both"
            raise ConfigError(msg, key=f"consumers.{name}.{key}", hint=_ANEW)


def differences(before: Any, after: Any, key: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield the dotted keys under which two settings differ, and both values as JSON; ``unset`` for none."""
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted({*before, *after}):
            inner = f"{key}.{name}" if key else str(name)
            yield from differences(before.get(name, _UNSET), after.get(name, _UNSET), inner)
        return
    yield key, _shown(before), _shown(after)


_UNSET = object()


def _shown(value: Any) -> str:
    return "unset" if value is _UNSET else json.dumps(value, default=str)
