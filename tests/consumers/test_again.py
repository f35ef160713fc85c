"""One consumer that is opened and closed for several recordings, or episodes, in one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from consumers.csv import Csv
from consumers.hdf5 import Hdf5
from consumers.images import Images
from consumers.mcap import Mcap
from consumers.parquet import Parquet
from consumers.points import Points
from consumers.video import Video
from consumers.zarr import Zarr
from tests.consumers.test_arrays import STREAMS, feed
from tests.consumers.test_video import pictures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamer.contract import Consumer

ALOHA: dict[str, str | list[str]] = {"action": "arm", "observations/qpos": "grip"}
BUFFER: dict[str, str | list[str]] = {"img": "head", "action": "arm"}
CONSUMERS: dict[str, Callable[[str], Consumer]] = {
    "csv": Csv,
    "parquet": Parquet,
    "zarr": Zarr,
    "replay_buffer": lambda out: Zarr(out, layout="replay_buffer", features=BUFFER),
    "hdf5": lambda out: Hdf5(out, ALOHA, layout="aloha"),
    "mcap": Mcap,
    "images": Images,
    "points": lambda out: Points(out, format="ply"),
    "video": lambda out: Video(out, layout="grid", overlay=True),
}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("use", CONSUMERS)
def test_what_it_saw_before_leaves_no_trace_in_what_it_writes_next(tmp_path: Path, use: str) -> None:
    fewer = {name: stream for name, stream in STREAMS.items() if name != "count"}
    again = CONSUMERS[use](str(tmp_path / "again"))
    for name, frames, streams in (("a", 10, STREAMS), ("b", 6, fewer), ("c", 0, fewer), ("d", 10, STREAMS)):
        feed(again, name, frames, streams)
        feed(CONSUMERS[use](str(tmp_path / "fresh")), name, frames, streams)
    found, fresh = files(tmp_path / "again"), files(tmp_path / "fresh")
    assert len(found) >= 4
    assert found.keys() == fresh.keys()
    for name, data in found.items():
        if name.endswith(".mp4"):  # of pictures below a macroblock, x264 does not always make the same bytes
            assert np.abs(pictures(tmp_path / "again" / name) - pictures(tmp_path / "fresh" / name)).max() <= 16, name
        else:
            assert data == fresh[name], name
