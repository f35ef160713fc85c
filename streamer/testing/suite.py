"""A consumer's name, its options and a digest of its output → tests that it keeps the contract, for pytest."""

from __future__ import annotations

import random
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from streamer.demo import Workload, make
from streamer.runtime.plugin import make_consumer
from streamer.testing.command import run as run_command

if TYPE_CHECKING:
    from streamer.testing.command import Finished

_FRAMES, _RATE, _CHUNK = 21, 20, 4  # the small recording: 6 chunks, the last of one frame
_LONG_FRAMES, _LONG_CHUNK = 600, 2  # the long one: 300 chunks
_WARM_UP = 100  # chunks
_DEATHS = 2  # in one run while frames come, and as many at its end
_MB = 10**6


class ConsumerContract:
    """Subclass it under a name that begins with ``Test``, and say in ``use`` and `options` what to run.

    The recording has a camera (64×64, uint8, RGB), ``joints`` (7 × float64) and ``sparse`` (the same, but None in most
    frames); the first two are shown in all tests, the third in the one that is about it. Every run has a folder of its
    own, and what `options` writes to must lie in the ``out`` that it is given. Everything is compared by `digest`.

    Attributes:
        use: What a configuration would have there, or the class itself.
        streams: The streams that are shown, as a configuration has them; by their names.
        optional: The stream ``sparse``, likewise.
        bad_options: Each replaces some options by values that the constructor must refuse.
        none_samples: What the consumer does with a stream that has no sample in a frame: it is ``taken`` or
            ``refused`` (an error that names the stream).
        seeds: Each gives a run in which the process is killed at other points.
        memory: Bytes of anonymous memory that may be added between the 100th and the 300th chunk.
        deadline: Seconds that a run may take before it is ended.

    """

    use: ClassVar[Any]
    streams: ClassVar[dict[str, dict[str, Any]]] = {
        "camera": {"topic": "/camera_0/image_raw"},
        "joints": {"topic": "/joints_0", "field": "position"},
    }
    optional: ClassVar[dict[str, dict[str, Any]]] = {
        "sparse": {"topic": "/joints_1", "field": "position", "tolerance": "1 ms", "missing": "none"},
    }
    bad_options: ClassVar[tuple[dict[str, Any], ...]] = ()
    none_samples: ClassVar[str] = "taken"
    seeds: ClassVar[tuple[int, ...]] = (1, 2, 3)
    memory: ClassVar[int] = 20 * _MB
    deadline: ClassVar[float] = 90.0

    def options(self, out: Path) -> dict[str, Any]:
        """Return the consumer's options; its output goes into the folder ``out``, which does not exist yet."""
        raise NotImplementedError

    def options_for_none(self, out: Path) -> dict[str, Any]:
        """Return the options for the test with the stream ``sparse``; override it where they must name the stream."""
        return self.options(out)

    def digest(self, out: Path) -> object:
        """Return what is equal for equal outputs: here, every file's bytes by its path, and nothing hidden.

        Override it where an output holds what changes from run to run, such as the configuration.
        """
        files = [path.relative_to(out) for path in sorted(out.rglob("*")) if path.is_file()]
        return {str(path): (out / path).read_bytes() for path in files if not _hidden(path)}

    # ---- the tests

    @pytest.fixture(scope="class")
    @classmethod
    def clean(cls, tmp_path_factory: pytest.TempPathFactory) -> _Run:
        """Run once without a disturbance, noting the points that are passed."""
        return cls().run(tmp_path_factory.mktemp("clean"), wounded=True).succeeded()

    def test_a_clean_run_has_an_output_and_a_second_one_the_same(self, tmp_path: Path, clean: _Run) -> None:
        """The digest depends on the frames alone, not on the run; nothing temporary is left."""
        finished = self.run(tmp_path).succeeded()
        assert self.digest(clean.out) or not clean.out.exists(), f"digest() found nothing in {clean.out}"
        self.compare(finished, clean)

    def test_a_process_of_its_own_for_every_chunk_changes_nothing(self, tmp_path: Path, clean: _Run) -> None:
        """Recycling: each process is given the state of the one before."""
        finished = self.run(tmp_path, recycle={"chunks": 1}).succeeded()
        assert finished.restarts["planned"] == _FRAMES // _CHUNK, finished
        self.compare(finished, clean)

    def test_killed_at_random_points_it_loses_and_doubles_nothing(self, tmp_path: Path, clean: _Run) -> None:
        """SIGKILL, twice while frames come and twice at the end."""
        for seed in self.seeds:
            deaths = _choose(clean.points, seed)
            finished = self.run(tmp_path / str(seed), wounded=True, deaths=deaths).succeeded()
            assert finished.died, f"no process died at any of {deaths}: {finished}"
            assert finished.restarts["crash"] == finished.died, finished
            self.compare(finished, clean)

    def test_a_chunk_that_comes_again_replaces_itself(self, tmp_path: Path, clean: _Run) -> None:
        """The process dies when a chunk is durable and not yet committed."""
        last = {point.rpartition(".")[0]: point for point in clean.points}  # the last point of every call
        deaths = [last["on_chunk.1"], last[f"on_chunk.{_FRAMES // _CHUNK}"]]
        finished = self.run(tmp_path, wounded=True, deaths=deaths).succeeded()
        assert finished.restarts["crash"] == 2, finished
        self.compare(finished, clean)

    def test_an_output_that_is_finished_twice_is_the_same(self, tmp_path: Path, clean: _Run) -> None:
        """The process dies when `close` has done all its work and nobody knows."""
        last = [point for point in clean.points if point.startswith("close")][-1]
        finished = self.run(tmp_path, wounded=True, deaths=[last]).succeeded()
        assert finished.restarts["crash"] == 1, finished
        self.compare(finished, clean)

    def test_a_committed_part_that_is_removed_is_noticed(self, tmp_path: Path, clean: _Run) -> None:
        """Somebody removes a file that holds committed frames while the consumer is between two processes.

        The run must fail, or the output be whole all the same; where all is in the state, there is nothing to remove.
        """
        point = next(point for point in clean.points if point.startswith("on_frame.14."))
        finished = self.run(tmp_path, wounded=True, deaths=[point], robs=True)
        removed = (tmp_path / "removed.txt").read_text(encoding="utf-8")
        if finished.code == 0:
            assert self.digest(finished.out) == self.digest(clean.out), (
                f"{removed} was removed and not missed: {finished}"
            )
        else:
            assert removed, finished

    def test_a_recording_without_frames_is_no_fault(self, tmp_path: Path) -> None:
        """`open` and `close` are called; the shapes of the streams are not known."""
        self.run(tmp_path, skip=_FRAMES // 2 + 1).succeeded(frames=0)

    def test_a_recording_of_one_frame_has_an_output(self, tmp_path: Path, clean: _Run) -> None:
        """One chunk of one frame."""
        finished = self.run(tmp_path, skip=_FRAMES // 2).succeeded(frames=1)
        if self.digest(clean.out):
            assert self.digest(finished.out)

    def test_a_stream_without_samples_is_taken_or_refused(self, tmp_path: Path) -> None:
        """``frame["sparse"]`` is None in most frames."""
        finished = self.run(tmp_path, optional=True)
        if self.none_samples == "taken":
            finished.succeeded()
        else:
            assert finished.code not in (0, None), finished
            assert "sparse" in finished.said, finished

    def test_an_option_that_does_not_exist_is_refused_before_anything_starts(self, tmp_path: Path) -> None:
        """The constructor names its options: no ``**options``, which would take a typing error."""
        finished = self.run(tmp_path, options={"no_such_option": 1})
        assert finished.code == 78, finished
        assert "no_such_option" in finished.said, finished
        assert not finished.out.exists()

    def test_values_that_make_no_sense_are_refused_before_anything_starts(self, tmp_path: Path) -> None:
        """The constructor checks its options, and raises ValueError or TypeError."""
        for number, bad in enumerate(self.bad_options):
            finished = self.run(tmp_path / str(number), options=bad)
            assert finished.code == 78, f"{bad}: {finished}"
            assert not finished.out.exists(), bad

    def test_the_constructor_touches_no_output(self, tmp_path: Path) -> None:
        """The next process is constructed while this one works."""
        make_consumer("mine", self._use, self.options(tmp_path / "out"))
        assert not list(tmp_path.iterdir())

    def test_its_memory_does_not_grow_over_300_chunks(self, tmp_path: Path) -> None:
        """Anonymous memory behind each chunk; the first 100 are its warm-up."""
        finished = self.run(tmp_path, wounded=True, long=True).succeeded(frames=_LONG_FRAMES)
        samples = [int(line) for line in (tmp_path / "memory.txt").read_text().split()]
        assert len(samples) == _LONG_FRAMES // _LONG_CHUNK, finished
        before, after = max(samples[:_WARM_UP]), min(samples[-_WARM_UP // 4 :])
        assert after - before < self.memory, f"{before / _MB:.1f} MB grew to {after / _MB:.1f} MB"

    # ---- how they run it

    def compare(self, finished: _Run, clean: _Run) -> None:
        """Hold the output of a disturbed run against that of an undisturbed one; nothing temporary may be left."""
        assert self.digest(finished.out) == self.digest(clean.out), finished
        hidden = [path for path in finished.out.rglob("*") if _hidden(path.relative_to(finished.out))]
        assert not hidden, f"left behind: {hidden}; {finished}"

    @property
    def _use(self) -> str:
        return self.use if isinstance(self.use, str) else f"{self.use.__module__}:{self.use.__qualname__}"

    def run(  # noqa: PLR0913 - what a test of one's own may want otherwise
        self,
        folder: Path,
        *,
        wounded: bool = False,
        deaths: list[str] | None = None,
        robs: bool = False,
        options: dict[str, Any] | None = None,
        recycle: dict[str, Any] | None = None,
        skip: int = 0,
        optional: bool = False,
        long: bool = False,
    ) -> _Run:
        """Run the consumer in ``folder``, whose ``out`` it writes to; tests of your own may use it, too.

        Args:
            folder: Where the configuration, the work folder and ``out`` lie.
            wounded: Whether points and memory are noted.
            deaths: The points at which the process is killed, once at each; it must be ``wounded``.
            robs: Whether a file that has been committed is removed then.
            options: Options that replace those of `options`.
            recycle: As a configuration has it.
            skip: Ticks that are left out at both ends; 10 of the 21 leave one, 11 none.
            optional: Whether the stream ``sparse`` is shown, too.
            long: Whether it is the recording of 600 frames, in chunks of two.

        """
        out = folder / "out"
        given = (self.options_for_none(out) if optional else self.options(out)) | (options or {})
        consumer: dict[str, Any] = {"use": self._use, "options": given, "recycle": recycle or {}}
        if wounded:
            inner = {"use": self._use, "options": given, "folder": str(folder), "deaths": deaths or [], "robs": robs}
            consumer |= {"use": "streamer.testing.wounded:Wounded", "options": inner}
        config = {
            "source": {"path": str(_recording(long=long))},
            "timeline": {"from": "camera", "rate": f"{_RATE} Hz", "skip": skip, "end": "timeline"},
            "chunk_size": _LONG_CHUNK if long else _CHUNK,
            "pool": "1 MB",
            "threads": 1,
            "streams": self.streams | (self.optional if optional else {}),
            "consumers": {"mine": consumer},
        }
        return _Run(run_command(folder, config, self.deadline), out)


class _Run:
    """A run of the consumer."""

    def __init__(self, finished: Finished, out: Path) -> None:
        self._finished = finished
        self.out = out

    def __str__(self) -> str:
        return str(self._finished)

    __repr__ = __str__

    @property
    def code(self) -> int:
        return self._finished.code

    @property
    def said(self) -> str:
        return self._finished.said

    @property
    def restarts(self) -> dict[str, int]:
        restarts: dict[str, int] = self._finished.report["consumers"]["mine"]["restarts"]
        return restarts

    @property
    def points(self) -> list[str]:
        return (self._finished.folder / "points.txt").read_text(encoding="utf-8").split()

    @property
    def died(self) -> int:
        return len(list(self._finished.folder.glob("died.*")))

    def succeeded(self, frames: int = _FRAMES) -> _Run:
        """Hold the run against what every run must come to."""
        assert self.code == 0, str(self)
        assert self._finished.report["frames"]["delivered"] == frames, str(self)
        return self


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _choose(points: list[str], seed: int) -> list[str]:
    """Choose points at which to die: two while frames come, two at the end.

    A third death at one chunk would be taken for the chunk's fault, and a commit that was sent may die with its
    process; so two deaths are the most that any chunk can be sure to survive.
    """
    dice = random.Random(seed)  # noqa: S311 - no secret
    end = [point for point in points if point.startswith("close")]
    before = [point for point in points if not point.startswith("close")]
    return [*dice.sample(before, _DEATHS), *dice.sample(end, min(_DEATHS, len(end)))]


@cache
def _recording(*, long: bool) -> Path:
    """Make a recording, once for all tests of this process."""
    seconds = (_LONG_FRAMES if long else _FRAMES) / _RATE
    work = Workload(cameras=1, width=64, height=64, hz=_RATE, joint_topics=2, joint_hz=50, seconds=seconds)
    path = Path(_folder().name) / f"{'long' if long else 'short'}.bag"
    make(path, work)
    return path


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Make a folder that goes when the process does."""
    return tempfile.TemporaryDirectory(prefix="streamer-testing-")
