"""The merging process: a consumer and the recordings that are done → its output, put together from their parts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from streamer.contract import Part
from streamer.runtime import child
from streamer.runtime.durable import Disk
from streamer.runtime.job import MergeJob
from streamer.runtime.messages import Merged
from streamer.runtime.plugin import make_consumer
from streamer.runtime.worker import calling
from streamer.transport import unpack_state

if TYPE_CHECKING:
    from streamer.runtime.channel import Channel


def main(channel: Channel) -> None:
    """Construct the consumer and let it merge."""
    job = channel.receive_one(MergeJob)
    sys.path[:0] = [path for path in job.paths if path not in sys.path]
    parts = [Part(p[0], p[1], unpack_state(p[2]), *p[3:]) for p in job.parts]
    with calling(job, "the constructor"):
        consumer = make_consumer(job.name, job.use, job.options)
    disk = Disk(job.options)
    if job.durable:
        disk.guard()
    consumer.left_out = [part for part in parts if part.name in job.rejected]
    with calling(job, "merge"):
        consumer.merge([part for part in parts if part.name not in job.rejected])
        if job.durable:
            disk.sync()
    channel.send(Merged())


if __name__ == "__main__":
    child.run(main, foreign=True)
