"""What every part of a run is given, and the frame of each run: streamed recordings → a written report."""

from __future__ import annotations

import errno
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.errors import StorageError, StreamerError
from streamer.supervisor.report import Report
from streamer.supervisor.workdir import written_log

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamer.config.load import Loaded
    from streamer.supervisor.report import Streamed
    from streamer.supervisor.signals import Stops
    from streamer.supervisor.status import Status
    from streamer.supervisor.workdir import Workdir

_log = logging.getLogger("streamer.supervisor")


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a run works with: its configuration, its work folder, who hears of it and who may stop it."""

    loaded: Loaded
    workdir: Workdir
    status: Status
    stops: Stops

    @property
    def pipeline(self) -> str:
        """The name under which the ledger knows this configuration."""
        return self.loaded.path.name


def reported(context: RunContext, recordings: Iterable[Streamed]) -> Report:
    """Stream ``recordings`` (a generator does it), write the report and return it; what goes wrong stands in it.

    Raises:
        StreamerError: nothing went wrong but the writing of the report.

    """
    workdir, status = context.workdir, context.status
    with written_log(workdir):
        found = Report(str(context.loaded.path))
        try:
            for streamed in recordings:
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
    hint = "raise the limit (ulimit -n) or use fewer consumers" if error.errno == errno.EMFILE else ""
    at = f" ({error.filename})" if error.filename else ""
    return StorageError(f"the system refused what the run needs: {error.strerror}{at}", hint=hint)
