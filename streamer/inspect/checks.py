"""A configuration → everything that would go wrong in a run, and what the run would need; nothing starts."""

from __future__ import annotations

import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streamer.config.settings import stream_settings, timeline_settings
from streamer.decode import IMAGE_TYPES
from streamer.errors import ConfigError, RecordingError, StreamerError
from streamer.inspect.findings import Checked
from streamer.inspect.machine import check_disk, check_memory
from streamer.layout import count_slots
from streamer.libraries import blamed
from streamer.pipelines.recordings import recordings, unique_names
from streamer.plan import make_plan
from streamer.records import Alignment, TimelineSettings
from streamer.runtime.about import about_plan
from streamer.runtime.plugin import make_consumer
from streamer.runtime.prepare import beginning, make_ticks, prepare
from streamer.source.find import find_recordings
from streamer.source.source import Source
from streamer.source.types import Types
from streamer.supervisor.recording import fill_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from streamer.config.load import Loaded
    from streamer.records import StreamSettings
    from streamer.runtime.prepare import Prepared, Stream

_AFTER_ALL = np.array([1 << 62], np.int64)  # an instant whose nearest message is the last


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
            Source(path, Path(scratch), salvage=config.source.salvage) as source,
        ):
            types = Types(tuple(config.types), source.distro, loaded.base, source.topics.values())
            streams = [s for s in (_check_stream(source, types, s, found) for s in settings) if s is not None]
            if len(streams) < len(settings):
                return
            ticks = _check_timeline(loaded, source, settings, streams, found)
            if ticks is None:
                return
            prepared = prepare(source, types, timeline_settings(config), settings, ticks)
            _describe(loaded, path, prepared, found)
    except StreamerError as error:
        found.add(error, str(path))


def _check_stream(source: Source, types: Types, settings: StreamSettings, found: Checked) -> Stream | None:
    """Find the topic, compile the field and read the last message; alone, so that each stream's fault is told."""
    alone = replace(settings, alignment=Alignment(settings.alignment.align, missing="none"))
    try:
        return prepare(source, types, TimelineSettings(), [alone], _AFTER_ALL).streams[0]
    except StreamerError as error:
        found.add(error, str(source.path))
        return None


def _check_timeline(
    loaded: Loaded, source: Source, settings: tuple[StreamSettings, ...], streams: list[Stream], found: Checked
) -> NDArray[np.int64] | None:
    """Make the ticks and lay each stream against them, so that each stream without samples is told."""
    stamps = {stream.settings.name: stream.index.stamps for stream in streams}
    images = [s.settings.name for s in streams if s.topic.msgtype in IMAGE_TYPES and s.settings.decoding.field is None]
    timeline = timeline_settings(loaded.config)
    begins = beginning(source, timeline, settings, {stream.settings.name: stream.index for stream in streams})
    ticks = make_ticks(timeline, settings, stamps, images, begins)
    whole = True
    for stream in settings:
        try:
            make_plan(ticks, {stream.name: (stamps[stream.name], stream.alignment)})
        except RecordingError as error:
            found.add(error, str(source.path))
            whole = False
    return ticks if whole else None


def _describe(loaded: Loaded, path: Path, prepared: Prepared, found: Checked) -> None:
    config = loaded.config
    about = about_plan(prepared)
    for warning in prepared.warnings:
        found.warn(warning, str(path))
    waiting = sum(consumer.mode == "latest" for consumer in config.consumers.values())
    slots = count_slots(prepared.layout, config.pool, max(prepared.plan.frames, 1), 1 + waiting)
    found.recordings.append(
        {
            "path": str(path),
            "planned": about["planned"],
            "frames": about["frames"],
            "skipped": about["skipped"],
            "chunks": -(-about["frames"] // config.chunk_size),
            "seconds": float(np.ptp(prepared.plan.ticks)) / 1e9 if about["frames"] else 0.0,
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
                    **about["streams"][stream.settings.name],
                }
                for stream in prepared.streams
            },
        }
    )
