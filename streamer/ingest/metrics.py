"""The daemon's snapshot → Prometheus metrics, computed when they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prometheus_client import Metric

    Snapshot = dict[str, Any]
    Rows = Sequence[tuple[tuple[str, ...], float | None]]  # label values, value; None is not shown

_RUN = ("recording", "id")  # two running recordings may have one name


class _FromSnapshot(Collector):
    def __init__(self, newest: Callable[[], Snapshot]) -> None:
        self._newest = newest

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that the registry does not take a snapshot when the daemon starts."""
        return ()

    def collect(self) -> Iterable[Metric]:
        snapshot = self._newest()
        yield from _daemon(snapshot)
        yield from _running(snapshot.get("running", []))


def registry(newest: Callable[[], Snapshot]) -> CollectorRegistry:
    """Return a registry that holds only the snapshot that ``newest`` returns at each scrape."""
    made = CollectorRegistry(auto_describe=False)
    made.register(_FromSnapshot(newest))
    return made


def exposition(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Return all metrics in the format that ``accept`` asks for, and the content type."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _daemon(snapshot: Snapshot) -> Iterator[Metric]:
    memory, state = snapshot.get("memory", {}), snapshot.get("state")
    yield _gauge("build_info", "The version that runs; always 1.", [((snapshot.get("version", ""),), 1)], "version")
    yield _gauge("start_time_seconds", "When the daemon began, in Unix time.", _one(snapshot.get("began")))
    last_scan = _one(snapshot.get("last_scan"))
    yield _gauge("last_scan_timestamp_seconds", "When the folders were last scanned, in Unix time.", last_scan)
    yield _gauge("paused", "Whether no new recording is begun for now.", _one(state == "paused"))
    yield _gauge("draining", "Whether the daemon only finishes what runs.", _one(state == "draining"))
    yield _gauge("warnings", "Warnings that the status page shows.", _one(len(snapshot.get("warnings", []))))
    yield _gauge("jobs", "How many recordings may run side by side.", _one(snapshot.get("jobs")))
    counts = [((name,), count) for name, count in snapshot.get("counts", {}).items()]
    yield _gauge("recordings", "Recordings in the ledger, by state.", counts, "state")
    used = _one(memory.get("used"))
    yield _gauge("memory_bytes", "Anonymous memory of all processes and allocated pages of all pools.", used)
    yield _gauge("memory_budget_bytes", "The budget for that memory.", _one(memory.get("budget")))
    free = [((path,), count) for path, count in snapshot.get("free", {}).items()]
    yield _gauge("free_bytes", "Free space of each file system that is written to.", free, "path")


def _running(running: list[Snapshot]) -> Iterator[Metric]:
    runs = [((run["name"], str(run["id"])), run.get("status") or {}) for run in running]

    def frames(key: str) -> Rows:
        return [(labels, status.get("frames", {}).get(key)) for labels, status in runs]

    def pool(key: str) -> Rows:
        pools = [(labels, status["pool"]) for labels, status in runs if "pool" in status]
        return [(labels, found[key] * found["slot_bytes"]) for labels, found in pools]

    def of_each(group: str, key: str) -> Rows:
        return [((*labels, name), part.get(key)) for labels, s in runs for name, part in s.get(group, {}).items()]

    yield _gauge("frames_done", "Frames done of a running recording.", frames("done"), *_RUN)
    yield _gauge("frames_planned", "Frames that a running recording has.", frames("all"), *_RUN)
    yield _gauge("pool_used_bytes", "Slots of the pool that hold a frame.", pool("in_use"), *_RUN)
    yield _gauge("pool_allocated_bytes", "Slots of the pool that have memory.", pool("allocated"), *_RUN)
    yield _gauge("pool_limit_bytes", "Slots that the pool may have.", pool("most"), *_RUN)
    anon = of_each("memory", "anon")
    yield _gauge("process_anonymous_bytes", "Anonymous memory of a process of a run.", anon, *_RUN, "process")
    behind = of_each("consumers", "behind")
    yield _gauge("consumer_behind_frames", "How far a consumer is behind the first.", behind, *_RUN, "consumer")
    recycled = of_each("consumers", "recycled")
    yield _counter("consumer_recycles", "Planned replacements of a consumer's process.", recycled, *_RUN, "consumer")
    crashed = of_each("consumers", "crashed")
    yield _counter("consumer_crashes", "Crashes of a consumer's process.", crashed, *_RUN, "consumer")
    awaited = [((*labels, s["waits_for"]), 1) for labels, s in runs if s.get("waits_for")]
    yield _gauge("awaited_process_info", "The process that a run waits for; always 1.", awaited, *_RUN, "process")


def _one(value: float | None) -> Rows:
    return [((), value)]


def _gauge(name: str, text: str, rows: Rows, *labels: str) -> Metric:
    return _filled(GaugeMetricFamily(f"streamer_{name}", text, labels=labels), rows)


def _counter(name: str, text: str, rows: Rows, *labels: str) -> Metric:
    return _filled(CounterMetricFamily(f"streamer_{name}", text, labels=labels), rows)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, rows: Rows) -> Metric:
    for labels, value in rows:
        if value is not None:
            # A path that is no valid UTF-8 arrives with surrogates, which cannot be encoded as they are.
            family.add_metric([label.encode(errors="backslashreplace").decode() for label in labels], float(value))
    return family
