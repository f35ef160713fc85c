"""A configuration, or what the processes of a pipeline held → the memory that one recording is taken to need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamer.config.load import Loaded

_PROCESS = 100 * 10**6  # bytes: what a process is taken to hold until some pipelines have shown what theirs do


def needed(loaded: Loaded) -> int:
    """Return the bytes that one pipeline is taken to need: its pool, its supervisor, reader and consumers."""
    config = loaded.config
    consumers = [max(_PROCESS, consumer.recycle.memory or 0) for consumer in config.consumers.values()]
    return config.pool + 2 * _PROCESS + sum(consumers)


def held(values: dict[str, Any] | None) -> int:
    """Return the most that the processes of a pipeline have held together, in bytes, by its part of the report."""
    if not values or "earlier" in values:  # it had ended already, and only its word was lost
        return 0
    memory: list[float] = [values["supervisor"]["memory"]["peak_mb"], values["reader"]["anon_mb"]["peak"]]
    memory += [consumer["anon_mb"]["peak"] for consumer in values["consumers"].values()]
    return round(sum(memory) * 10**6)
