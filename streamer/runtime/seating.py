"""What was prepared, and who takes part → the delivery table with everyone in it, and what is remembered of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamer.delivery import Delivery
from streamer.layout import at_once, loading_at_once
from streamer.runtime.about import chunk_starts
from streamer.runtime.peer import Peer

if TYPE_CHECKING:
    from streamer.ledger import Ledger
    from streamer.pool import Pool
    from streamer.runtime.job import ReaderJob
    from streamer.runtime.prepare import Prepared

CREDIT = 8  # frames a consumer may hold at once
_STEP = 32 * 2**20  # bytes that the pool grows by


def make_table(job: ReaderJob, prepared: Prepared, pool: Pool) -> Delivery:
    """Make the table, without any consumer."""
    layout = prepared.layout
    heavy = [stream.repeats for stream in prepared.streams if stream.decoder.kind not in ("vector", "text")]
    window = loading_at_once(layout, job.threads)
    return Delivery(
        prepared.plan.frames,
        chunk_starts(prepared, job.chunk_size),
        pool.ready,
        window=window,
        readahead=window + at_once(layout, CREDIT),
        repeats=np.any(heavy, axis=0).tolist() if heavy else (),
        most=pool.slots,
        step=max(1, _STEP // layout.slot_size),
        firsts=[e.first for e in prepared.episodes] or (0,),
    )


def seat_consumers(
    job: ReaderJob, prepared: Prepared, table: Delivery, ledger: Ledger, recording: int, credit: int
) -> dict[str, Peer]:
    """Give everyone a seat, behind what the ledger says that they have; each may hold ``credit`` frames."""
    peers = {}
    for name, seat in job.consumers.items():
        peers[name] = Peer(name, seat, [prepared.place(name, stream) for stream in seat.streams])
        cursor = ledger.cursor(recording, name)
        table.add(name, cursor=cursor.chunk, done=cursor.closed, latest=seat.latest, every=seat.every, credit=credit)
        ledger.forgive(recording, name)
    for found in ledger.quarantined(recording):
        table.leave_out(found.consumer, found.frame)
    return peers
