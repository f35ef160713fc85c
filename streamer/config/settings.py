"""A checked configuration → the settings that the stages are given, who know nothing of configurations."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer.quality import Limits, QualitySettings
from streamer.records import (
    MAX_PIXELS,
    Alignment,
    Decoding,
    EpisodeSettings,
    Markers,
    Moment,
    Rest,
    StreamSettings,
    TimelineSettings,
    Trust,
)

if TYPE_CHECKING:
    from streamer.config.load import Loaded
    from streamer.config.model import Config, PartConfig, StreamConfig


def stream_settings(config: Config) -> tuple[StreamSettings, ...]:
    """Return the streams, in the order of the configuration."""
    return tuple(stream_setting(name, stream, config.source.max_pixels) for name, stream in config.streams.items())


def stream_setting(name: str, s: StreamConfig, max_pixels: int = MAX_PIXELS) -> StreamSettings:
    """Return one stream."""
    parts = [_part(f"{name}.concat.{n}", s, part, max_pixels) for n, part in enumerate(s.concat or ())]
    return StreamSettings(
        name,
        tuple(topic for part in parts for topic in part.topics) or tuple(s.topic),
        s.clock,
        s.undecodable,
        Decoding(
            tuple(s.field) if isinstance(s.field, list) else s.field,
            *(s.dtype, s.scale, s.resize, s.color, s.capacity, max_pixels),
            elements=tuple(s.elements) if s.elements else None,
            names_field=s.names_field,
            map=tuple(s.map or ()),
        ),
        Alignment(s.align or "", s.tolerance, s.missing, s.gap, *s.at),
        s.shift,
        (s.tf.source, s.tf.target) if s.tf else None,
        tuple(parts),
    )


def _part(name: str, whole: StreamConfig, part: PartConfig, max_pixels: int) -> StreamSettings:
    """Return a part of a stream: what it does not say itself holds as for the whole."""
    own = part.model_dump(exclude_unset=True)
    values = {"concat": None, "map": None, **own}
    return stream_setting(name, whole.model_copy(update=values), max_pixels)


def trust(config: Config) -> Trust:
    """Return how far recordings are believed."""
    return Trust(config.source.max_chunk, config.source.verify)


def timeline_settings(config: Config) -> TimelineSettings:
    """Return the timeline."""
    t = config.timeline
    rate = (t.rate.numerator, t.rate.denominator) if t.rate else None
    start, end_at = (Moment(*given) if given else None for given in (t.start, t.end_at))
    return TimelineSettings(t.source, rate, t.skip, t.crop, t.end, start, end_at, config.source.resets)


def episode_settings(config: Config, base: Path) -> EpisodeSettings | None:
    """Return how recordings are cut into episodes; None where they are not. Paths are relative to ``base``."""
    e = config.episodes
    if e is None:
        return None
    m = e.source
    return EpisodeSettings(
        None if m is None else Markers(m.topic, m.field, m.start, m.stop, m.discard, m.task, m.label),
        None if e.windows is None else str(base / Path(e.windows).expanduser()),
        e.gap,
        None if e.still is None else Rest(e.still.stream, e.still.below, e.still.lasting),
        e.every,
        e.min,
        None if e.trim is None else Rest(e.trim.still, e.trim.below),
        e.unfinished,
        e.task,
        _told_in(e.task_file, base),
    )


def _told_in(task_file: str | None, base: Path) -> str | None:
    """Return where tasks are told; of a file beside each recording, that stays relative."""
    if task_file is None or "{recording}" in task_file:
        return task_file
    return str(base / Path(task_file).expanduser())


def quality_settings(config: Config) -> QualitySettings | None:
    """Return the limits by which episodes are judged; None where there are none."""
    q = config.quality
    if q is None:
        return None
    general = Limits(q.max_gap, q.max_held, q.black, q.blur)
    own = {name: replace(general, **limits.model_dump(exclude_unset=True)) for name, limits in q.streams.items()}
    still = q.still
    return QualitySettings(
        general,
        own,
        None if still is None else still.share,
        None if still is None else still.stream,
        0.01 if still is None else still.below,
        q.max_bad,
        q.on_low,
        int(10**9 / q.sample),
    )


_DECIDE = ("episodes", "quality", "timeline", "streams", "consumers", "chunk_size", "types")
_OPERATION = {"recycle", "on_failed", "escape", "trace_malloc", "memray", "deadline"}  # how, not what, is written


def fingerprint(loaded: Loaded) -> str:
    """Return 12 hexadecimal digits that change with what the outputs depend on, and with nothing else."""
    values = loaded.config.model_dump(mode="json", include=set(_DECIDE))
    for key in ("episodes", "quality"):
        if values[key] is None:
            del values[key]
    for consumer in values["consumers"].values():
        for key in _OPERATION:
            consumer.pop(key)
    source = loaded.config.source
    decided = [values, source.on_damage, source.max_pixels, source.resets]
    return sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()[:12]


def provenance(loaded: Loaded) -> dict[str, Any]:
    """Return where outputs come from, fit for JSON: the configuration and the versions at work."""
    return {
        "config": str(loaded.path),
        "settings": {key: value for key, value in loaded.values.items() if key != "http_token"},
        "versions": {
            "rosbag-streamer": version("rosbag-streamer"),
            "rosbags": version("rosbags"),
            "numpy": version("numpy"),
            "python": platform.python_version(),
            "platform": sys.platform,
        },
    }
