"""Recordings → tasks of a Ray cluster, each a pipeline in a fresh worker process; what they say comes back by an actor.

Ray decides where and when a task runs, by what it is declared to need; nothing here does. A task that was cancelled
before it began, a worker that crashed, a node that was lost all come out as the end of that recording, and the driver's
rule for an end (see `many`) decides whether there is another try.

Shared by all nodes, under the same paths: the recordings, the configuration's folder with the consumers' modules, the
outputs; and the work folder, unless ``ray.folder`` names one that every node has for itself.
"""

from __future__ import annotations

import math
import os
import selectors
import shutil
import signal
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from streamer.config.load import checked
from streamer.errors import BusyError, ConfigError, StreamerError
from streamer.pipelines.process import Pipeline
from streamer.pipelines.unit import Ended
from streamer.units import show_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamer.config.load import Loaded
    from streamer.pipelines.unit import Work
    from streamer.runtime.channel import Channel
    from streamer.runtime.messages import Note, Planned

_TELL_SECONDS = 0.5  # from one word of a task to the next
_LOST_SECONDS = 30.0  # for the actor to answer
_Message: TypeAlias = "Planned | Note"


@dataclass(frozen=True, slots=True)
class _TaskJob:
    """What a task is to do; ``scratch`` are the bytes that its folder must have free, ``anew`` empties it first."""

    config: str
    values: dict[str, Any]
    path: str
    name: str
    task: str
    folder: str
    cwd: str
    scratch: int
    threads: int
    anew: bool
    share: tuple[int, int] | None


class _Mailbox:
    """The actor between the tasks and the driver: what each says last, and which of them shall stop.

    A task's name is that of its recording and of the try, so that no word of an earlier try is taken for a later one's.
    """

    def __init__(self) -> None:
        self._said: dict[str, tuple[dict[str, Any], list[_Message]]] = {}
        self._asked: dict[str, int] = {}

    def tell(self, name: str, snapshot: dict[str, Any], messages: list[_Message]) -> int:
        """Take in what a task says; return which stop it has been asked for: 1 is drain, 2 is now."""
        _, waiting = self._said.get(name, ({}, []))
        self._said[name] = snapshot, waiting + messages
        return self._asked.get(name, 0)

    def ask(self, name: str, stop: int) -> None:
        """Ask a task to stop."""
        self._asked[name] = stop

    def look(self) -> dict[str, tuple[dict[str, Any], list[_Message]]]:
        """Return what everyone has said; messages once."""
        said = self._said
        self._said = {name: (snapshot, []) for name, (snapshot, _) in said.items()}
        return said


def _stream(mailbox: Any, job: _TaskJob) -> tuple[Ended, list[_Message]]:
    """Be a task: run one pipeline to its end, tell the mailbox how far it is, and return how it ended.

    It waits for no answer: Ray gives the cores of a task that waits to another one.
    """
    name, folder = job.name, Path(job.folder)
    if job.anew:
        shutil.rmtree(folder, ignore_errors=True)  # what it knows is of an earlier run
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < job.scratch:
        text = f"{folder} has {show_size(free)} free, of {show_size(job.scratch)} that ray.scratch asks for"
        return Ended("failed", BusyError(text)), []
    os.chdir(job.cwd)
    loaded = checked(Path(job.config), job.values)
    settings = {"threads": job.threads}
    pipeline = Pipeline(loaded, Path(job.path), name, folder, settings=settings, part=True, share=job.share)
    try:
        return _watch(mailbox, job.task, pipeline)
    finally:
        pipeline.close()


def _watch(mailbox: Any, name: str, pipeline: Pipeline) -> tuple[Ended, list[_Message]]:
    import ray

    said: list[_Message] = []
    asked, answer = 0, None
    while (ended := pipeline.ended()) is None:
        with selectors.DefaultSelector() as selector:
            for what in pipeline.watched():
                selector.register(what, selectors.EVENT_READ)
            selector.select(_TELL_SECONDS)
        said += pipeline.heard()
        if answer is not None and ray.wait([answer], timeout=0)[0]:
            now: int = ray.get(answer)
            answer = None
            if now > asked:
                asked = now
                pipeline.drain() if asked == 1 else pipeline.stop()
        if answer is None:
            answer = mailbox.tell.remote(name, pipeline.status() | {"worker": os.getpid()}, said)
            said = []
    return ended, said + pipeline.heard()


class _Task:
    """A recording's task, as the driver sees it."""

    def __init__(self, cluster: _Cluster, name: str, reference: Any) -> None:
        self._cluster = cluster
        self._name = name
        self._reference = reference

    def watched(self) -> list[Channel | int]:
        """Return nothing: it is asked, not heard."""
        return []

    def heard(self) -> list[_Message]:
        """Return what its pipeline has said."""
        return self._cluster.messages(self._name)

    def status(self) -> dict[str, Any]:
        """Return its pipeline's last snapshot; empty while it waits for its turn."""
        return self._cluster.snapshot(self._name)

    def ended(self) -> Ended | None:
        """Tell how it ended."""
        ray = self._cluster.ray
        ready, _ = ray.wait([self._reference], timeout=0)
        if not ready:
            return None
        try:
            ended, said = ray.get(self._reference)
            self._cluster.take(self._name, said)
            return cast("Ended", ended)
        except ray.exceptions.TaskCancelledError:
            return Ended("waiting")
        except ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return Ended("died", StreamerError(f"its Ray task ended ({type(error).__name__}: {lines[0]})"))

    def drain(self) -> None:
        """Ask it to end with its chunk; one that waits for its turn loses it."""
        self._stop(1)

    def stop(self) -> None:
        """Ask it to end now."""
        self._stop(2)

    def _stop(self, stop: int) -> None:
        self._cluster.mailbox.ask.remote(self._name, stop)
        if not self.status():
            self._cluster.ray.cancel(self._reference)

    def close(self) -> None:
        """Make sure that it is gone."""
        with suppress(Exception):  # it has ended, or the whole cluster is gone
            self._cluster.ray.cancel(self._reference, force=True)


class _Cluster:
    """The driver's side of the mailbox."""

    def __init__(self, ray: Any) -> None:
        self.ray = ray
        self.mailbox = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Mailbox).remote()
        self._said: dict[str, tuple[dict[str, Any], list[_Message]]] = {}
        self._looked = 0.0

    def snapshot(self, name: str) -> dict[str, Any]:
        """Return a task's last snapshot."""
        self._look()
        return self._said.get(name, ({}, []))[0]

    def messages(self, name: str) -> list[_Message]:
        """Return what a task has said, once."""
        self._look()
        snapshot, messages = self._said.get(name, ({}, []))
        self._said[name] = snapshot, []
        return messages

    def take(self, name: str, messages: list[_Message]) -> None:
        """Take in what a task has said with its end."""
        snapshot, waiting = self._said.get(name, ({}, []))
        self._said[name] = snapshot, waiting + messages

    def _look(self) -> None:
        if time.monotonic() < self._looked + _TELL_SECONDS / 2:
            return
        self._looked = time.monotonic()
        try:
            said = self.ray.get(self.mailbox.look.remote(), timeout=_LOST_SECONDS)
        except self.ray.exceptions.RayError:  # it is being started again somewhere else: tasks will tell again
            return
        for name, (snapshot, messages) in said.items():
            self._said[name] = snapshot, self._said.get(name, ({}, []))[1] + messages


@contextmanager
def cluster(loaded: Loaded, mode: str, memory: int) -> Iterator[Callable[[Work], _Task]]:
    """Join a Ray cluster for the time of the block; give what starts a recording's task there.

    ``memory`` is declared where the configuration says nothing.

    Raises:
        ConfigError: Ray is not installed, there is no cluster, or no node has what a task needs.

    """
    try:
        import ray
    except ImportError as error:
        msg = f"'ray' needs Ray, which cannot be imported ({error})"
        raise ConfigError(msg, key="engine", hint="pip install 'rosbag-streamer[ray]'") from error
    config = loaded.config.ray
    needs = {"CPU": config.cpus, "memory": config.memory or memory, "scratch": config.scratch or 0}
    base = Path(config.folder).expanduser() if config.folder else None
    with _joined(ray, config.address, base or loaded.workdir):
        _check_nodes(ray, needs)
        joined = _Cluster(ray)
        task = ray.remote(
            num_cpus=needs["CPU"],
            memory=needs["memory"],
            resources={"scratch": needs["scratch"]} if needs["scratch"] else {},
            max_calls=1,
            max_retries=0,
        )(_stream)

        def start(work: Work) -> _Task:
            job = _TaskJob(
                config=str(loaded.path),
                values=loaded.values,
                path=str(work.path),
                name=work.name,
                task=f"{work.name} {work.tries}",
                folder=str(base / work.folder.name if base else work.folder),
                cwd=str(Path.cwd()),
                scratch=config.scratch or 0,
                threads=math.ceil(config.cpus),
                anew=work.tries == 1 and mode != "resume",
                share=work.share,
            )
            return _Task(joined, job.task, task.remote(joined.mailbox, job))

        yield start


@contextmanager
def _joined(ray: Any, address: str, folder: Path) -> Iterator[None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told of a run who was not asked
    ours: dict[str, Any] = {}
    if address == "local":
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        ours = {"include_dashboard": False, "resources": {"scratch": shutil.disk_usage(folder).free}}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False, **ours)
    except (ConnectionError, ValueError, RuntimeError) as error:
        msg = f"no Ray cluster at {address!r} ({error}): start one ('ray start --head'), or say 'address: local'"
        raise ConfigError(msg, key="ray.address") from error
    try:
        for number, handler in handlers.items():  # Ray has put its own in their place
            signal.signal(number, handler)
        yield
    finally:
        ray.shutdown()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _check_nodes(ray: Any, needs: dict[str, float]) -> None:
    """Make sure that there is a node on which a task can run at all: Ray would wait for one for ever."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(all(node.get(what, 0) >= need for what, need in needs.items()) for node in nodes):
        return
    for what, key in (("CPU", "cpus"), ("memory", "memory"), ("scratch", "scratch")):
        most = max((node.get(what, 0) for node in nodes), default=0)
        if most < needs[what]:
            how = "; nodes declare it: ray start --resources '{\"scratch\": BYTES}'" if what == "scratch" else ""
            msg = f"a recording is to have {needs[what]:g} and no node of the cluster has it ({most:g}){how}"
            raise ConfigError(msg, key=f"ray.{key}")
    msg = f"ray: no single node of the cluster has all that a recording is to have: {needs}"
    raise ConfigError(msg)
