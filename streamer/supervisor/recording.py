"""A configuration and one recording → that recording streamed, by sessions until it is done, and a report."""

from __future__ import annotations

import selectors
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer import text
from streamer.config.settings import (
    episode_settings,
    provenance,
    quality_settings,
    stream_settings,
    timeline_settings,
    trust,
)
from streamer.errors import StreamerError, UsageError
from streamer.ledger import Ledger
from streamer.runtime.continuation import check_settings
from streamer.runtime.job import ConsumerSeat, ReaderJob
from streamer.supervisor import report
from streamer.supervisor.context import RunContext, reported
from streamer.supervisor.endings import given_up
from streamer.supervisor.leftovers import leftovers
from streamer.supervisor.session import Session
from streamer.supervisor.status import Status
from streamer.supervisor.tally import Tallies, Tally
from streamer.supervisor.workdir import open_workdir

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamer.config.load import Loaded
    from streamer.config.model import Config
    from streamer.supervisor.observer import Display
    from streamer.supervisor.outcome import Outcome
    from streamer.supervisor.signals import Stops

_MOST_DEATHS, _MOST_KILLS = 5, 20  # of the reader, by itself and from outside, without a commit in between
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 30.0  # seconds


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording of a run: its path, and its name among all of the run.

    ``sharing`` names the consumers that write to the ``out`` of other recordings as well, ``part`` says that what
    those write is merged later, ``together`` is the ledger of all recordings of the run ("" if it has this one only).
    ``share`` (index, count) is the part of its episodes that is streamed, where that is not all.
    """

    path: Path
    name: str
    sharing: frozenset[str] = frozenset()
    part: bool = False
    together: str = ""
    share: tuple[int, int] | None = None


def run_recording(loaded: Loaded, recording: Recording, display: Display, stops: Stops) -> report.Report:
    """Stream one recording of many in a work folder of its own, from where an earlier run ended.

    Raises:
        StreamerError: the work folder is in use or cannot be written to; all else stands in the report.

    """
    with open_workdir(loaded.workdir) as workdir:
        status = Status(display, workdir.status, str(loaded.path))
        context = RunContext(loaded, workdir, status, stops)
        return reported(context, stream(context, recording, "resume"))


def stream(context: RunContext, recording: Recording, mode: str) -> Iterator[report.Streamed]:
    """Stream a recording with processes of this one; ``mode`` (fresh, resume, restart) says what an earlier run means.

    Raises:
        UsageError: an earlier run is unfinished, and ``mode`` is fresh.
        ConfigError: it is to be continued, and a consumer has other settings now.

    """
    done = _is_done(context, recording.path, mode)
    context.status.recording(recording.path, 1, 1)
    if done:
        context.status.note(f"{recording.path.name}: done in an earlier run")
        yield report.already_done(recording.path)
        return
    found = _stream(context, recording)
    if found.state == "done" and recording.share is None:
        found.values["leftovers"] = [str(path) for path in _leftovers(context.loaded, recording.name, found.values)]
    yield found


def _leftovers(loaded: Loaded, name: str, values: dict[str, Any]) -> list[Path]:
    outs = [c.options["out"] for c in loaded.config.consumers.values() if isinstance(c.options.get("out"), str)]
    cut = loaded.config.episodes is not None
    return leftovers([loaded.base / out for out in outs], name, values["episodes"], cut=cut)


def _is_done(context: RunContext, path: Path, mode: str) -> bool:
    """Decide what an earlier run of this configuration means; tell whether it finished the recording."""
    with Ledger(context.workdir.ledger) as ledger:
        known = ledger.recordings(context.pipeline).get(str(path))
        if mode == "fresh" and known is not None and known.state != "done" and known.committed:
            msg = f"an earlier run of {context.pipeline} over {path.name} is unfinished"
            raise UsageError(msg, hint="continue it with --resume, or begin anew with --restart")
        if mode != "resume":
            ledger.forget(context.pipeline)
            return False
        if known is None or known.state != "done":
            return False
        check_settings(ledger, known.number, consumer_settings(context.loaded.config))
        return True


def _stream(context: RunContext, recording: Recording) -> report.Streamed:
    """Hold sessions until one ends well: a reader that dies is replaced, and everyone goes on from the last commit."""
    tallies = Tallies({name: Tally() for name in context.loaded.config.consumers})
    began = time.time()
    deaths = kills = starved = 0
    while True:
        outcome = _session(context, recording, tallies)
        killed = outcome.code == -signal.SIGKILL  # from outside: nobody here does that to a reader
        deaths = (0 if outcome.committed else deaths) + (not killed)
        kills = (0 if outcome.committed else kills) + killed
        starved = (0 if outcome.committed else starved) + (killed and outcome.starved)
        if outcome.state != "died":
            break
        if deaths >= _MOST_DEATHS or kills >= _MOST_KILLS:
            outcome.error, outcome.state = _given_up(context, deaths, kills, starved), "failed"
            break
        pause(context, min(_FIRST_WAIT * 2 ** (deaths + kills - 1), _LONGEST_WAIT))
        if context.stops.asked:
            outcome.state = "interrupted"
            break
        context.status.note("the reader is started again")
    return report.streamed(recording.path, outcome, tallies, began)


def _given_up(context: RunContext, deaths: int, kills: int, starved: int) -> StreamerError:
    if kills >= _MOST_KILLS:
        return given_up(kills, starved)
    return StreamerError(f"the reader ended {deaths} times", hint=f"its log: {context.workdir.logs / 'reader.log'}")


def pause(context: RunContext, seconds: float) -> None:
    """Wait, but no longer than until a stop is asked for."""
    end = time.monotonic() + seconds
    while not context.stops.asked and (left := end - time.monotonic()) > 0:
        with selectors.DefaultSelector() as selector:
            selector.register(context.stops, selectors.EVENT_READ)
            selector.select(left)
        context.stops.clear()


def _session(context: RunContext, recording: Recording, tallies: Tallies) -> Outcome:
    loaded, workdir, config = context.loaded, context.workdir, context.loaded.config
    job = ReaderJob(
        pipeline=context.pipeline,
        path=str(recording.path),
        name=recording.name,
        base=str(loaded.base),
        ledger=str(workdir.ledger),
        scratch=str(workdir.scratch),
        endpoint=workdir.endpoint(loaded.base),
        pool_fd=-1,
        pool=config.pool,
        chunk_size=config.chunk_size,
        threads=config.threads,
        types=tuple(config.types),
        timeline=timeline_settings(config),
        streams=stream_settings(config),
        episodes=episode_settings(config, loaded.base),
        share=recording.share,
        quality=quality_settings(config),
        consumers=_seats(config),
        salvage=config.source.salvage,
        trust=trust(config),
        prove=config.source.after != "keep",
        provenance=provenance(loaded),
        durable=config.durable,
        together=recording.together,
        paths=import_paths(loaded),
    )
    name = recording.name
    consumers = {n: c.model_copy(update={"options": fill_in(c.options, name)}) for n, c in config.consumers.items()}
    return Session(
        job,
        consumers,
        folder=loaded.base,
        logs=workdir.logs,
        paths=import_paths(loaded),
        sharing=recording.sharing if config.episodes is None else sharing(config),
        part=recording.part or config.episodes is not None,
        tallies=tallies,
        observer=context.status,
        stops=context.stops,
    ).run()


def _seats(config: Config) -> dict[str, ConsumerSeat]:
    """Return what the reader has to know of each consumer."""
    everything, settings = tuple(config.streams), consumer_settings(config)
    return {
        name: ConsumerSeat(
            tuple(c.streams) if c.streams is not None else everything,
            c.mode == "latest",
            c.every,
            c.on_error == "quarantine",
            settings[name],
        )
        for name, c in config.consumers.items()
    }


def consumer_settings(config: Config) -> dict[str, dict[str, Any]]:
    """Return of each consumer the settings that decide what it writes; how it is run (recycling, …) is left out."""
    return {
        name: {
            "use": c.use or name,
            "mode": c.mode,
            "every": c.every,
            "streams": list(config.streams if c.streams is None else c.streams),
            "options": c.options,
        }
        for name, c in config.consumers.items()
    }


def import_paths(loaded: Loaded) -> tuple[str, ...]:
    """Return the folders in which consumers' modules are looked for first."""
    return tuple(dict.fromkeys([str(loaded.base), str(Path.cwd())]))


def sharing(config: Config) -> frozenset[str]:
    """Return the consumers to which all recordings, or all episodes of one, give the same ``out``."""
    own = "{recording}" if config.episodes is None else "{episode}"
    outs = {name: str(consumer.options.get("out", own)) for name, consumer in config.consumers.items()}
    return frozenset(name for name, out in outs.items() if own not in out)


def fill_in(value: Any, name: str) -> Any:
    """Put the recording's name where an option says ``{recording}``: it is never more than one part of a path."""
    return text.fill_in(value, "recording", name)
