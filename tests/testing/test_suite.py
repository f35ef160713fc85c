"""`ConsumerContract` finds what it is there to find: each of these consumers breaks one rule, and one test says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from streamer.contract import Consumer
from streamer.testing import ConsumerContract

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.contract import Chunk, Frame, Recording


class Numbers(Consumer):
    """Keeps the rules: a file for every chunk, put together in the end."""

    def __init__(self, out: str) -> None:
        self._out = Path(out)
        self._numbers: list[int] = []

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        self._out.mkdir(exist_ok=True)

    def on_frame(self, frame: Frame) -> None:
        self._numbers.append(frame.number)

    def on_chunk(self, chunk: Chunk) -> dict[str, Any] | None:
        (self._out / f"part-{chunk.number:06d}.json").write_text(json.dumps(self._numbers))
        self._numbers = []
        return None

    def close(self, recording: Recording) -> None:
        parts = [json.loads(path.read_text()) for path in sorted(self._out.glob("part-*.json"))]
        (self._out / "all.json").write_text(json.dumps(parts))


class Forgetful(Numbers):
    """Keeps its chunks in memory, which does not outlive the process."""

    def on_chunk(self, chunk: Chunk) -> None:
        pass

    def close(self, recording: Recording) -> None:
        (self._out / "all.json").write_text(json.dumps(self._numbers))


class Appending(Numbers):
    """Appends to a file, so that a chunk that comes again is there twice."""

    def on_chunk(self, chunk: Chunk) -> None:
        with (self._out / "all.txt").open("a") as file:
            file.write(f"{self._numbers}\n")
        self._numbers = []


class Eager(Numbers):
    """Touches its output when it is constructed."""

    def __init__(self, out: str) -> None:
        super().__init__(out)
        self._out.mkdir(exist_ok=True)


class Lenient(Numbers):
    """Takes any option."""

    def __init__(self, out: str, **options: Any) -> None:
        super().__init__(out)


class Hoarder(Numbers):
    """Holds on to a megabyte for every chunk."""

    kept: ClassVar[list[bytearray]] = []

    def on_chunk(self, chunk: Chunk) -> dict[str, Any] | None:
        self.kept.append(bytearray(b"x" * 1_000_000))
        return super().on_chunk(chunk)


class Needy(Numbers):
    """Takes for granted that every stream has a sample and every recording a frame."""

    def on_frame(self, frame: Frame) -> None:
        assert all(value is not None for value in frame.values())
        super().on_frame(frame)

    def close(self, recording: Recording) -> None:
        assert recording.frames
        super().close(recording)


class _Suite(ConsumerContract):
    def options(self, out: Path) -> dict[str, Any]:
        return {"out": str(out)}


def suite_of(consumer: type[Consumer]) -> _Suite:
    suite = _Suite()
    suite.use = consumer  # type: ignore[misc] # which an author writes into the class
    return suite


def recycled(suite: _Suite, folder: Path) -> None:
    clean = suite.run(folder / "clean", wounded=True)
    suite.test_a_process_of_its_own_for_every_chunk_changes_nothing(folder / "again", clean)


def repeated(suite: _Suite, folder: Path) -> None:
    clean = suite.run(folder / "clean", wounded=True)
    suite.test_a_chunk_that_comes_again_replaces_itself(folder / "again", clean)


@pytest.mark.parametrize(
    ("consumer", "test"),
    [
        pytest.param(Forgetful, recycled, marks=pytest.mark.slow),
        pytest.param(Appending, repeated, marks=pytest.mark.slow),
        (Eager, _Suite.test_the_constructor_touches_no_output),
        (Lenient, _Suite.test_an_option_that_does_not_exist_is_refused_before_anything_starts),
        pytest.param(Hoarder, _Suite.test_its_memory_does_not_grow_over_300_chunks, marks=pytest.mark.slow),
        (Needy, _Suite.test_a_stream_without_samples_is_taken_or_refused),
        pytest.param(Needy, _Suite.test_a_recording_without_frames_is_no_fault, marks=pytest.mark.slow),
    ],
)
def test_a_consumer_that_breaks_a_rule_is_found(
    tmp_path: Path, consumer: type[Consumer], test: Callable[[_Suite, Path], None]
) -> None:
    for folder in ("good", "bad"):
        (tmp_path / folder).mkdir()
    test(suite_of(Numbers), tmp_path / "good")
    with pytest.raises(AssertionError):
        test(suite_of(consumer), tmp_path / "bad")


def test_a_stranger_can_use_it(tmp_path: Path) -> None:
    """A module and its test in a folder of their own; pytest finds the tests of the suite, and runs some."""
    (tmp_path / "mine.py").write_text(
        "from pathlib import Path\n"
        "from streamer import Consumer\n\n\n"
        "class Mine(Consumer):\n"
        "    def __init__(self, out):\n"
        "        self.out = Path(out)\n\n"
        "    def on_chunk(self, chunk):\n"
        "        self.out.mkdir(exist_ok=True)\n"
        "        (self.out / str(chunk.number)).write_text(str(chunk.frames))\n"
    )
    (tmp_path / "test_mine.py").write_text(
        "from streamer.testing import ConsumerContract\n\n\n"
        "class TestMine(ConsumerContract):\n"
        "    use = 'mine:Mine'\n\n"
        "    def options(self, out):\n"
        "        return {'out': str(out)}\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "clean or chunk_that or constructor",
    ]
    done = subprocess.run([*command, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
