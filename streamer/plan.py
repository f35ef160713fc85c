"""Stamps of the streams × ticks → the plan: which messages make each sample, and how far off.

Pure numpy on int64 nanoseconds; nothing here knows of chunks, so a plan cannot depend on their size. An
hour of a 1 kHz stream is millions of ticks, so they are worked on in pieces: what is computed on the way
stays small, and what a stream does not need (a second message, a weight) takes no memory.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.errors import RecordingError
from streamer.records import Flag, Plan, StreamPlan
from streamer.stamps import nearest, own_period
from streamer.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from streamer.records import Alignment, Track

    Stamps = NDArray[np.int64]
    Compute = Callable[[Stamps], Track]
    _Chosen = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]

_PIECE = 1 << 16  # ticks that are worked on at once
_MISSING = (
    "say what to do with 'missing: skip' (leave the frames out), 'none' (None there) or 'hold' (the value before)"
)


def make_plan(
    ticks: Stamps, streams: Mapping[str, tuple[Stamps, Alignment]], computed: Mapping[str, Compute] | None = None
) -> Plan:
    """Lay every stream against the ticks; ticks that a stream says to skip become no frames.

    A stream in ``computed`` is made of no single message: ``first`` of its plan counts the ticks of the timeline, which
    are the rows of what its function returns for `sample_instants`.

    Raises:
        RecordingError: a tick has no sample of a stream that does not say what to do then.

    """
    keep = np.ones(len(ticks), bool)
    skipped: Counter[str] = Counter()
    aligned = []
    for name, (stamps, how) in streams.items():
        instants, beyond = sample_instants(ticks, stamps, how)
        if beyond is not None:
            skipped[f"at {name}"] += int(np.count_nonzero(beyond & keep))
            keep &= ~beyond
        lay = partial(_follow, track=computed[name](instants)) if computed and name in computed else _align
        stream, missing = lay(name, instants, stamps, how)
        if beyond is not None:
            missing &= ~beyond
        if how.missing == "error" and missing.any():
            raise RecordingError(_complaint(instants, stamps, how, missing), stream=name, hint=_MISSING)
        if how.missing == "skip":
            skipped[f"missing {name}"] += int(np.count_nonzero(missing & keep))
            keep &= ~missing
        aligned.append(stream)
    numbers = np.flatnonzero(keep)
    if len(numbers) < len(ticks):
        aligned = [_take(aligned.pop(0), numbers) for _ in range(len(aligned))]  # the old one goes as the new one comes
    return Plan(
        ticks[numbers] if len(numbers) < len(ticks) else ticks,
        numbers,
        len(ticks),
        {reason: count for reason, count in skipped.items() if count},
        tuple(_mark_repeats(stream) for stream in aligned),
    )


def sample_instants(ticks: Stamps, stamps: Stamps, how: Alignment) -> tuple[Stamps, NDArray[np.bool_] | None]:
    """Return when each tick's sample is taken, and for which ticks that is beyond the data: no frame can be there.

    Beyond are the ticks that have no tick ``at_ticks`` later, and those whose instant lies outside the stream's stamps,
    unless its last value holds for ever.
    """
    if not how.at and not how.at_ticks:
        return ticks, None
    numbers = np.arange(len(ticks)) + how.at_ticks
    beyond = (numbers < 0) | (numbers >= len(ticks))
    instants = ticks[np.clip(numbers, 0, max(len(ticks) - 1, 0))] + how.at
    if how.at and len(stamps) and not how.endless:
        beyond |= (instants < stamps[0]) | (instants > stamps[-1])
    return instants, beyond


def _align(name: str, instants: Stamps, stamps: Stamps, how: Alignment) -> tuple[StreamPlan, NDArray[np.bool_]]:
    """Lay one stream against the instants; return its plan and where it has no sample within tolerance."""
    count = len(instants)
    first = np.empty(count, np.int32)
    second = first if how.align in ("nearest", "previous") else np.empty(count, np.int32)
    weight = np.empty(count) if how.align == "linear" else _nothing(count)
    plan = StreamPlan(
        name, first, second, weight, np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.uint8)
    )
    missing = np.empty(count, bool)
    reach = own_period(instants) * 3 // 4
    turns = _turns(instants, how.at_ticks)
    for start in range(0, count, _PIECE):
        piece = slice(start, start + _PIECE)
        mean = how.align == "mean"
        own_turns = None if turns is None else turns[:, piece]
        chosen = (
            _average(instants, piece, stamps, reach) if mean else _choose(instants[piece], stamps, how.align, own_turns)
        )
        part, missing[piece] = _align_piece(name, instants[piece], stamps, how, chosen)
        plan.first[piece], plan.stamp[piece], plan.offset[piece] = part.first, part.stamp, part.offset
        plan.flags[piece] = part.flags
        if second is not first:
            plan.second[piece] = part.second
        if how.align == "linear":
            plan.weight[piece] = part.weight
    return plan, missing


def _follow(
    name: str, instants: Stamps, stamps: Stamps, how: Alignment, track: Track
) -> tuple[StreamPlan, NDArray[np.bool_]]:
    """Make the plan of a computed stream; the rows that count are numbered as the instants are."""
    missing = ~track.found
    if how.tolerance is not None:
        missing |= np.abs(track.offset) > how.tolerance
    rows = np.where(missing, -1, np.arange(len(instants)))
    offset = np.where(missing, 0, track.offset)
    flags = np.where(track.between & ~missing, np.uint8(Flag.INTERPOLATED), np.uint8(0))
    if how.missing == "hold" and not missing.all():
        held = np.maximum.accumulate(rows)
        held[held < 0] = np.argmax(~missing)
        offset = np.where(missing, instants[held] - instants, offset)
        rows = held
        flags[missing] |= np.uint8(Flag.HELD)
    if how.gap is not None and len(stamps):
        flags[_in_gap(instants, stamps, how.gap)] |= np.uint8(Flag.GAP)
    stamp = np.where(track.between & ~missing, instants, instants + offset)
    first = rows.astype(np.int32)
    return StreamPlan(name, first, first, _nothing(len(instants)), stamp, offset, flags), missing


def _nothing(count: int) -> NDArray[np.float64]:
    """Return zeros that take no memory; they cannot be written to."""
    return np.broadcast_to(np.float64(0.0), count)


def _align_piece(
    name: str, ticks: Stamps, stamps: Stamps, how: Alignment, chosen: _Chosen
) -> tuple[StreamPlan, NDArray[np.bool_]]:
    first, second, weight = chosen
    mean = how.align == "mean"
    found = first >= 0
    near = np.where(weight > 0.5, second, first)
    if mean and len(stamps):
        near = np.clip(nearest(stamps, ticks), first, second)
    if len(stamps) == 0:
        offset = np.zeros(len(ticks), np.int64)
        missing = np.ones(len(ticks), bool)
    else:
        offset = np.where(found, stamps[near] - ticks, 0)
        worst = np.abs(offset) if mean else np.maximum(np.abs(stamps[first] - ticks), np.abs(stamps[second] - ticks))
        missing = ~found if how.tolerance is None else ~found | (worst > how.tolerance)
    flags = np.zeros(len(ticks), np.uint8)
    if missing.any():
        first, second, weight, offset = _fill(ticks, stamps, how, missing, (first, second, weight, offset))
        flags[missing & (first >= 0)] |= np.uint8(Flag.HELD)
    flags[(second != first) & ((weight > 0) | mean)] |= np.uint8(Flag.INTERPOLATED)
    if how.gap is not None:
        flags[_in_gap(ticks, stamps, how.gap)] |= np.uint8(Flag.GAP)
    interpolated = flags & np.uint8(Flag.INTERPOLATED) != 0
    stamp = np.where(interpolated, ticks, ticks + offset)
    plan = StreamPlan(name, first.astype(np.int32), second.astype(np.int32), weight, stamp, offset, flags)
    return plan, missing


def _average(instants: Stamps, piece: slice, stamps: Stamps, reach: int) -> _Chosen:
    """Return the first and the last message of each instant's interval; -1 where there is none.

    An interval goes half the way to the neighbouring instants, so that every message counts once; beside a gap and at
    the ends it goes as far as on the other side, and never further than ``reach``.
    """
    here = instants[piece]
    start = piece.start
    before = here - instants[np.maximum(np.arange(start, start + len(here)) - 1, 0)]
    after = instants[np.minimum(np.arange(start, start + len(here)) + 1, len(instants) - 1)] - here
    before, after = np.where(before > 0, before, after), np.where(after > 0, after, before)
    low = np.searchsorted(stamps, here - np.minimum(before - before // 2, reach))
    high = np.searchsorted(stamps, here + np.minimum(after // 2, reach)) - 1
    found = high >= low
    return np.where(found, low, -1), np.where(found, high, -1), np.zeros(len(here))


def _turns(instants: Stamps, at_ticks: int) -> NDArray[np.int64] | None:
    """Return how many equal instants lie before and behind each, (2, n); None where all differ.

    Those that have no tick ``at_ticks`` later only repeat the first or the last, and take nobody's turn.
    """
    own = slice(max(-at_ticks, 0), max(len(instants) - at_ticks, 0))
    new = instants[own][1:] != instants[own][:-1]
    if new.all():
        return None
    group = np.concatenate([[0], np.cumsum(new)])
    sizes = np.bincount(group)
    begins = np.cumsum(sizes) - sizes
    turns = np.zeros((2, len(instants)), np.int64)
    turns[0, own] = np.arange(len(group)) - begins[group]
    turns[1, own] = sizes[group] - 1 - turns[0, own]
    return turns


def _choose(ticks: Stamps, stamps: Stamps, align: str, turns: NDArray[np.int64] | None) -> _Chosen:
    """Return first message, second message and the share of the second, for each tick.

    Equal ticks take the messages with just that stamp in ``turns``.

    Raises:
        ValueError: ``align`` is not one of nearest, previous and linear.

    """
    weight = np.zeros(len(ticks))
    if len(stamps) == 0:
        none = np.full(len(ticks), -1, np.int64)
        return none, none, weight
    if align == "nearest":
        first = nearest(stamps, ticks)
        if turns is not None:
            last = np.searchsorted(stamps, ticks, side="right") - 1
            first = np.where(stamps[first] == ticks, np.minimum(first + turns[0], last), first)
        return first, first, weight
    before = np.searchsorted(stamps, ticks, side="right") - 1
    if turns is not None:
        before = np.maximum(before - turns[1], np.minimum(np.searchsorted(stamps, ticks), before))
    if align == "previous":
        return before, before, weight
    if align != "linear":
        msg = f"a stream that is aligned {align!r} cannot be planned"
        raise ValueError(msg)
    first = np.clip(before, 0, None)
    second = np.where(before < 0, 0, np.clip(before + 1, None, len(stamps) - 1))
    span = stamps[second] - stamps[first]
    np.divide(ticks - stamps[first], span, out=weight, where=span > 0)
    second = np.where(weight > 0, second, first)
    return first, second, weight


def _fill(
    ticks: Stamps,
    stamps: Stamps,
    how: Alignment,
    missing: NDArray[np.bool_],
    chosen: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], Stamps],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], Stamps]:
    """Say what stands where a stream has no sample: nothing, or an older value."""
    first, second, weight, offset = chosen
    if how.missing == "hold" and len(stamps):
        held = np.clip(np.searchsorted(stamps, ticks, side="right") - 1, 0, None)
        first = np.where(missing, held, first)
        offset = np.where(missing, stamps[first] - ticks, offset)
    else:
        first = np.where(missing, -1, first)
        offset = np.where(missing, 0, offset)
    return first, np.where(missing, first, second), np.where(missing, 0.0, weight), offset


def _complaint(ticks: Stamps, stamps: Stamps, how: Alignment, missing: NDArray[np.bool_]) -> str:
    count = int(np.count_nonzero(missing))
    at = int(ticks[np.argmax(missing)])
    when = show_duration(at - int(ticks[0]))
    if len(stamps) == 0:
        why = "its topic has no message"
    elif how.align == "previous" and at < stamps[0]:
        why = f"its first message comes {show_duration(int(stamps[0]) - at)} later"
    else:
        why = f"the nearest message is {show_duration(int(np.abs(stamps - at).min()))} off"
        why += "" if how.tolerance is None else f", tolerance is {show_duration(how.tolerance)}"
    return f"no sample for {count} of {len(ticks)} ticks, first {when} after the first tick: {why}"


def _in_gap(ticks: Stamps, stamps: Stamps, gap: int) -> NDArray[np.bool_]:
    """Tell which ticks lie between neighbouring messages that are more than ``gap`` apart."""
    if len(stamps) == 0:
        return np.ones(len(ticks), bool)
    after = np.searchsorted(stamps, ticks)
    following, preceding = stamps[np.minimum(after, len(stamps) - 1)], stamps[np.maximum(after - 1, 0)]
    distance = np.where(after == 0, following - ticks, np.where(after == len(stamps), ticks, following) - preceding)
    in_gap: NDArray[np.bool_] = (distance > gap) & ~((after < len(stamps)) & (following == ticks))
    return in_gap


def _take(stream: StreamPlan, numbers: NDArray[np.int64]) -> StreamPlan:
    first = stream.first[numbers]
    several = stream.second is not stream.first
    return StreamPlan(
        stream.name,
        first=first,
        second=stream.second[numbers] if several else first,
        weight=stream.weight[numbers] if stream.weight.flags.writeable else _nothing(len(numbers)),
        stamp=stream.stamp[numbers],
        offset=stream.offset[numbers],
        flags=stream.flags[numbers],
    )


def _mark_repeats(stream: StreamPlan) -> StreamPlan:
    """Flag the samples that show the same message as the frame before."""
    same = (stream.first[1:] == stream.first[:-1]) & (stream.first[1:] >= 0)
    same &= (stream.second[1:] == stream.first[1:]) & (stream.second[:-1] == stream.first[:-1])
    stream.flags[1:][same] |= np.uint8(Flag.HELD)
    return stream


def join(plans: Sequence[Plan], counts: Sequence[Mapping[str, int]]) -> Plan:
    """Put the plans of a recording's passes one behind the other; ``counts`` are the messages of each pass by stream.

    Between two passes a tick is left out, so that whoever needs an unbroken timeline sees the break.
    """
    skipped: Counter[str] = Counter()
    numbers, streams = [], []
    before: Counter[str] = Counter()
    planned = -1
    for plan, messages in zip(plans, counts, strict=True):
        skipped.update(plan.skipped)
        numbers.append(plan.numbers + planned + 1)
        streams.append([_moved(stream, before[stream.name]) for stream in plan.streams])
        planned += plan.planned + 1
        before.update(messages)
    skipped["reset of the clock"] = len(plans) - 1
    return Plan(
        np.concatenate([plan.ticks for plan in plans]),
        np.concatenate(numbers),
        planned,
        dict(skipped),
        tuple(_concatenate(parts) for parts in zip(*streams, strict=True)),
    )


def join_episodes(plans: Sequence[Plan], counts: Sequence[Mapping[str, int]]) -> Plan:
    """Put the plans of a recording's episodes one behind the other; each counts its ticks from 0 on.

    ``counts`` are how many messages each episode has by stream (of a computed stream: ticks).
    """
    skipped: Counter[str] = Counter()
    before: Counter[str] = Counter()
    streams = []
    for plan, messages in zip(plans, counts, strict=True):
        skipped.update(plan.skipped)
        streams.append([_moved(stream, before[stream.name]) for stream in plan.streams])
        before.update(messages)
    return Plan(
        np.concatenate([plan.ticks for plan in plans]),
        np.concatenate([plan.numbers for plan in plans]),
        sum(plan.planned for plan in plans),
        dict(skipped),
        tuple(_concatenate(parts) for parts in zip(*streams, strict=True)),
    )


def _moved(stream: StreamPlan, by: int) -> StreamPlan:
    """Count a stream's messages from ``by`` on."""
    first = np.where(stream.first < 0, stream.first, stream.first + np.int32(by))
    second = np.where(stream.second < 0, stream.second, stream.second + np.int32(by))
    return replace(stream, first=first, second=first if stream.second is stream.first else second)


def _concatenate(parts: Sequence[StreamPlan]) -> StreamPlan:
    first = np.concatenate([part.first for part in parts])
    same = all(part.second is part.first for part in parts)
    columns = {c: np.concatenate([getattr(p, c) for p in parts]) for c in ("weight", "stamp", "offset", "flags")}
    return StreamPlan(
        parts[0].name,
        first=first,
        second=first if same else np.concatenate([part.second for part in parts]),
        **columns,
    )


def digest(plan: Plan, settings: str, chunk_size: int) -> str:
    """Return what a resumed run must find again: the frames, how they are decoded, the chunks."""
    total = hashlib.sha256(f"{settings}\n{chunk_size}\n".encode())
    columns: list[tuple[bytes, NDArray[Any]]] = [(b"", plan.ticks)]
    for stream in plan.streams:
        columns += [(stream.name.encode(), stream.first), (b"", stream.second), (b"", stream.weight)]
    for name, column in columns:
        total.update(name)
        for start in range(0, len(column), _PIECE):
            total.update(np.ascontiguousarray(column[start : start + _PIECE]).data)
    return total.hexdigest()
