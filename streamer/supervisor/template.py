"""A consumer's template process → its generations, started in milliseconds (see `runtime.template`)."""

from __future__ import annotations

import ctypes
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgpack

from streamer.runtime.job import TemplateJob
from streamer.supervisor.child import Child, Process, spawn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Self

_MOST = 1 << 12
_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37
_WORKER = "streamer.runtime.worker"


@dataclass(frozen=True, slots=True)
class Setting:
    """What the workers of a session are started with: where, their logs' folder, what they inherit."""

    folder: Path
    logs: Path
    descriptors: Sequence[int]
    environment: Mapping[str, str]


class Templates:
    """The templates of a session's consumers. In the time of its ``with`` block, orphans become our children."""

    def __init__(self, setting: Setting) -> None:
        """Take what is needed; nothing starts yet."""
        self._setting = setting
        self._templates: dict[str, _Template] = {}

    def __enter__(self) -> Self:
        self._before = _take_orphans(yes=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        _take_orphans(yes=self._before)

    def start(self, name: str, use: str, title: str, *, forked: bool) -> Process:
        """Start a generation of a consumer, from its template where it is to be ``forked`` and can be."""
        log = self._setting.logs / f"{name}.log"
        if not forked or sys.platform != "linux":
            return _start(self._setting, _WORKER, title, log)
        if name in self._templates and self._templates[name].ended:
            self._templates.pop(name).close()
        if name not in self._templates:
            self._templates[name] = _Template(self._setting, name, use, log)
        return self._templates[name].start(title)

    def dismiss(self, name: str) -> None:
        """End a consumer's template, if there is one: no more generations are to come of it."""
        if name in self._templates:
            self._templates.pop(name).close()

    def watched(self) -> list[Any]:
        """Return what becomes readable when a template says something or ends."""
        return [what for template in self._templates.values() for what in template.watched()]

    def hear(self) -> None:
        """Take in what the templates have said up to now; does not wait."""
        for template in self._templates.values():
            template.hear()

    def close(self) -> None:
        """End the templates; the generations live on."""
        while self._templates:
            self._templates.popitem()[1].close()


class Generation(Process):
    """A process that a template was asked for."""

    def __init__(self, title: str, template: _Template) -> None:
        """Wait for it to begin."""
        super().__init__(title)
        self._template = template
        self._doomed = False
        self._lost: int | None = None  # how the template ended before it answered

    def hand_over(self) -> socket.socket:
        """Return the process's end of the channel, to be closed by whoever passes it on."""
        return self._theirs

    def began(self, pid: int) -> None:
        """Take in which process it is."""
        super().began(pid)
        if self._doomed:
            self.kill()

    def lost(self, code: int) -> None:
        """Take in that the template ended without an answer: there is no process, or it ends as its channel does."""
        self._lost = code
        self._theirs.close()

    def ended(self) -> int | None:
        """Return the exit status where the process has ended: negative for a signal."""
        if self._lost is not None and not self.channel.open:
            self._code = self._lost
        return super().ended()

    def kill(self) -> None:
        """End the process now; one that is not there yet, with the template that it would come from."""
        self._doomed = True
        if self.pid is None:
            self._template.kill()
        super().kill()


class _Template:
    """One template, and the generations that it was asked for."""

    def __init__(self, setting: Setting, name: str, use: str, log: Path) -> None:
        """Start it; whoever is asked for meanwhile waits until it is ready."""
        self._setting = setting
        self._log = log
        self._forks: bool | None = None  # it has not said yet
        self._asked: dict[int, Generation] = {}  # by their order
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._orders.setblocking(False)
        try:
            with theirs:
                end = theirs.fileno()
                self._process = _start(setting, "streamer.runtime.template", f"{name}.template", log, end)
                self._process.channel.send(TemplateJob(use, end))
        except BaseException:
            self._orders.close()
            raise

    @property
    def ended(self) -> bool:
        """Whether its process is gone."""
        return self._process.ended() is not None

    def start(self, title: str) -> Generation:
        """Ask for a generation."""
        generation = Generation(title, self)
        number = max(self._asked, default=0) + 1
        self._asked[number] = generation
        if self._forks is not None:
            self._order(number, generation)
        return generation

    def _order(self, number: int, generation: Generation) -> None:
        with generation.hand_over() as end:
            if self._forks:
                with suppress(OSError):  # `hear` sees that it is gone
                    order = msgpack.packb([number, generation.title])
                    socket.send_fds(self._orders, [order], [end.fileno()])
                return
            own = self._setting
            pid = spawn(_WORKER, generation.title, end, own.folder, self._log, own.descriptors, own.environment)
        self._asked.pop(number).began(pid)

    def watched(self) -> list[Any]:
        """Return what becomes readable when it says something or ends."""
        return [] if self.ended else [self._orders, *self._process.watched()]

    def hear(self) -> None:
        """Take in what it has said up to now."""
        code = self._process.ended()  # before the look at what it has said
        with suppress(BlockingIOError, ConnectionResetError):
            while answer := self._orders.recv(_MOST):
                self._take_in(*msgpack.unpackb(answer))
        if code is not None:
            for generation in self._asked.values():
                generation.lost(code)
            self._asked.clear()

    def _take_in(self, what: str, *values: Any) -> None:
        if what == "began":
            number, pid = values
            self._asked.pop(number).began(pid)
            return
        (self._forks,) = values
        for number, generation in list(self._asked.items()):
            self._order(number, generation)

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        """End it, and take in its last words."""
        self._process.close()
        self.hear()
        self._orders.close()


def _start(setting: Setting, module: str, title: str, log: Path, *more: int) -> Child:
    descriptors = [*more, *setting.descriptors]
    return Child(
        module, title, folder=setting.folder, log=log, descriptors=descriptors, environment=setting.environment
    )


def _take_orphans(*, yes: bool) -> bool:
    """Ask the kernel for the orphans among our descendants, or not; return what was asked before."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    before = ctypes.c_int()
    libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0)
    return bool(before.value)
