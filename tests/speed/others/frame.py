"""A recording → joint positions at 10 Hz as Parquet, with rosbags-dataframe: ``python frame.py RECORDING OUT``."""

import sys
from pathlib import Path

import pandas as pd
from rosbags.dataframe import get_dataframe
from rosbags.highlevel import AnyReader

TOPICS = ("/joints_0", "/joints_1")

tables = []
with AnyReader([Path(sys.argv[1])]) as reader:
    for topic in TOPICS:
        found = get_dataframe(reader, topic, ["name", "position"])
        names = [f"{topic[1:]}.{name}" for name in found["name"].iloc[0]]
        tables.append(pd.DataFrame(found["position"].tolist(), found.index, names))

begin, end = max(table.index[0] for table in tables), min(table.index[-1] for table in tables)
ticks = pd.DataFrame({"tick": pd.date_range(begin, end, freq="100ms", unit="ns")})
for table in tables:
    ticks = pd.merge_asof(ticks, table, left_on="tick", right_index=True, direction="nearest")
ticks.to_parquet(sys.argv[2])
