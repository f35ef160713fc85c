"""A configuration → everything that would go wrong in a run, and what the run would need; nothing starts."""

from __future__ import annotations

import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streamer.config.settings import stream_settings, timeline_settings, trust
from streamer.errors import ConfigError, RecordingError, StreamerError
from streamer.inspect.findings import Checked
from streamer.inspect.machine import check_disk, check_memory
from streamer.layout import count_slots
from streamer.libraries import blamed
from streamer.pipelines.recordings import recordings, unique_names
from streamer.runtime.about import alignments
from streamer.runtime.plugin import make_consumer
from streamer.runtime.prepare import prepare
from streamer.source.find import find_recordings
from streamer.source.source import Source
from streamer.source.types import Types
from streamer.supervisor.recording import fill_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamer.config.load import Loaded
    from streamer.records import StreamSettings, TimelineSettings
    from streamer.runtime.prepare import Prepared


def check_config(loaded: Loaded, *, with_recordings: bool = True) -> Checked:
    """Look at consumers, recordings, memory and disk; consumers are constructed, but none is opened."""
    found = Checked(loaded)
    config = loaded.config
    watched = config.source.watch is not None
    paths: list[Path] = []
    try:
        if with_recordings:
            paths = _newest(loaded, found) if watched else recordings(loaded)
    except StreamerError as error:
        found.add(error)
    names = unique_names(paths)
    with _importing(loaded.base):
        for name in config.consumers:
            _check_consumer(
                loaded, name, next(iter(names.values()), "recording"), found, several=watched or len(paths) > 1
            )
    for path in paths:
        _check_recording(loaded, path, found)
    check_memory(loaded, found)
    check_disk(loaded, next(iter(names.values()), "recording"), found)
    return found


def _newest(loaded: Loaded, found: Checked) -> list[Path]:
    """Return the newest recording in the watched folders, to stand for those that will come."""
    paths: list[Path] = []
    for folder in loaded.config.source.watch or ():
        if not (loaded.base / Path(folder).expanduser()).is_dir():
            found.warn(f"there is no folder {folder!r} (yet)", key="source.watch")
            continue
        for pattern in (folder, f"{folder}/*.mcap", f"{folder}/*.db3"):
            with suppress(RecordingError):  # none of the kind is there
                paths += find_recordings([pattern], loaded.base)
    if not paths:
        found.warn("no recording lies there yet, so topics and fields are not checked", key="source.watch")
    return sorted(paths, key=lambda path: path.stat().st_mtime)[-1:]


@contextmanager
def _importing(base: Path) -> Iterator[None]:
    """Find modules where a consumer's process would find them."""
    before = list(sys.path)
    sys.path[:0] = [str(base), str(Path.cwd())]
    try:
        yield
    finally:
        sys.path[:] = before


def _check_consumer(loaded: Loaded, name: str, recording: str, found: Checked, *, several: bool) -> None:
    config = loaded.config.consumers[name]
    use = config.use or name
    try:
        consumer = make_consumer(name, use, fill_in(config.options, recording))
    except StreamerError as error:
        found.add(error)
        return
    except Exception as error:  # noqa: BLE001 - the constructor is foreign code
        found.add(
            ConfigError(
                f"its constructor raised {type(error).__name__}: {error}{blamed(error)}", key=f"consumers.{name}"
            )
        )
        return
    out = config.options.get("out")
    if several and not consumer.many_recordings and out is not None and "{recording}" not in str(out):
        found.add(
            ConfigError(
                f"several recordings would write {out!r}, each over the last",
                key=f"consumers.{name}.options.out",
                hint="put {recording} into it",
            )
        )
    found.consumers[name] = use


def _check_recording(loaded: Loaded, path: Path, found: Checked) -> None:
    config = loaded.config
    settings = stream_settings(config)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="streamer-") as scratch,
            Source(path, Path(scratch), salvage=config.source.salvage, trust=trust(config)) as source,
        ):
            types = Types.of(source, config.types, loaded.base)
            prepared = _prepare(source, types, timeline_settings(config), settings, found)
            if prepared is not None:
                _describe(loaded, path, prepared, found)
    except StreamerError as error:
        found.add(error, str(path))


def _prepare(
    source: Source, types: Types, timeline: TimelineSettings, streams: Sequence[StreamSettings], found: Checked
) -> Prepared | None:
    """Plan the streams; where one does not fit, go on without it, so that the fault of each is told."""
    try:
        return prepare(source, types, timeline, streams)
    except StreamerError as error:
        found.add(error, str(source.path))
        about = error.where.stream or error.where.key.removeprefix("streams.").partition(".")[0]
    others = [stream for stream in streams if stream.name != about]
    if about != timeline.source and 0 < len(others) < len(streams):
        _prepare(source, types, timeline, others, found)
    return None


def _describe(loaded: Loaded, path: Path, prepared: Prepared, found: Checked) -> None:
    config = loaded.config
    plan = prepared.plan
    streams = alignments(prepared)
    for warning in prepared.warnings:
        found.warn(warning, str(path))
    waiting = sum(consumer.mode == "latest" for consumer in config.consumers.values())
    slots = count_slots(prepared.layout, config.pool, max(prepared.plan.frames, 1), 1 + waiting)
    found.recordings.append(
        {
            "path": str(path),
            "planned": plan.planned,
            "frames": plan.frames,
            "skipped": dict(plan.skipped),
            "chunks": -(-plan.frames // config.chunk_size),
            "seconds": float(np.ptp(prepared.plan.ticks)) / 1e9 if plan.frames else 0.0,
            "frame_bytes": prepared.layout.slot_size,
            "slots": slots,
            "pool_bytes": slots * prepared.layout.slot_size,
            "streams": {
                stream.settings.name: {
                    "topic": stream.topic.name,
                    "kind": stream.decoder.kind,
                    "shape": list(stream.spec.shape),
                    "dtype": np.dtype(stream.spec.dtype).name,
                    "messages": len(stream.index.stamps),
                    **asdict(streams[stream.settings.name]),
                }
                for stream in prepared.streams
            },
        }
    )
