"""A configuration → its frames in this process, without any other: for notebooks, data loaders and scripts.

    for chunk in streamer.open("config.yaml").chunks():
        for frame in chunk:
            ...

The same plan, the same decoders and the same arrays as a run gives to consumers; no commit, no
recycling, no protection against what the caller leaks. A few threads load ahead of the caller.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.config.load import load
from streamer.config.settings import (
    episode_settings,
    provenance,
    quality_settings,
    stream_settings,
    timeline_settings,
    trust,
)
from streamer.files import scratch_folder
from streamer.pipelines.recordings import recordings, unique_names
from streamer.runtime.about import about_recording, part_of, recording_of, whole
from streamer.runtime.ahead import Ahead
from streamer.runtime.joined import prepare_all
from streamer.runtime.judging import judging_by
from streamer.runtime.plugin import importing
from streamer.runtime.prepare import Episodes
from streamer.source.find import recording_name
from streamer.source.source import Source
from streamer.source.types import Types

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from streamer.config.load import Loaded
    from streamer.contract import Frame, Recording
    from streamer.runtime.prepare import Prepared


def open(config: str | Path, *overrides: str) -> Opened:  # noqa: A001 - it is called as streamer.open
    """Check a configuration, of which ``consumers`` may be left out; ``overrides`` are ``key.path=value``.

    Raises:
        ConfigError: the file cannot be read or holds a mistake.

    """
    return Opened(load(Path(config), overrides, consumers_needed=False))


@dataclass(frozen=True, slots=True)
class OpenChunk:
    """Consecutive frames of one recording: iterate it once.

    ``number`` counts the recording's chunks from 0; ``first`` … ``last`` are its frames' numbers, of
    which undecodable ones are left out where their stream says ``undecodable: skip``.
    """

    recording: Recording
    number: int
    first: int
    last: int
    _frames: Iterator[Frame]

    def __iter__(self) -> Iterator[Frame]:
        return self._frames


class Opened:
    """The recordings of a configuration. Each iteration begins anew, with files and threads of its own.

    Frames are as in `streamer.Consumer.on_frame`, with one difference: their arrays may be kept. A frame's
    memory is used again when its last array is gone, so a loop that keeps nothing runs in the memory of a few
    frames, and ``list(chunk)`` takes that of a chunk.
    """

    def __init__(self, loaded: Loaded) -> None:
        """Take a checked configuration; nothing is opened yet."""
        self._loaded = loaded
        self._names: dict[Path, str] = {}

    def frames(self) -> Generator[Frame, None, None]:
        """Yield all frames of all recordings, in order.

        Raises:
            RecordingError: a recording is damaged. ConfigError: the configuration does not fit it.

        """
        for chunk in self.chunks():
            yield from chunk

    def chunks(self) -> Generator[OpenChunk, None, None]:
        """Yield the frames in chunks of ``chunk_size``; what is left of a chunk when the next is asked for is dropped.

        Raises:
            As `frames` does.

        """
        config = self._loaded.config
        for path in self.paths():
            with self.prepared(path) as prepared:
                about = about_recording(prepared, self.name_of(path), config.chunk_size, provenance(self._loaded))
                recording, places = recording_of(about)
                with Ahead(prepared, places, config.threads) as ahead:
                    for episode in about.episodes if about.cut else (whole(about),):
                        own = part_of(recording, episode)
                        for number in range(-(-own.frames // config.chunk_size)):
                            first = number * config.chunk_size
                            last = min(first + config.chunk_size, own.frames) - 1
                            part = ahead.frames(first, last, episode.first)
                            yield OpenChunk(own, number, first, last, part)
                            for _ in part:
                                pass

    def paths(self) -> list[Path]:
        """Return the recordings; those of the demo are made where they are missing.

        Raises:
            RecordingError: there is none.

        """
        found = recordings(self._loaded)
        self._names = unique_names(found)
        return found

    def name_of(self, path: Path) -> str:
        """Return what a run calls one of `paths`: of several with one name, all but the first are numbered."""
        return self._names.get(path) or recording_name(path)

    @contextmanager
    def prepared(self, path: Path, *, mapped: bool = False, judge: bool = False) -> Iterator[Prepared]:
        """Open one recording and plan, for the time of the block; ``mapped`` as in `Source`.

        Pictures and values that only say what is flagged are looked at where ``judge`` is set, those that decide what
        is left out in any case.
        """
        config = self._loaded.config
        with ExitStack() as stack:
            scratch = stack.enter_context(scratch_folder())
            salvage = config.source.salvage
            source = stack.enter_context(Source(path, scratch, mapped=mapped, salvage=salvage, trust=trust(config)))
            types = Types.of(source, config.types, self._loaded.base)
            with importing(self._loaded.base):
                cut = episode_settings(config, self._loaded.base)
                about = None if cut is None else Episodes(cut, self.name_of(path))
                quality = quality_settings(config)
                decisive = quality is not None and quality.on_low == "drop"
                judging = judging_by(quality, config.threads, pixels=judge or decisive)
                streams = stream_settings(config)
                prepared = prepare_all(source, types, timeline_settings(config), streams, None, about, judging)
            yield prepared
