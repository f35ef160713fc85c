"""A configuration that watches folders → pipelines, one for each recording, for as long as nobody stops it.

One loop in one thread decides everything. What it decides is in the queue before it is carried out, so it may be
killed between any two lines: the next daemon takes up what was running, from what the consumers had committed.
"""

from __future__ import annotations

import faulthandler
import os
import selectors
import socket
import sys
import time
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from streamer.errors import ConfigError, UsageError
from streamer.ingest.configuration import SECOND, InForce
from streamer.ingest.control import Control, ask
from streamer.ingest.details import Details
from streamer.ingest.filing import Filing
from streamer.ingest.intake import Intake
from streamer.ingest.notify import Systemd
from streamer.ingest.queue import HELD, RESUMED, Queue
from streamer.ingest.scheduler import Scheduler
from streamer.ingest.snapshot import Live, as_json, snapshot
from streamer.ingest.table import Table
from streamer.memory import anonymous
from streamer.supervisor.signals import listen
from streamer.supervisor.workdir import open_workdir

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from streamer.config.load import Loaded
    from streamer.supervisor.signals import Signals
    from streamer.supervisor.workdir import Workdir

_SPACE_SECONDS = 5.0  # between two looks at the free space while something waits for it
_LONGEST_WAIT = 10.0  # seconds for which the loop may stand


class Daemon:
    """The loop."""

    def __init__(
        self,
        loaded: Loaded,
        reload: Callable[[], Loaded],
        workdir: Workdir,
        queue: Queue,
        signals: Signals,
        log: FilteringBoundLogger,
        recent: Callable[[], str],
    ) -> None:
        """Take what it needs; ``reload`` reads and checks the configuration again, ``recent`` returns the log's end."""
        self._reload = reload
        self._workdir, self._queue, self._signals, self._log = workdir, queue, signals, log
        self._settings = InForce(loaded, workdir.path)
        self._intake = Intake(queue, log, self.tell)
        self._scheduler = Scheduler(workdir, queue, log, self._intake.look_again_at)
        self._filing = Filing(queue, log, self.tell)
        self._draining = 0
        self._warnings: list[str] = []
        self._systemd = Systemd()
        self._began = time.time()
        self._beat: Callable[[], None] = lambda: None
        self._wake, self._woken = socket.socketpair()
        self._live = Live(str(loaded.path))
        self._table = Table()
        self._details = Details(workdir.path, recent)

    # ---- for other threads

    def trouble(self) -> str | None:
        """Say why no new recording is begun; None where all is well; may be called from any thread."""
        return self._live.paused or (self._intake.problem or None)

    def snapshot(self) -> dict[str, Any]:
        """Return what there is to see; may be called from any thread."""
        with Queue(self._workdir.path / "queue.sqlite") as queue:
            return snapshot(queue, self._live, self._table.read(queue))

    def image(self, number: int) -> bytes | None:
        """Return the newest picture of a running recording (JPEG or PNG); may be called from any thread."""
        for one in self._live.running:
            if one.entry.id == number and (path := one.image()):
                with suppress(OSError):  # it was replaced or removed a moment ago
                    return path.read_bytes()
        return None

    def tell(self) -> None:
        """Make the loop look; may be called from any thread."""
        with suppress(OSError):  # it has been told often enough, or it has ended
            self._woken.send(b"x")

    # ---- the loop

    def run(self) -> None:
        """Watch until drained or stopped."""
        with ExitStack() as stack:
            for end in (self._wake, self._woken):
                end.setblocking(False)
                stack.callback(end.close)
            stack.callback(self._filing.close)
            self._control = Control(self._workdir, {"status": self._show_status})
            stack.callback(self._control.close)
            self._scheduler.take_up()
            self._count_done_differently()
            stack.callback(self._intake.stop)
            stack.callback(self._scheduler.close)
            self._intake.begin(self._settings)
            self._publish()
            self._serve(stack)
            self._systemd.tell("READY=1", "STATUS=watching")
            self._log.info("watching", folders=self._live.watch, pid=os.getpid())
            while not self._has_ended():
                self._wait()
                self._look()
            self._systemd.tell("STOPPING=1")
            self._log.info("ended")

    def _serve(self, stack: ExitStack) -> None:
        config = self._settings.config
        if config.http is None:
            return
        from streamer.ingest.http import HttpServer

        host, _, port = config.http.rpartition(":")
        act = partial(ask, self._workdir.path)
        shown = (self.snapshot, self.trouble, self.image, act, self._details)
        server = HttpServer(host.strip("[]"), int(port), config.http_token, *shown)
        stack.enter_context(server)
        self._beat = server.beat
        self._log.info("serving", url=server.url)

    def _has_ended(self) -> bool:
        return (self._draining > 0 and not self._scheduler.running) or self._draining > 1

    def _wait(self) -> None:
        waits = [_LONGEST_WAIT, self._systemd.period, self._scheduler.seconds_to_next_try()]
        waits.append(self._filing.seconds_to_next())
        if self._scheduler.paused or self._control.busy or self._intake.problem:
            waits.append(_SPACE_SECONDS)
        with selectors.PollSelector() as selector:  # which needs no descriptor of its own
            for what in (self._wake, self._signals, *self._control.watched(), *self._scheduler.watched()):
                selector.register(what, selectors.EVENT_READ)
            selector.select(min(waits))

    def _look(self) -> None:
        """Take in everything that has happened since the last look, and do what follows from it."""
        self._beat()
        self._systemd.tell("WATCHDOG=1")
        with suppress(BlockingIOError):
            self._wake.recv(4096)
        self._hear_signals()
        self._control.take(self._answer)
        self._scheduler.hear(self._settings)
        self._intake.take_in(self._scheduler.running.keys())
        self._filing.take_in()
        self._filing.backoff = self._settings.config.source.backoff / SECOND
        if self._settings.config.source.after != "keep" and not self._draining:
            self._filing.begin(self._settings.archive)
        self._scheduler.try_again()
        if not self._draining:
            self._scheduler.begin(self._settings)
        self._publish()

    def _hear_signals(self) -> None:
        self._signals.clear()
        if self._signals.hung_up:
            self._signals.hung_up = 0
            try:
                self._read_again()
            except (ConfigError, UsageError) as error:
                self._log.error("the new configuration has mistakes, the old one stays", error=str(error))
        if self._signals.asked > self._draining:
            self._drain(self._signals.asked)

    def _drain(self, how: int) -> None:
        self._draining = how
        self._log.info("draining" if how == 1 else "stopping", running=list(self._scheduler.running.values()))
        self._systemd.tell("STOPPING=1", "STATUS=draining")
        self._scheduler.drain()

    # ---- configuration

    def _read_again(self) -> str:
        """Read the configuration again; where it has a mistake, or needs a restart, the old one stays."""
        self._systemd.reloading()
        try:
            settings = InForce(self._reload(), self._workdir.path)
            self._settings.may_become(settings)
            self._settings = settings
        finally:
            self._systemd.tell("READY=1")
        self._count_done_differently()
        self._intake.begin(settings)
        self._log.info("reloaded", configuration=settings.fingerprint)
        return "; ".join(
            ["the configuration has been read again and holds for recordings begun from now on", *self._warnings]
        )

    def _count_done_differently(self) -> None:
        """Warn of recordings that were done with another configuration."""
        count = len(self._queue.done_differently(self._settings.fingerprint))
        self._warnings = []
        if count:
            self._warnings.append(
                f"{count} recordings were done with another configuration and stay as they are; "
                "'streamer watch --reprocess' does them again"
            )
            self._log.warning(self._warnings[-1])

    def reprocess(self) -> None:
        """Queue again what was done with another configuration."""
        for entry in self._queue.done_differently(self._settings.fingerprint):
            if entry.path.exists():
                self._queue.again(entry, anew=True)
                self._log.info("reprocess", recording=entry.name)
            else:
                self._log.warning("its file is no longer there", recording=entry.name, path=str(entry.path))

    # ---- requests and display

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        verb = request.get("verb")
        if verb == "retry":
            what = str(request.get("what", ""))
            return {"ok": True, "recordings": [as_json(entry) for entry in self._queue.retry(what)]}
        if verb in ("pause", "resume"):
            return {"ok": True, "text": self._hold(wanted=verb == "pause")}
        if verb == "drain":
            self._drain(max(1, self._draining))
            return {"ok": True, "text": "draining: every running recording finishes its chunks at hand"}
        if verb == "reload":
            return {"ok": True, "text": self._read_again()}
        msg = f"there is no request {verb!r}"
        raise UsageError(msg)

    def _hold(self, *, wanted: bool) -> str:
        """Begin nothing new until told otherwise, also after a restart; or begin again."""
        self._queue.hold(wanted=wanted)
        self._log.info("paused by hand" if wanted else "resumed by hand")
        return HELD if wanted else RESUMED

    def _show_status(self) -> dict[str, Any]:
        return {"ok": True, "status": self.snapshot()}

    def _publish(self) -> None:
        """Put down what other threads may show; what costs or may fail is asked for only when it is shown."""
        settings, config = self._settings, self._settings.config
        paused = self._scheduler.paused
        warnings = (*self._warnings, *self._intake.warnings, self._filing.problem)
        self._live = Live(
            config=str(settings.loaded.path),
            pid=os.getpid(),
            began=self._began,
            state="draining" if self._draining else "paused" if paused else "watching",
            paused=paused,
            held=self._queue.held,
            warnings=tuple(filter(None, warnings)),
            watch=tuple(map(str, settings.folders)),
            last_scan=self._intake.last_scan,
            jobs=settings.most,
            budget=config.memory,
            disks=settings.seen_disks,
            sights=self._intake.sights,
            running=self._scheduler.shown(),
            own_memory=anonymous,
        )


def watch(
    reload: Callable[[], Loaded],
    log: FilteringBoundLogger,
    recent: Callable[[], str] = str,
    *,
    reprocess: bool = False,
) -> None:
    """Run the daemon of a configuration until it is drained or stopped; ``reload`` reads one that watches folders.

    ``recent`` returns the last lines of ``log``, for who looks at the page.

    Raises:
        StreamerError: it cannot begin: the configuration, the work folder, the address.

    """
    if sys.stderr is not None:
        faulthandler.enable()  # a watchdog's SIGABRT then says where every thread stands
    loaded = reload()
    with (
        open_workdir(loaded.workdir) as workdir,
        listen(hang_up=True) as signals,
        Queue(workdir.path / "queue.sqlite") as queue,
    ):
        daemon = Daemon(loaded, reload, workdir, queue, signals, log, recent)
        if reprocess:
            daemon.reprocess()
        daemon.run()
