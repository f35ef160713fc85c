"""A configuration and one of its consumers → that consumer called in this process, on the real frames, to be debugged.

It is constructed and called as in a run, in the folder of the configuration, but in the caller's own process and
terminal: ``breakpoint()`` stops there. Nothing is committed, and what the option ``out`` names goes to a folder
for trials.
"""

from __future__ import annotations

import gc
import shutil
import weakref
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streamer.config.settings import provenance
from streamer.contract import Chunk, Frame
from streamer.errors import ConfigError, ConsumerError, EscapedViewError, StreamerError, nearest_name
from streamer.inprocess import Opened
from streamer.runtime.about import about_recording, recording_of
from streamer.runtime.ahead import Ahead
from streamer.runtime.plugin import importing, make_consumer, of_consumer
from streamer.source.find import recording_name
from streamer.supervisor.recording import fill_in
from streamer.transport import pack_state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from streamer.config.load import Loaded
    from streamer.config.model import ConsumerConfig
    from streamer.contract import Consumer, Sample
    from streamer.runtime.prepare import Prepared


def trial_folder(loaded: Loaded, name: str) -> Path:
    """Return the folder in which a consumer's outputs lie while it is debugged."""
    return loaded.workdir / "debug" / name


def debug(loaded: Loaded, name: str, most: int | None = None) -> int:
    """Show the consumer ``name`` the frames of the first recording, at most ``most``; return how many it saw.

    With ``most``, `close` is called only where that was all.

    Raises:
        ConfigError: there is no such consumer, or the configuration does not fit the recording.
        ConsumerError: it raised something else; that is the error's cause.
        EscapedViewError: it kept an array beyond `on_frame`.

    """
    consumers = loaded.config.consumers
    if name not in consumers:
        msg = f"there is no consumer {name!r}{nearest_name(name, consumers) or '.'} There are: {', '.join(consumers)}"
        raise ConfigError(msg, key="consumers")
    config, opened = consumers[name], Opened(loaded)
    path = opened.paths()[0]
    folder = trial_folder(loaded, name)
    shutil.rmtree(folder, ignore_errors=True)
    with opened.prepared(path) as prepared, importing(loaded.base), chdir(loaded.base):
        options = fill_in(config.options, recording_name(path))
        if isinstance(out := options.get("out"), str):
            folder.mkdir(parents=True)
            options["out"] = str(folder / Path(out).name)
        with _calling(name, "its constructor"):
            consumer = make_consumer(name, config.use or name, options)
        return _show(loaded, name, config, consumer, prepared, most)


def _show(
    loaded: Loaded, name: str, config: ConsumerConfig, consumer: Consumer, prepared: Prepared, most: int | None
) -> int:
    """Call the methods of the contract in their order."""
    whole, places = recording_of(_about(loaded, prepared))
    streams = [stream.settings.name for stream in prepared.streams]
    shown = [n for n, stream in enumerate(streams) if config.streams is None or stream in config.streams]
    recording, _ = recording_of(_about(loaded, prepared, shown))
    count, size, last = 0, loaded.config.chunk_size, whole.frames - 1
    with _calling(name, "open"):
        consumer.open(recording, None)
    with Ahead(prepared, places, loaded.config.threads) as ahead:
        for number in range(-(-whole.frames // size)):
            chunk = Chunk(number, number * size, min((number + 1) * size - 1, last), 0)
            before = count
            for frame in ahead.frames(chunk.first, chunk.last):
                if frame.number % config.every == 0:
                    _show_one(name, consumer, frame, [streams[n] for n in shown])
                    count += 1
                if count == most:
                    break
            _end_chunk(name, consumer, Chunk(number, chunk.first, chunk.last, count - before))
            if count == most:
                return count
    with _calling(name, "close"):
        consumer.close(recording)
    return count


def _about(loaded: Loaded, prepared: Prepared, shown: list[int] | None = None) -> Any:
    name = recording_name(prepared.source.path)
    return about_recording(prepared, name, loaded.config.chunk_size, provenance(loaded), shown)


def _end_chunk(name: str, consumer: Consumer, chunk: Chunk) -> None:
    with _calling(name, f"on_chunk, chunk {chunk.number},"):
        state = consumer.on_chunk(chunk)
    pack_state(state)


def _show_one(name: str, consumer: Consumer, frame: Frame, streams: list[str]) -> None:
    """Call `on_frame`; an array that is kept is an error here, as its memory is used again in a run."""
    samples: dict[str, Sample | None] = {}
    roots: dict[str, weakref.ref[Any]] = {}
    sample: Sample | None = None
    for stream in streams:
        sample = frame.samples[stream]
        if sample is not None and isinstance(sample.value, np.ndarray) and sample.value.size:
            value = sample.value
            root = np.frombuffer(value.data.cast("B"), value.dtype)  # which a view of a view still depends on
            roots[stream] = weakref.ref(root)
            sample = sample._replace(value=root.reshape(value.shape))
            del root, value
        samples[stream] = sample
    del sample
    with _calling(name, f"on_frame, frame {frame.number},"):
        consumer.on_frame(Frame(frame.number, frame.tick_number, frame.tick, samples))
    number = frame.number
    samples.clear()
    frame.samples.clear()
    if any(root() is not None for root in roots.values()):
        gc.collect()  # garbage in a cycle has not escaped
    if kept := [n for n, root in roots.items() if root() is not None]:
        msg = f"on_frame kept an array (or a view) of stream {kept[0]!r} of frame {number}"
        raise EscapedViewError(msg, consumer=name, hint="keep a copy, frame[...].copy()")


@contextmanager
def _calling(name: str, what: str) -> Iterator[None]:
    """Call the consumer's code; whatever it raises is the cause of one error that says in which call."""
    try:
        yield
    except StreamerError as error:
        raise of_consumer(error, name) from error.__cause__
    except Exception as error:
        msg = f"{what} raised {type(error).__name__}: {error}"
        raise ConsumerError(msg, consumer=name) from error
