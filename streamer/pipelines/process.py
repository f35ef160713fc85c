"""A configuration and one of many recordings → a process that streams it, and how that went: both of its ends.

Whoever works through many recordings gives each a process and a work folder of its own. What one of them breaks,
leaks or crashes with then ends with it, and any number can go on side by side. It dies with whoever started it,
and everything that it has started dies with it; what it committed stays in its work folder, where the next takes it up.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer.config.load import Loaded, checked
from streamer.errors import BusyError, StreamerError
from streamer.ledger import Ledger
from streamer.pipelines.merge import merge_episodes
from streamer.pipelines.unit import Ended
from streamer.runtime.child import run as run_child
from streamer.runtime.job import PipelineJob
from streamer.runtime.messages import Failed, Note, PipelineEnded, Planned, Stop
from streamer.supervisor.child import Child
from streamer.supervisor.context import RunContext
from streamer.supervisor.endings import MemoryKills, how_it_ended
from streamer.supervisor.recording import Recording, run_recording, sharing
from streamer.supervisor.status import Status, read
from streamer.supervisor.workdir import Workdir, open_workdir, sweep

if TYPE_CHECKING:
    from streamer.runtime.channel import Channel

_SACRIFICE = 500  # added to the badness of a pipeline's processes: memory that gives out costs a pipeline, not the rest


class Pipeline:
    """The process that streams one recording, as seen from whoever started it."""

    def __init__(  # noqa: PLR0913 - what its process is told
        self,
        loaded: Loaded,
        path: Path,
        name: str,
        folder: Path,
        *,
        settings: dict[str, Any] | None = None,
        flush: bool = False,
        part: bool = False,
        together: Path | None = None,
        share: tuple[int, int] | None = None,
    ) -> None:
        """Start it, or go on where an earlier one ended; ``folder`` is its work folder, ``name`` the recording's.

        ``settings`` replace those of the configuration, with ``flush`` the outputs are on the disk before it is done;
        ``part`` says that they are merged later. ``together`` is the ledger of the run: elements must agree with it.
        ``share`` (index, count) is the part of the recording's episodes that is streamed.

        Raises:
            OSError: the system refuses a process or the folder.

        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self._child = Child("streamer.pipelines.process", "pipeline", folder=Path.cwd(), log=folder / "pipeline.log")
        self._memory_kills = MemoryKills()
        self._ended: Ended | None = None
        self._said: list[Planned | Note] = []
        own = {"workdir": str(folder), **(settings or {})}
        ledger = "" if together is None else str(together)
        job = PipelineJob(str(loaded.path), loaded.values, own, str(path), name, flush, part, ledger, share)
        self._child.channel.send(job)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    def watched(self) -> list[Channel | int]:
        """Return what becomes readable when it says something or ends."""
        return self._child.watched()

    def heard(self) -> list[Planned | Note]:
        """Return what it has said up to now; does not wait."""
        for message in self._child.heard():
            if isinstance(message, PipelineEnded):
                error = None if message.error is None else StreamerError.from_wire(message.error)
                self._ended = Ended(message.state, error, message.values, message.cursors)
            elif isinstance(message, Failed):
                self._ended = Ended("failed", message.cause)
            else:
                self._said.append(message)
        said, self._said = self._said, []
        return said

    def ended(self) -> Ended | None:
        """Tell how it ended; None while the process lives."""
        code = self._child.ended()
        if code is None:
            return None
        self._said = self.heard()
        if self._ended is None:
            self._ended = Ended("died", self._why(code))
        return self._ended

    def _why(self, code: int) -> StreamerError:
        """Say how its supervisor ended; a SIGKILL comes from outside, but where memory is short it will again."""
        if code != -signal.SIGKILL:
            return StreamerError(f"its supervisor ended ({how_it_ended(code)})")
        if self._memory_kills.just_now():
            return StreamerError(
                f"its supervisor ended ({how_it_ended(code)}, by the kernel, which was out of memory)",
                hint="give it more memory, or begin fewer at once (jobs)",
            )
        return BusyError(f"its supervisor ended ({how_it_ended(code)}, from outside)")

    def status(self) -> dict[str, Any]:
        """Return the snapshot that it last wrote; empty in the first moments."""
        try:
            found = read(self.folder)
        except (OSError, ValueError, KeyError):
            return {}
        return found if found["pid"] == self.pid else {}

    def drain(self) -> None:
        """Ask it to let every consumer finish its chunk and to end."""
        self._child.channel.send(Stop())

    def stop(self) -> None:
        """Ask it to end now: what is not committed is done again."""
        self._child.channel.send(Stop())
        self._child.channel.send(Stop())

    def close(self) -> None:
        """Make sure that it is gone, and everything that it has started; its outputs and its ledger stay."""
        code = self._child.ended()
        self._child.close()
        if code != 0:  # it had no time to do so itself
            sweep(self.folder)


class _Asked:
    """Stops that come over the channel; the end of whoever started us is one, too."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.asked = 0
        self.clear()  # what came together with the job is announced by no descriptor

    def fileno(self) -> int:
        return self._channel.fileno()

    def clear(self) -> None:
        while self._channel.ready():
            self.asked += sum(isinstance(message, Stop) for message in self._channel.receive())
        if not self._channel.open:
            self.asked = 2


class _Told:
    """An observer that tells whoever started us."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def planned(self, plan: Planned, recording: str = "") -> None:
        del recording
        self._channel.send(plan)

    def progress(self, values: dict[str, Any]) -> None:
        """Say nothing: the snapshot lies in the work folder."""

    def note(self, text: str, **about: Any) -> None:
        self._channel.send(Note(text, about))


def main(channel: Channel) -> None:
    """Run the pipeline in this process."""
    with suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text(str(_SACRIFICE), encoding="ascii")
    job = channel.receive_one(PipelineJob)
    config, path = Path(job.config), Path(job.path)
    loaded = Loaded(config, checked(config, job.values | job.own).config, job.values)
    recording = Recording(path, job.name, sharing(loaded.config), job.part, job.together, job.share)
    told, asked = _Told(channel), _Asked(channel)
    found = run_recording(loaded, recording, told, asked)
    if not job.part and loaded.config.episodes is not None and found.error is None:  # nobody does it later
        with open_workdir(loaded.workdir) as workdir:
            context = RunContext(loaded, workdir, Status(told, workdir.status, str(loaded.path)), asked)
            merge_episodes(context, path, job.name)
    streamed = found.recordings[0] if found.recordings else None
    state = "failed" if streamed is None or found.error else streamed.state
    if state == "done" and job.flush:
        os.sync()
    error = BusyError("interrupted") if state == "interrupted" else found.error
    channel.send(
        PipelineEnded(
            state,
            None if error is None else error.to_wire(),
            streamed.values if streamed else None,
            _cursors(loaded, path) if state == "done" else None,
        )
    )


def _cursors(loaded: Loaded, path: Path) -> dict[str, tuple[int, bytes | None]]:
    """Return how far each consumer has committed, and its state."""
    with Ledger(Workdir(loaded.workdir).ledger) as ledger:
        number = ledger.recordings(loaded.path.name)[str(path)].number
        found = {name: ledger.cursor(number, name) for name in loaded.config.consumers}
    return {name: (cursor.chunk, cursor.state) for name, cursor in found.items()}


if __name__ == "__main__":
    run_child(main, foreign=False)
