"""A recording → joint positions at 10 Hz as Parquet, with rosbags: ``python table.py RECORDING OUT``."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rosbags.highlevel import AnyReader

TOPICS, HZ = ("/joints_0", "/joints_1"), 10

with AnyReader([Path(sys.argv[1])]) as reader:
    connections = [c for c in reader.connections if c.topic in TOPICS]
    stamps: dict[str, list[int]] = {topic: [] for topic in TOPICS}
    values: dict[str, list[Any]] = {topic: [] for topic in TOPICS}
    names: dict[str, list[str]] = {}
    for connection, stamp, raw in reader.messages(connections):
        message: Any = reader.deserialize(raw, connection.msgtype)
        stamps[connection.topic].append(stamp)
        values[connection.topic].append(message.position)
        names[connection.topic] = message.name

begin, end = max(found[0] for found in stamps.values()), min(found[-1] for found in stamps.values())
ticks = np.arange(begin, end, 10**9 // HZ)
columns = {"tick": pa.array(ticks, pa.timestamp("ns"))}
for topic in TOPICS:
    times = np.array(stamps[topic])
    after = np.searchsorted(times, ticks).clip(1, len(times) - 1)
    nearest = after - (ticks - times[after - 1] <= times[after] - ticks)
    rows = np.array(values[topic])[nearest]
    columns |= {f"{topic[1:]}.{name}": pa.array(rows[:, n]) for n, name in enumerate(names[topic])}
pq.write_table(pa.table(columns), sys.argv[2])
