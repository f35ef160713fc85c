"""`streamer.open`: the frames of a configuration in the process that asks for them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

import streamer
from consumers.checksum import Checksum
from streamer.contract import Chunk
from streamer.errors import ConfigError, RecordingError
from tests.bags import Message, encoded, numbers, record
from tests.pipeline.driver import digests, run

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Config = dict[str, Any]


def written(folder: Path, config: Config) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def place(array: NDArray[Any] | None) -> int:
    assert array is not None
    return int(array.__array_interface__["data"][0])


@pytest.mark.parametrize("chunk_size", [1, 7, 100])
def test_it_gives_the_frames_that_a_run_gives(tmp_path: Path, config: Config, chunk_size: int) -> None:
    assert run(tmp_path / "run", config).code == 0
    digest = Checksum(str(tmp_path / "mine.json"))
    recording = None
    for chunk in streamer.open(written(tmp_path, config), f"chunk_size={chunk_size}").chunks():
        if recording is None:
            digest.open(chunk.recording, None)
        recording = chunk.recording
        seen = []
        for frame in chunk:
            digest.on_frame(frame)
            seen.append(frame.number)
        assert seen == list(range(chunk.first, chunk.last + 1))
        digest.on_chunk(Chunk(chunk.number, chunk.first, chunk.last, len(seen)))
    assert recording is not None
    digest.close(recording)
    assert digests(tmp_path / "mine.json") == digests(tmp_path / "run" / "digest.json")


def test_frames_that_are_kept_keep_their_values(tmp_path: Path, config: Config) -> None:
    path = written(tmp_path, config)
    copied = [{name: np.array(value) for name, value in frame.items()} for frame in streamer.open(path).frames()]
    kept = list(streamer.open(path).frames())
    assert len(kept) == 40
    for frame, copy in zip(kept, copied, strict=True):
        assert all(np.array_equal(copy[name], value) for name, value in frame.items() if value is not None)
    assert len({place(frame["camera"]) for frame in kept}) == 40


def test_a_loop_that_keeps_nothing_runs_in_the_memory_of_a_few_frames(tmp_path: Path, config: Config) -> None:
    path = written(tmp_path, config)
    places = {place(frame["camera"]) for frame in streamer.open(path, "threads=1", "timeline.rate=30 Hz").frames()}
    assert len(places) <= 20  # of 120 frames: 16 under way at most, the caller's and the one before


def test_arrays_are_read_only(tmp_path: Path, config: Config) -> None:
    for frame in streamer.open(written(tmp_path, config)).frames():
        for value in frame.values():
            assert value is not None
            with pytest.raises(ValueError, match="read-only"):
                value[...] = 0


def test_the_rest_of_a_chunk_may_be_left_out(tmp_path: Path, config: Config) -> None:
    firsts = [next(iter(chunk)).number for chunk in streamer.open(written(tmp_path, config)).chunks()]
    assert firsts == list(range(0, 40, 5))


def test_leaving_early_ends_the_threads_and_one_may_begin_again(tmp_path: Path, config: Config) -> None:
    opened = streamer.open(written(tmp_path, config))
    frames = opened.frames()
    assert next(frames).number == 0
    frames.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]
    assert next(opened.frames()).number == 0


def test_several_recordings_follow_each_other(tmp_path: Path) -> None:
    for name in ("a", "b"):
        record(tmp_path / f"{name}.bag", "ros1", numbers("/n", range(0, 10**9, 10**8)))
    config = {
        "source": {"path": "*.bag"},
        "timeline": {"from": "n"},
        "chunk_size": 4,
        "streams": {"n": {"topic": "/n", "field": "data"}},
    }
    chunks = [(c.recording.name, c.number, len(list(c))) for c in streamer.open(written(tmp_path, config)).chunks()]
    assert chunks == [(name, n, size) for name in ("a", "b") for n, size in enumerate((4, 4, 2))]


def test_a_configuration_needs_no_consumers_and_its_mistakes_are_named(tmp_path: Path, config: Config) -> None:
    del config["consumers"]
    path = written(tmp_path, config)
    assert next(streamer.open(path).frames()).number == 0
    with pytest.raises(ConfigError, match="did you mean 'chunk_size'"):
        streamer.open(path, "chunk_sise=3")
    with pytest.raises(RecordingError, match="no such file"):
        next(streamer.open(path, f"source.path={tmp_path}/gone.bag").frames())


def test_what_a_run_would_do_about_damage_is_done_here(tmp_path: Path, config: Config, small_bag: Path) -> None:
    data = bytearray(small_bag.read_bytes())
    at = [n for n in range(len(data) - 3) if data[n : n + 3] == b"\xff\xd8\xff"]
    data[at[30] : at[30] + 64] = bytes(64)
    damaged = tmp_path / "damaged.bag"
    damaged.write_bytes(data)
    config["source"] = {"path": str(damaged)}
    path = written(tmp_path, config)
    with pytest.raises(RecordingError, match=r"streams\.camera: message 30, needed for frame 10"):
        list(streamer.open(path).frames())
    numbers_seen = [frame.number for frame in streamer.open(path, "streams.camera.undecodable=skip").frames()]
    assert numbers_seen == [n for n in range(40) if n != 10]
    nothing = [f.number for f in streamer.open(path, "streams.camera.undecodable=none").frames() if f["camera"] is None]
    assert nothing == [10]


def test_whoever_goes_on_behind_a_frame_that_cannot_be_shown_gets_all_other_chunks(tmp_path: Path) -> None:
    kind = "std_msgs/msg/String"
    said = [Message("/says", n * 10**8, encoded("ros1", kind, data=f"no. {n:02}"), kind) for n in range(24)]
    said[9] = said[9]._replace(data=said[9].data.replace(b"no", b"n\xff"))  # no UTF-8
    config = {
        "source": {"path": str(record(tmp_path / "a", "ros1", said))},
        "timeline": {"from": "says"},
        "chunk_size": 4,
        "streams": {"says": {"topic": "/says"}},
    }
    seen: list[int] = []
    why = ""
    for chunk in streamer.open(written(tmp_path, config), "threads=2").chunks():
        try:
            seen.extend(frame.number for frame in chunk)
        except RecordingError as error:
            seen.append(-chunk.number)
            why = str(error)
    assert seen == [*range(8), 8, -2, *range(12, 24)]
    assert "message 9, needed for frame 9" in why
