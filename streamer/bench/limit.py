"""A plan → how fast bare loops get through its bytes: what disk, memory and codecs allow.

Messages that are taken as they lie in a file: one thread only reads them into warm memory. Rows of SQLite: one thread
only selects and copies them. Compressed images: as many threads as the reader has only decode them, from bytes that
are in memory. Compressed blocks: as many threads unpack each once, and copy or decode. Finding the bytes never counts.
Videos: a thread for each decodes all of its packets with PyAV and converts the pictures that are planned.
"""

from __future__ import annotations

import mmap
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import simplejpeg

from streamer.errors import UsageError
from streamer.runtime.video import Pictures
from streamer.source.payload import MemoryPayload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from streamer.layout import Place
    from streamer.records import Payload
    from streamer.runtime.prepare import Prepared, Stream
    from streamer.source.source import Source

    Job = Callable[[], object]

_BATCH = 128  # frames whose bytes are found at once, outside the loop that counts
_SLOTS = 16
_HEADS = 1 << 16  # bytes beside its numbers that a message may have
_JPEG = b"\xff\xd8"


def limit(prepared: Prepared, threads: int) -> float:
    """Return how long the loops took, in seconds.

    Raises:
        UsageError: a stream is a text, has a map or is made of several messages, which no bare loop knows.

    """
    for stream in prepared.streams:
        what = {"map": stream.chain, "concat": stream.parts, "tf": stream.compute, "text": stream.raw.is_text}
        if unknown := next((word for word, there in what.items() if there), None):
            msg = f"'limit' knows no {unknown}: choose '--methods process,stream'"
            raise UsageError(msg, stream=stream.settings.name)
    size = prepared.layout.slot_size + _HEADS
    warm = np.frombuffer(mmap.mmap(-1, _SLOTS * size), np.uint8)
    warm[:] = 1
    source = prepared.source
    bases = {file: _connect(file) for file in source.files} if source.kind == "sqlite3" else {}
    seconds = 0.0
    videos = [partial(_decode_video, stream) for stream in prepared.streams if isinstance(stream.source, Pictures)]
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        list(pool.map(_do, [[video] for video in videos]))
        seconds += time.perf_counter() - began
        for start in range(0, prepared.plan.frames, _BATCH):
            alone: list[Job] = []
            shared: list[list[Job]] = []
            for frame in range(start, min(start + _BATCH, prepared.plan.frames)):
                read, unpack = _jobs(prepared, bases, frame, warm[frame % _SLOTS * size :][:size])
                alone += read
                shared += [unpack] if unpack else []
            began = time.perf_counter()
            _do(alone)
            list(pool.map(_do, shared))
            seconds += time.perf_counter() - began
    for base in bases.values():
        base.close()
    return seconds


def _do(jobs: list[Job]) -> None:
    for job in jobs:
        job()


def _jobs(
    prepared: Prepared, bases: Mapping[Path, sqlite3.Connection], frame: int, slot: NDArray[np.uint8]
) -> tuple[list[Job], list[Job]]:
    """Return what one frame takes: what one thread does, and what many share."""
    read: list[Job] = []
    unpack: list[Job] = []
    source = prepared.source
    for stream, place in zip(prepared.streams, prepared.layout.places, strict=True):
        number = int(stream.plan.first[frame])
        if number < 0 or stream.repeats[frame] or isinstance(stream.source, Pictures):
            continue
        out = slot[place.offset : place.offset + place.nbytes + _HEADS]
        if source.compression != "none":
            unpack.append(partial(_unpack, source, stream, place, number, out))
        elif stream.topic.msgtype == "sensor_msgs/msg/CompressedImage":
            unpack.append(_decode(stream, place, bytes(source.payload(stream.index, number).all()), out))
        elif source.kind == "sqlite3":
            read.append(
                partial(_select, bases[source.file_of(stream.index, number)], int(stream.index.offset[number]), out)
            )
        else:
            read.append(partial(_copy, source.payload(stream.index, number), out))
    return read, unpack


def _decode_video(stream: Stream) -> None:
    """Decode all packets of a video with PyAV, one after the other, and convert the pictures that are planned."""
    if not isinstance(stream.source, Pictures):
        return
    planned = {stream.source.packet(int(number)) for number in np.unique(stream.plan.first) if number >= 0}
    out = np.empty(stream.spec.shape, np.dtype(stream.spec.dtype))
    for number, picture in stream.source.video.decode_all():
        if number in planned:
            stream.decoder.decode(picture, out)


def _copy(payload: Payload, out: NDArray[np.uint8]) -> None:
    payload.into(0, out[: len(payload)].data)


def _select(base: sqlite3.Connection, row: int, out: NDArray[np.uint8]) -> None:
    (data,) = base.execute("SELECT data FROM messages WHERE id = ?", (row,)).fetchone()
    out[: len(data)] = np.frombuffer(data, np.uint8)


def _connect(file: Path) -> sqlite3.Connection:
    base = sqlite3.connect(f"file:{quote(str(file))}?immutable=1", uri=True)
    try:
        base.execute(f"PRAGMA mmap_size = {file.stat().st_size}")
    except BaseException:
        base.close()
        raise
    return base


def _unpack(source: Source, stream: Stream, place: Place, number: int, out: NDArray[np.uint8]) -> None:
    payload = source.payload(stream.index, number)
    if stream.topic.msgtype == "sensor_msgs/msg/CompressedImage":
        _decode(stream, place, payload.all(), out)()
    else:
        _copy(payload, out)


def _decode(stream: Stream, place: Place, data: Any, out: NDArray[np.uint8]) -> Job:
    """Return what decodes one image and does nothing else."""
    array = out[: place.nbytes].view(np.dtype(place.spec.dtype)).reshape(place.spec.shape)
    at = bytes(data[:256]).find(_JPEG)
    if at >= 0 and array.ndim == 3 and stream.settings.decoding.resize is None:
        return partial(simplejpeg.decode_jpeg, memoryview(data)[at:], "RGB", buffer=array)
    return partial(stream.decoder.decode, MemoryPayload(memoryview(data)), array)
