"""A configuration → everything that would go wrong in a run, and what the run would need; nothing starts."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streamer.config.settings import episode_settings, quality_settings, stream_settings, timeline_settings, trust
from streamer.errors import ConfigError, RecordingError, StreamerError
from streamer.files import scratch_folder
from streamer.inspect.consumers import ask_consumers, check_consumers
from streamer.inspect.findings import Checked
from streamer.inspect.machine import check_disk, check_memory
from streamer.inspect.messages import map_failures, misfits
from streamer.layout import count_slots
from streamer.pipelines.recordings import recordings, unique_names
from streamer.runtime.about import alignments, chunk_starts
from streamer.runtime.joined import prepare_all
from streamer.runtime.judging import judging_by, low
from streamer.runtime.plugin import importing
from streamer.runtime.prepare import Episodes
from streamer.source.find import find_recordings
from streamer.source.source import Source
from streamer.source.types import Types

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.config.load import Loaded
    from streamer.records import StreamSettings, TimelineSettings
    from streamer.runtime.judging import Judging
    from streamer.runtime.prepare import Prepared


def check_config(
    loaded: Loaded,
    *,
    with_recordings: bool = True,
    quick: bool = False,
    mistakes: Sequence[ConfigError] = (),
) -> Checked:
    """Look at consumers, recordings, memory and disk; consumers are constructed and asked, but none is opened.

    ``mistakes`` are those for which settings were left out of ``loaded`` (see `streamer.config.lenient`); then
    consumers are not asked about recordings, of which they would see too little. Unless ``quick``, the head of every
    planned message is read.
    """
    found = Checked(loaded)
    for mistake in mistakes:
        found.add(mistake)
    config = loaded.config
    watched = config.source.watch is not None
    paths: list[Path] = []
    try:
        if with_recordings:
            paths = _newest(loaded, found) if watched else recordings(loaded)
    except StreamerError as error:
        found.add(error)
    names = unique_names(paths)
    first = next(iter(names.values()), "recording")
    check_consumers(loaded, first, found, several=watched or len(paths) > 1)
    for path in paths:
        _check_recording(loaded, path, names[path], found, quick=quick, whole=not mistakes)
    check_memory(loaded, found)
    check_disk(loaded, first, found)
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


def _check_recording(loaded: Loaded, path: Path, name: str, found: Checked, *, quick: bool, whole: bool) -> None:
    config = loaded.config
    settings = stream_settings(config)
    try:
        with (
            scratch_folder() as scratch,
            Source(path, scratch, salvage=config.source.salvage, trust=trust(config)) as source,
        ):
            types = Types.of(source, config.types, loaded.base)
            judging = judging_by(quality_settings(config), config.threads, pixels=not quick)
            cut = _episodes(loaded, name)
            with importing(loaded.base):
                prepared = _prepare(source, types, timeline_settings(config), settings, found, cut, judging)
            if prepared is None:
                return
            if not quick:
                _check_messages(prepared, found)
            elif judging is not None and judging.looks:
                found.warn("what only pictures and values tell of quality was not looked at (--quick)", key="quality")
            if len(prepared.streams) < len(settings):
                return
            _describe(loaded, path, prepared, found)
            if whole:
                ask_consumers(loaded, prepared, name, found)
    except StreamerError as error:
        found.add(error, str(path))


def _episodes(loaded: Loaded, name: str) -> Episodes | None:
    settings = episode_settings(loaded.config, loaded.base)
    return None if settings is None else Episodes(settings, name)


def _prepare(
    source: Source,
    types: Types,
    timeline: TimelineSettings,
    streams: Sequence[StreamSettings],
    found: Checked,
    episodes: Episodes | None,
    judging: Judging | None,
) -> Prepared | None:
    """Plan the streams; where one does not fit, go on without it, so that the fault of each is told.

    Return the plan of those that fit; None where there is none.
    """
    try:
        return prepare_all(source, types, timeline, streams, None, episodes, judging)
    except StreamerError as error:
        found.add(error, str(source.path))
        about = error.where.stream or error.where.key.removeprefix("streams.").partition(".")[0]
    others = [stream for stream in streams if stream.name != about]
    if about == timeline.source or not 0 < len(others) < len(streams):
        return None
    return _prepare(source, types, timeline, others, found, episodes, judging)


def _check_messages(prepared: Prepared, found: Checked) -> None:
    """Look at every planned message; those that the settings leave out are told as a warning."""
    path = str(prepared.source.path)
    for misfit in (*misfits(prepared), *map_failures(prepared)):
        settings = misfit.stream.settings
        many = f" (the first of {misfit.messages})" if misfit.messages > 1 else ""
        if settings.undecodable == "error" or isinstance(misfit.error, ConfigError):
            found.add(misfit.error.at(text=misfit.error.text + many), path)
            continue
        what = "left out" if settings.undecodable == "skip" else "without it"
        text = f"{misfit.messages} messages cannot be decoded, their frames are {what}: {misfit.error.text}"
        found.warn(text, path, key=f"streams.{settings.name}")


def _describe(loaded: Loaded, path: Path, prepared: Prepared, found: Checked) -> None:
    config = loaded.config
    plan = prepared.plan
    streams = alignments(prepared)
    for warning in (*prepared.warnings, *low(prepared)):
        found.warn(warning, str(path))
    waiting = sum(consumer.mode == "latest" for consumer in config.consumers.values())
    slots = count_slots(prepared.layout, config.pool, max(prepared.plan.frames, 1), 1 + waiting)
    found.recordings.append(
        {
            "path": str(path),
            "planned": plan.planned,
            "frames": plan.frames,
            "skipped": dict(plan.skipped),
            "chunks": len(chunk_starts(prepared, config.chunk_size)),
            "episodes": None if prepared.cut is None else len(prepared.cut.episodes),
            "seconds": float(np.ptp(prepared.plan.ticks)) / 1e9 if plan.frames else 0.0,
            "frame_bytes": prepared.layout.slot_size,
            "slots": slots,
            "pool_bytes": slots * prepared.layout.slot_size,
            "streams": {
                stream.settings.name: {
                    "topic": stream.topic.name,
                    "kind": stream.kind,
                    "shape": list(stream.spec.shape),
                    "dtype": np.dtype(stream.spec.dtype).name,
                    "map": str(stream.chain or ""),
                    "messages": len(stream.index.stamps),
                    **asdict(streams[stream.settings.name]),
                }
                for stream in prepared.streams
            },
        }
    )
