"""Every setting there is, its type and its one default."""

from __future__ import annotations

import math
import os
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator, model_validator

from streamer.config.episodes import EpisodesConfig
from streamer.config.kinds import Duration, Instant, Later, Rate, Shift, Size
from streamer.config.quality import QualityConfig
from streamer.records import MAX_PIXELS

_SCALES = {"deg2rad": math.pi / 180, "rad2deg": 180 / math.pi}
_SCALE_SCHEMA = WithJsonSchema({"anyOf": [{"type": "number"}, {"enum": list(_SCALES)}]})
_MANY_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_RESERVED = ("busiest", "grid")


def _scale(value: object) -> object:
    return _SCALES.get(value, value) if isinstance(value, str) else value


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


Strings = Annotated[list[str], BeforeValidator(_one_or_many), Field(min_length=1), WithJsonSchema(_MANY_SCHEMA)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_OF_ANY_RECORDING = {"path", "watch", "on_damage", "max_chunk", "verify", "resets", "max_pixels"}


def _topic_or_tf(schema: dict[str, Any]) -> None:
    """Tell an editor that a stream names a topic, two frames or parts."""
    del schema["required"]
    schema["anyOf"] = [{"required": ["topic"]}, {"required": ["tf"]}, {"required": ["concat"]}]


class SourceConfig(_Settings):
    """Where the recordings are."""

    path: Strings | None = Field(None, description="file, folder, glob, or a list of these; or demo://tabletop")
    watch: Strings | None = Field(None, description="folders in which recordings appear, for 'streamer watch'")
    pattern: Strings = Field(
        default_factory=lambda: ["*"], description="names of recordings (or of the files in them) that count"
    )
    settle: Duration = Field(10 * 10**9, description="how long a recording must not have changed")
    scan: Duration = Field(30 * 10**9, ge=10**8, description="how often the folders are scanned")
    give_up_after: Duration = Field(
        3600 * 10**9, description="how long a recording that does not change may be unfinished"
    )
    unfinished: Literal["wait", "salvage", "quarantine"] = Field(
        "quarantine", description="what to do then: wait on, read what is intact, or put it aside"
    )
    order: Literal["oldest", "newest"] = Field("oldest", description="which recording is taken first")
    attempts: int = Field(3, ge=1, description="how often a recording is tried before it is put aside")
    backoff: Duration = Field(30 * 10**9, ge=1, description="the wait before the second attempt; then twice as long")
    after: Literal["keep", "move", "delete"] = Field(
        "keep", description="what becomes of a recording once every consumer has committed all of it"
    )
    move_to: str | None = Field(None, description="the folder into which 'after: move' moves")
    on_damage: Literal["error", "salvage"] = Field(
        "error", description="what to do with a recording that was not closed, is cut off or has damaged chunks"
    )
    max_chunk: Size = Field(256 * 10**6, ge=2**20, description="most bytes of a chunk or message that are read as one")
    verify: bool = Field(True, description="whether what is read is held against the recording's checksums")
    resets: Literal["error", "first", "last", "split"] = Field(
        "error",
        description="what to do with stamps that jump back: read the first pass, the last, or each by itself (split)",
    )
    max_pixels: int = Field(MAX_PIXELS, ge=1, description="a picture that claims more is refused before it is decoded")

    @model_validator(mode="after")
    def _one_of_both(self) -> SourceConfig:
        if (self.path is None) == (self.watch is None):
            msg = "give either 'path' (recordings, for 'streamer run') or 'watch' (folders, for 'streamer watch')"
            raise ValueError(msg)
        for key in sorted(self.model_fields_set - _OF_ANY_RECORDING):
            if self.watch is None:
                msg = f"{key!r} says how folders are watched: it needs 'watch' instead of 'path'"
                raise ValueError(msg)
        if (self.after == "move") != (self.move_to is not None):
            msg = "'after: move' and 'move_to: a folder' need each other"
            raise ValueError(msg)
        return self

    @property
    def salvage(self) -> bool:
        """Tell whether of damaged recordings what is intact is read."""
        return self.on_damage == "salvage"


class TimelineConfig(_Settings):
    """Which instants become frames."""

    source: str = Field("busiest", alias="from", description="a stream's name, 'busiest' (image stream) or 'grid'")
    rate: Rate | None = Field(None, description="ticks per second; the stream's own where left out")
    start: Instant | None = Field(None, description="where it begins: '5 s' into the recording, or an ISO 8601 time")
    end_at: Instant | None = Field(None, description="where it ends: '9 s' into the recording, or an ISO 8601 time")
    skip: int = Field(0, ge=0, description="ticks left out at both ends, after crop")
    crop: tuple[float, float] = Field((0.0, 1.0), description="the part of the timeline that is kept, as fractions")
    end: Literal["common", "longest", "timeline"] = Field("common", description="where the timeline stops")

    @field_validator("crop")
    @classmethod
    def _ordered(cls, crop: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= crop[0] < crop[1] <= 1:
            msg = "crop is two fractions between 0 and 1, the smaller first, such as [0.1, 0.9]"
            raise ValueError(msg)
        return crop


class TfConfig(_Settings):
    """Two coordinate frames, of which a stream is the pose of one in the other."""

    source: str = Field(
        alias="from", min_length=1, description="the frame in which the pose is told, such as base_link"
    )
    target: str = Field(alias="to", min_length=1, description="the frame whose pose it is, such as tool0")


# what a pose can be told
_OF_TF = {"tf", "topic", "clock", "shift", "at", "align", "tolerance", "missing", "gap", "map"}


# what is said of a stream that is put together, not of its parts alone
_OF_CONCAT = {"concat", "clock", "shift", "at", "align", "tolerance", "missing", "gap", "undecodable", "map"}


class PartConfig(_Settings):
    """A part of a stream that is put together; what it leaves out is as for the whole stream."""

    topic: Strings = Field(description="the topic; of a list, the first that the recording has")
    field: str | Annotated[list[str], Field(min_length=1)] | None = Field(None, description="path of numbers")
    elements: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="which numbers, by name and in this order"
    )
    names_field: str | None = Field(None, description="path of the list of names beside the numbers")
    scale: Annotated[float, BeforeValidator(_scale), _SCALE_SCHEMA] | None = Field(
        None, description="a factor, deg2rad or rad2deg"
    )
    clock: Literal["receive", "header"] = Field("receive", description="which stamp of a message counts")
    shift: Shift = Field(0, description="added to the stamps of its messages")
    align: Literal["nearest", "previous", "linear", "mean"] | None = Field(
        None, description="how a tick finds its message"
    )


class StreamConfig(_Settings):
    """One stream: what is read, how it is decoded, how it is aligned."""

    model_config = ConfigDict(json_schema_extra=_topic_or_tf)

    topic: Strings = Field(description="the topic; of a list, the first that the recording has")
    tf: TfConfig | None = Field(
        None, description="the pose of a coordinate frame in another, from the topics /tf and /tf_static (all are read)"
    )
    concat: Annotated[list[PartConfig], Field(min_length=2)] | None = Field(
        None, description="vectors of several topics, each aligned by itself, one behind the other"
    )
    field: str | Annotated[list[str], Field(min_length=1)] | None = Field(
        None,
        description="path of numbers or a text, such as position[12:26]; a list makes one vector of several",
    )
    elements: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="which numbers of a vector, by name and in this order; messages without them are left out"
    )
    names_field: str | None = Field(
        None, description="path of the list of names beside the numbers; '' numbers them; by the type where left out"
    )
    dtype: (
        Literal["float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"] | None
    ) = Field(None, description="type of a vector's numbers; the message's own where left out")
    scale: Annotated[float, BeforeValidator(_scale), _SCALE_SCHEMA] | None = Field(
        None, description="a factor, deg2rad or rad2deg"
    )
    resize: tuple[int, int] | None = Field(None, description="[width, height] in pixels")
    color: Literal["rgb", "bgr", "gray"] | None = Field(None, description="colour order; rgb for colour images")
    map: Annotated[list[str | dict[str, Any]], Field(min_length=1)] | None = Field(
        None, description="steps that each sample goes through, in order, such as [{crop: [0, 0, 640, 640]}, gray]"
    )
    capacity: int | None = Field(None, ge=1, description="most rows of a sample whose length varies")
    clock: Literal["receive", "header"] = Field("receive", description="which stamp of a message counts")
    shift: Shift = Field(0, description="added to the stamps of its messages: '-40 ms' for a camera that is 40 ms late")
    at: Later = Field((0, 0), description="how much later than the tick a sample is taken: '+100 ms' or '+1 tick'")
    align: Literal["nearest", "previous", "linear", "mean"] | None = Field(
        None,
        description="how a tick finds its message, 'nearest' where left out and 'previous' for text; "
        "mean averages all of the tick's interval",
    )
    tolerance: Duration | None = Field(None, description="how far off a message may be")
    missing: Literal["error", "skip", "none", "hold"] = Field(
        "error", description="what to do without a sample; hold shows the message before, at the start the first"
    )
    gap: Duration | None = Field(None, description="flag ticks between messages further apart than this")
    undecodable: Literal["error", "skip", "none"] = Field("error", description="what to do with a damaged message")

    @model_validator(mode="before")
    @classmethod
    def _topics_of_tf(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("tf") is not None and "topic" not in values:
            return {**values, "topic": ["/tf", "/tf_static"]}
        if isinstance(values, dict) and values.get("concat") is not None and "topic" not in values:
            return {**values, "topic": ["-"]}  # the parts have topics
        return values

    @model_validator(mode="after")
    def _only_poses(self) -> StreamConfig:
        others = sorted(self.model_fields_set - _OF_TF) if self.tf is not None else []
        if others:
            msg = f"a stream of 'tf' is a pose of seven numbers: {others[0]!r} does not go with it"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _only_joined(self) -> StreamConfig:
        others = self.model_fields_set - _OF_CONCAT if self.concat is not None else set()
        others -= {"topic"} if self.topic == ["-"] else set()
        if others:
            msg = f"{min(others)!r} is for each part of 'concat', not for the stream that they make"
            raise ValueError(msg)
        return self

    @field_validator("elements")
    @classmethod
    def _each_once(cls, elements: list[str] | None) -> list[str] | None:
        twice = [name for name in elements or () if (elements or []).count(name) > 1]
        if twice:
            msg = f"elements names {twice[0]!r} more than once"
            raise ValueError(msg)
        return elements

    @model_validator(mode="after")
    def _one_length(self) -> StreamConfig:
        if self.elements is not None and self.capacity is not None:
            msg = "capacity is for samples whose length varies, and elements says which numbers each has: leave one out"
            raise ValueError(msg)
        return self

    @field_validator("resize")
    @classmethod
    def _positive(cls, resize: tuple[int, int] | None) -> tuple[int, int] | None:
        if resize is not None and min(resize) < 1:
            msg = "resize is [width, height] in pixels, both above 0"
            raise ValueError(msg)
        return resize


def _never(value: object) -> object:
    return {} if value == "never" else value


def _or_never(schema: dict[str, Any]) -> None:
    """Let an editor offer 'never' beside the settings."""
    schema["anyOf"] = [{"const": "never"}, {"$ref": schema.pop("$ref")}]


class RecycleConfig(_Settings):
    """When a consumer's process is replaced by a fresh one: whichever comes first, and not before its second chunk."""

    chunks: int | None = Field(None, ge=1, description="after this many chunks")
    memory: Size | None = Field(None, ge=1, description="when it holds this much anonymous memory at a commit")
    growth: Size | None = Field(None, ge=1, description="when its memory grows by this much a chunk, by its trend")


class ConsumerConfig(_Settings):
    """One consumer."""

    use: str = Field("", description="a consumer's name or module:Name; the consumer's key where left out")
    options: dict[str, Any] = Field(default_factory=dict, description="given to its constructor")
    streams: list[str] | None = Field(None, description="the streams it is shown; all where left out")
    mode: Literal["lossless", "latest"] = Field("lossless", description="every frame, or only the newest")
    every: int = Field(1, ge=1, description="show every n-th frame")
    recycle: Annotated[RecycleConfig, BeforeValidator(_never)] = Field(
        RecycleConfig(chunks=20),
        description="when its process is replaced by a fresh one, or 'never'; after 20 chunks where left out",
        json_schema_extra=_or_never,
    )
    on_failed: Literal["stop", "isolate"] = Field("stop", description="what its final failure means for the run")
    on_error: Literal["fail", "quarantine"] = Field(
        "fail", description="what a frame means that ends its process each time: fail, or go on without the frame"
    )
    escape: Literal["error", "warn"] = Field(
        "error",
        description="what an array kept beyond on_frame means; warn keeps its frame in memory until it is freed",
    )
    trace_malloc: bool = Field(False, description="report the lines of code whose memory grows (slow: tracemalloc)")
    memray: str | None = Field(None, description="a folder into which each process's allocations are recorded")
    deadline: Duration = Field(600 * 10**9, description="how long it may be silent while it has work")

    @field_validator("use", mode="before")
    @classmethod
    def _null_is_a_name(cls, use: object) -> object:
        return "null" if use is None else use  # YAML reads the bare word null as nothing


class RayConfig(_Settings):
    """Which Ray cluster, and what each recording needs of one of its nodes."""

    address: str = Field("auto", description="auto (the cluster that is there), local (one is started), or host:port")
    cpus: float = Field(1, gt=0, description="cores for one recording; also its decoding threads, rounded up")
    memory: Size | None = Field(None, ge=1, description="memory for one; its pool and processes where left out")
    scratch: Size | None = Field(None, ge=1, description="disk for one: of the resource 'scratch', which nodes declare")
    folder: str | None = Field(None, description="a node's own folder for work folders; the shared one where left out")


class Config(_Settings):
    """The whole configuration of a run."""

    source: SourceConfig
    timeline: TimelineConfig = TimelineConfig()
    chunk_size: int = Field(100, ge=1, description="frames a chunk: the unit of commit, replay and recycling")
    pool: Size = Field(512 * 10**6, description="shared memory for decoded frames")
    episodes: EpisodesConfig | None = Field(None, description="how one recording is cut into many episodes")
    quality: QualityConfig | None = Field(None, description="limits by which episodes are judged")
    durable: bool = Field(False, description="bring outputs and ledger to the disk before each commit (slower)")
    workdir: str = Field(".streamer", description="ledger, logs and sockets; relative to this file")
    jobs: int = Field(1, ge=1, description="recordings that are streamed side by side")
    memory: Size | None = Field(None, ge=1, description="what all of them together may use, pools and processes")
    keep_going: bool = Field(True, description="whether the other recordings go on when one has failed")
    engine: Literal["local", "ray"] = Field("local", description="where they are streamed: here, or by a Ray cluster")
    ray: RayConfig = RayConfig()
    free_space: Size = Field(10**9, description="free space below which 'streamer watch' begins no recording")
    http: str | None = Field(
        None,
        pattern=r"^(\[[0-9a-fA-F:]+\]|[\w.-]+):\d{1,5}$",
        description="host:port of the page, the metrics and the status of 'streamer watch'",
    )
    http_token: str | None = Field(None, min_length=16, description="what who asks has to show; needed beyond loopback")
    threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, description="decoding threads")
    types: Annotated[list[str], BeforeValidator(_one_or_many), WithJsonSchema(_MANY_SCHEMA)] = Field(
        default_factory=list, description="folders of .msg or .idl files, or a ROS distribution"
    )
    streams: dict[str, StreamConfig] = Field(min_length=1)
    consumers: dict[str, ConsumerConfig] = Field(min_length=1)

    @field_validator("streams")
    @classmethod
    def _names(cls, streams: dict[str, StreamConfig]) -> dict[str, StreamConfig]:
        for name in streams:
            if name in _RESERVED:
                msg = f"a stream cannot be called {name!r}: timeline.from gives that word another meaning"
                raise ValueError(msg)
        return streams

    @field_validator("consumers")
    @classmethod
    def _plain_names(cls, consumers: dict[str, ConsumerConfig]) -> dict[str, ConsumerConfig]:
        for name in consumers:
            if not _NAME.fullmatch(name):
                msg = f"a consumer's name is up to 64 letters, digits, '_', '-' and '.', which {name!r} is not"
                raise ValueError(msg)
        return consumers

    @model_validator(mode="after")
    def _fits_together(self) -> Config:
        for name, consumer in self.consumers.items():
            for stream in consumer.streams or ():
                if stream not in self.streams:
                    msg = f"consumers.{name}.streams: there is no stream {stream!r}; streams: {', '.join(self.streams)}"
                    raise ValueError(msg)
        named = [("episodes", stream) for stream in (self.episodes.streams() if self.episodes else ())]
        named += [("quality", stream) for stream in (self.quality.named() if self.quality else ())]
        for key, stream in named:
            if stream not in self.streams:
                msg = f"{key}: there is no stream {stream!r}; streams: {', '.join(self.streams)}"
                raise ValueError(msg)
        if self.engine == "local" and "ray" in self.model_fields_set:
            msg = "ray says how a cluster is used: it needs 'engine: ray'"
            raise ValueError(msg)
        for key in ("free_space", "http", "http_token"):
            if key in self.model_fields_set and self.source.watch is None:
                msg = f"{key} is for 'streamer watch': it needs 'source.watch'"
                raise ValueError(msg)
        if all(consumer.mode == "latest" for consumer in self.consumers.values()):
            msg = "consumers: at least one must be 'mode: lossless'; it sets the pace that 'latest' ones follow"
            raise ValueError(msg)
        return self
