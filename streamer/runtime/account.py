"""What the reader knows → what it tells the supervisor: the plan, how far everyone is, and how it went."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from streamer.memory import anonymous
from streamer.runtime.about import alignments, told_episodes
from streamer.runtime.messages import Anonymous, Planned, Position, Progress, Quarantined, Shown, Streamed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamer.delivery import Delivery
    from streamer.ledger import Ledger
    from streamer.pool import Pool
    from streamer.runtime.job import ReaderJob
    from streamer.runtime.peer import Peer
    from streamer.runtime.prepare import Prepared


class Account:
    """The accounts of one session."""

    def __init__(
        self,
        job: ReaderJob,
        prepared: Prepared,
        pool: Pool,
        table: Delivery,
        ledger: Ledger,
        recording: int,
        peers: Mapping[str, Peer],
    ) -> None:
        """Begin to measure."""
        self._job = job
        self._prepared = prepared
        self._pool = pool
        self._table = table
        self._ledger = ledger
        self._recording = recording
        self._peers = peers
        self._began = time.monotonic()
        self._start = self._peak = anonymous()

    def planned(self, opened: float) -> Planned:
        """Tell what will be streamed; ``opened`` is when opening began, in seconds since the epoch."""
        prepared, plan = self._prepared, self._prepared.plan
        return Planned(
            frames=plan.frames,
            planned=plan.planned,
            chunks=self._table.chunks,
            skipped=dict(plan.skipped),
            slot_size=prepared.layout.slot_size - prepared.layout.later,
            slots=self._pool.slots,
            pool=self._job.pool,
            warnings=prepared.warnings,
            damage=prepared.source.damage,
            files={name: identity.wire for name, identity in prepared.source.identities.items()},
            seconds=dict(prepared.seconds),
            streams=alignments(prepared),
            cursors={name: self._table.cursor(name) for name in self._peers},
            done=tuple(name for name in self._peers if self._table.is_done(name)),
            opened=opened,
            episodes=told_episodes(prepared, self._job.name),
        )

    def progress(self, now: float) -> Progress:
        """Tell how far everyone is at the monotonic time ``now``."""
        used = anonymous()
        self._peak = max(self._peak, used)
        consumers = {
            name: Position(
                self._table.position(name),
                self._table.cursor(name),
                self._table.holds(name),
                now - peer.heard if self._table.owes(name) else 0.0,
            )
            for name, peer in self._peers.items()
        }
        return Progress(
            consumers,
            reached=self._table.reached(),
            slots=self._table.slots_in_use,
            allocated=self._table.slots,
            bytes=self._table.loads * self._prepared.layout.slot_size,
            anon=used,
        )

    def streamed(self, rejected: int) -> Streamed:
        """Tell how the session went; so many messages were ``rejected``."""
        skips = self._ledger.skips(self._recording)
        reached = self._table.secured()
        layout = self._prepared.layout
        return Streamed(
            finished=self._table.finished,
            reached=reached,
            skipped=dict(Counter(skips.values())),
            skipped_reached=dict(Counter(reason for frame, reason in skips.items() if frame < reached)),
            consumers={name: self._shown(name, set(skips)) for name in self._peers},
            quarantined=tuple(Quarantined(*found) for found in self._ledger.quarantined(self._recording)),
            loads=self._table.loads,
            rejected=rejected,
            blocks=self._prepared.source.blocks_loaded,
            pool_peak=min(self._table.peak_slots * layout.slot_size, self._pool.allocated),
            pool_allocated=self._pool.allocated,
            stream_seconds=time.monotonic() - self._began,
            anon=Anonymous(self._start, self._peak, anonymous()),
        )

    def _shown(self, name: str, skips: set[int]) -> Shown:
        """Count the frames and chunks that a consumer has had, in this run and those that it continues."""
        seat = self._peers[name].seat
        position = self._table.position(name)
        kept_from = {q.frame for q in self._ledger.quarantined(self._recording) if q.consumer == name}
        skips = skips | {frame for frame in kept_from if self._table.due(seat.every, frame)}
        if seat.latest:
            frames = self._table.sent(name)
        else:
            due = self._table.due
            frames = self._table.due_before(seat.every, position)
            frames -= sum(f < position and due(seat.every, f) for f in skips)
        return Shown(frames, self._table.cursor(name))
