"""A configuration → its recordings, streamed here or each by a process of its own, and a report: one run."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer.config.settings import provenance, stream_settings, timeline_settings
from streamer.errors import BusyError, ConfigError, OutputError, StorageError, StreamerError, UsageError
from streamer.ledger import Ledger
from streamer.runtime.job import ConsumerSeat, ReaderJob
from streamer.source.find import recording_name
from streamer.supervisor import report
from streamer.supervisor.recordings import recordings
from streamer.supervisor.session import Session
from streamer.supervisor.signals import listen
from streamer.supervisor.status import NAME, Status
from streamer.supervisor.tally import Tallies, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamer.config.load import Loaded
    from streamer.config.model import Config
    from streamer.supervisor.session import Observer, Outcome
    from streamer.supervisor.signals import Stops

_MOST_DEATHS = 5  # of the reader, without a commit in between
_LONGEST_SOCKET = 100  # bytes; the system takes 107
_log = logging.getLogger("streamer.supervisor")


@dataclass(frozen=True, slots=True)
class Workdir:
    """The folder in which a run keeps what is its own; nobody else may look into it."""

    path: Path

    @property
    def ledger(self) -> Path:
        """The ledger."""
        return self.path / "ledger.sqlite"

    @property
    def logs(self) -> Path:
        """One file for each process."""
        return self.path / "logs"

    @property
    def scratch(self) -> Path:
        """What is unpacked for the time of a run."""
        return self.path / "scratch"

    @property
    def report(self) -> Path:
        """The report of the last run."""
        return self.path / "report.json"

    @property
    def status(self) -> Path:
        """How far the run is, for ``streamer top``."""
        return self.path / NAME

    def endpoint(self, folder: Path) -> str:
        """Return the address of the reader's socket, as seen from ``folder``.

        Raises:
            ConfigError: the path is too long for a socket.

        """
        absolute = str(self.path / "reader.sock")
        name = absolute if len(absolute.encode()) <= _LONGEST_SOCKET else os.path.relpath(absolute, folder)
        if len(name.encode()) > _LONGEST_SOCKET:
            msg = f"{self.path} is too long a path for a socket ({_LONGEST_SOCKET} bytes): choose a shorter one"
            raise ConfigError(msg, key="workdir")
        return f"ipc://{name}"


@contextmanager
def open_workdir(path: Path) -> Iterator[Workdir]:
    """Make the folder where it is missing, and keep others out of it for the time of the block.

    Raises:
        BusyError: another run holds it. OutputError: it cannot be made.

    """
    workdir = Workdir(path)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)  # it may have been made by somebody else
        workdir.logs.mkdir(exist_ok=True)
        lock = (path / "lock").open("a+")
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror}; set 'workdir' to a folder that can"
        raise OutputError(msg, key="workdir") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = f"{path} is in use by another run; wait for it, or set another 'workdir'"
            raise BusyError(msg, key="workdir") from error
        shutil.rmtree(workdir.scratch, ignore_errors=True)
        (path / "reader.sock").unlink(missing_ok=True)
        try:
            yield workdir
        finally:
            (path / "reader.sock").unlink(missing_ok=True)
            shutil.rmtree(workdir.scratch, ignore_errors=True)


def run(loaded: Loaded, mode: str, observer: Observer, only: tuple[int, int] | None = None) -> report.Report:
    """Stream every recording of a configuration; ``mode`` is fresh, resume or restart.

    The first SIGINT or SIGTERM lets every consumer finish its chunk, the second stops at once.

    ``only`` (index, count) takes every count-th recording, from the index on, in a work folder of that part's own;
    nothing is merged. What goes wrong stands in the report.

    Raises:
        StreamerError: the work folder is in use or cannot be written to.

    """
    from streamer.supervisor.many import stream_many  # which starts this module's `run_one` for each

    def find() -> dict[Path, str]:
        names = unique_names(recordings(loaded))
        first, step = only or (0, 1)
        return dict(list(names.items())[first::step])

    with listen() as signals, open_workdir(workdir_of(loaded, only)) as workdir:
        over = Over(loaded, workdir, find, Status(observer, workdir.status, str(loaded.path)), signals)
        return _run(over, mode, stream_many if only is None else partial(stream_many, whole=False))


def run_one(
    loaded: Loaded, path: Path, name: str, observer: Observer, stops: Stops, *, part: bool = False
) -> report.Report:
    """Stream one recording of many, from where an earlier run ended; ``name`` is what it is called among them.

    Otherwise as `run`; ``part`` says that outputs are merged later.
    """
    with open_workdir(loaded.workdir) as workdir:
        status = Status(observer, workdir.status, str(loaded.path))
        return _run(
            Over(loaded, workdir, lambda: {path: name}, status, stops, many=True, part=part), "resume", stream_here
        )


def workdir_of(loaded: Loaded, only: tuple[int, int] | None = None) -> Path:
    """Return the work folder of a run, or that of a part of it: no two may use one at a time."""
    return loaded.workdir if only is None else loaded.workdir / f"only-{only[0]}-of-{only[1]}"


def _run(over: Over, mode: str, stream: Callable[[Over, str], Iterator[report.Streamed]]) -> report.Report:
    workdir, status = over.workdir, over.status
    with _written_log(workdir):
        found = report.Report(str(over.loaded.path))
        try:
            for streamed in stream(over, mode):
                found.add(streamed)
        except (StreamerError, OSError) as error:
            _log.exception("the run could not go on")
            found.failure = error if isinstance(error, StreamerError) else _refused(error)
        try:
            found.write(workdir.report)
        except StreamerError as error:
            if found.error is None:
                raise
            status.note(str(error))
        status.ended(found.exit_code)
        return found


def _refused(error: OSError) -> StorageError:
    """Say what the system did not give the supervisor: a process, a descriptor, space for a log."""
    hint = "; raise the limit (ulimit -n) or use fewer consumers" if error.errno == errno.EMFILE else ""
    at = f" ({error.filename})" if error.filename else ""
    return StorageError(f"the system refused what the run needs: {error.strerror}{at}{hint}")


@dataclass(frozen=True, slots=True)
class Over:
    """What a run is over, and who hears of it.

    ``find`` gives the recordings with their names; it may have to make them. ``many`` recordings may share what
    consumers write; ``part`` says that it is merged later.
    """

    loaded: Loaded
    workdir: Workdir
    find: Callable[[], dict[Path, str]]
    status: Status
    stops: Stops
    many: bool = False
    part: bool = False


def stream_here(over: Over, mode: str) -> Iterator[report.Streamed]:
    """Stream the recordings with processes of this one, one after the other, up to the first that fails."""
    names = over.find()
    done = _settle_with_past(over.workdir, over.loaded.path.name, list(names), mode)
    for number, (path, name) in enumerate(names.items(), 1):
        over.status.recording(path, number, len(names))
        if str(path) in done:
            over.status.note(f"{path.name}: done in an earlier run")
            yield report.already_done(path)
            continue
        streamed = _stream(over, path, name)
        yield streamed
        if streamed.error is not None or over.stops.asked:
            return


@contextmanager
def _written_log(workdir: Workdir) -> Iterator[None]:
    """Write what is logged in the block to a file of its own; those of the run before are removed."""
    for old in workdir.logs.glob("*.log"):
        old.unlink()
    handler = logging.FileHandler(workdir.logs / "supervisor.log")
    handler.setFormatter(logging.Formatter("%(asctime)s supervisor %(levelname)s %(message)s"))
    root = logging.getLogger("streamer")
    root.handlers[:] = [handler]
    root.propagate = False
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


def _settle_with_past(workdir: Workdir, pipeline: str, paths: list[Path], mode: str) -> set[str]:
    """Decide what an earlier run of this configuration means; return the recordings that are done."""
    with Ledger(workdir.ledger) as ledger:
        known = ledger.recordings(pipeline)
        wanted = {str(path) for path in paths}
        unfinished = [k for k in known.values() if k.path in wanted and k.state != "done" and k.committed]
        if mode == "fresh" and unfinished:
            msg = (
                f"an earlier run of {pipeline} over {Path(unfinished[0].path).name} is unfinished: "
                "continue it with --resume, or begin anew with --restart"
            )
            raise UsageError(msg)
        if mode != "resume":
            ledger.forget(pipeline)
            return set()
        return {k.path for k in known.values() if k.state == "done"}


def unique_names(paths: list[Path]) -> dict[Path, str]:
    """Name the recordings; those that would have one name are numbered."""
    names: dict[Path, str] = {}
    for path in paths:
        name = recording_name(path)
        number = 2
        while name in names.values():
            name = f"{recording_name(path)}-{number}"
            number += 1
        names[path] = name
    return names


def _stream(over: Over, path: Path, name: str) -> report.Streamed:
    """Stream one recording; a reader that dies is replaced, and everyone goes on from the last commit."""
    tallies = Tallies({name: Tally() for name in over.loaded.config.consumers})
    began = time.time()
    deaths = 0
    while True:
        outcome = _session(over, path, name, tallies)
        deaths = 1 if outcome.committed else deaths + 1
        if outcome.state != "died":
            break
        if deaths >= _MOST_DEATHS:
            outcome.error = StreamerError(
                f"the reader ended {deaths} times; its log: {over.workdir.logs / 'reader.log'}"
            )
            outcome.state = "failed"
            break
        over.status.note("the reader is started again")
    return report.streamed(path, outcome, tallies, began)


def _session(over: Over, path: Path, name: str, tallies: Tallies) -> Outcome:
    loaded, workdir = over.loaded, over.workdir
    config = loaded.config
    endpoint = workdir.endpoint(loaded.base)
    job = ReaderJob(
        pipeline=loaded.path.name,
        path=str(path),
        name=name,
        base=str(loaded.base),
        ledger=str(workdir.ledger),
        scratch=str(workdir.scratch),
        endpoint=endpoint,
        pool_fd=-1,
        pool=config.pool,
        chunk_size=config.chunk_size,
        threads=config.threads,
        types=tuple(config.types),
        timeline=timeline_settings(config),
        streams=stream_settings(config),
        consumers=_seats(config),
        salvage=config.source.salvage,
        provenance=provenance(loaded),
    )
    consumers = {n: c.model_copy(update={"options": fill_in(c.options, name)}) for n, c in config.consumers.items()}
    return Session(
        job,
        consumers,
        folder=loaded.base,
        logs=workdir.logs,
        paths=tuple(dict.fromkeys([str(loaded.base), str(Path.cwd())])),
        sharing=sharing(config) if over.many else frozenset(),
        part=over.part,
        tallies=tallies,
        observer=over.status,
        stops=over.stops,
    ).run()


def _seats(config: Config) -> dict[str, ConsumerSeat]:
    """Return what the reader has to know of each consumer."""
    everything = tuple(config.streams)
    return {
        name: ConsumerSeat(
            tuple(c.streams) if c.streams is not None else everything,
            c.mode == "latest",
            c.every,
            c.on_error == "quarantine",
        )
        for name, c in config.consumers.items()
    }


def sharing(config: Config) -> frozenset[str]:
    """Return the consumers to which all recordings give the same ``out``."""
    outs = {name: str(consumer.options.get("out", "{recording}")) for name, consumer in config.consumers.items()}
    return frozenset(name for name, out in outs.items() if "{recording}" not in out)


def fill_in(value: Any, name: str) -> Any:
    """Put the recording's name where an option says ``{recording}``."""
    if isinstance(value, str):
        return value.replace("{recording}", name)
    if isinstance(value, dict):
        return {key: fill_in(inner, name) for key, inner in value.items()}
    return [fill_in(inner, name) for inner in value] if isinstance(value, list) else value
