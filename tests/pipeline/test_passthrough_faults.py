"""Videos that are copied while processes are killed: every packet once, in order, at its time."""

from __future__ import annotations

import signal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import psutil
import pyarrow.parquet as pq
import pytest

from tests.pipeline.driver import run, start, wait_until
from tests.pipeline.test_passthrough import ENCODERS, FRAMES, check_copy, config_of, record_all

if TYPE_CHECKING:
    from pathlib import Path

CHUNK = 8
CONSUMER, READER, COMMAND = 9, 17, 33  # the second frame of a chunk: where a gate stands while one of them is killed
UNDER_WAY = {"video": "out/.bag.video/part/*.mp4", "lerobot": "out/.shares/*/part/*/*.mp4"}
KEY = "observation.images.front"


def _config(folder: Path, use: str, codecs: list[str], chunks: int) -> tuple[dict[str, Any], dict[str, Any]]:
    path, packets = record_all(folder, codecs)
    own: dict[str, Any] = {"out": "out", "codec": "copy"}
    if use == "lerobot":
        own |= {"task": "x", "features": {f"{KEY}_{codec}": codec for codec in codecs}}
    consumers: dict[str, Any] = {"copy": {"use": use, "options": own, "recycle": {"chunks": chunks}}}
    gates = {"use": "tests.pipeline.probes:Gates", "options": {"at": [CONSUMER, READER, COMMAND]}}
    consumers["gates"] = gates | {"streams": codecs[:1]}
    config = config_of(path, {codec: {"topic": f"/{codec}"} for codec in codecs}, consumers)
    return config | {"chunk_size": CHUNK, "pool": f"{80 + 30 * len(codecs)} kB"}, packets


def _at_the_gate(folder: Path, use: str, at: int) -> None:
    """Wait until the pool holds the copy up within the chunk of a gate."""
    wait_until((folder / f"here-{at}").exists, f"the gate at {at}")
    wait_until(lambda: any(folder.glob(UNDER_WAY[use])), f"the copy under way at {at}")


def _open(folder: Path, at: int) -> None:
    (folder / f"go-{at}").touch()


def _ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(
    ("use", "codecs", "chunks"),
    [
        ("video", ["h264"], 1),
        ("lerobot", ["h264"], 2),
        pytest.param("video", [*ENCODERS], 2, marks=pytest.mark.slow),
        pytest.param("lerobot", [*ENCODERS], 1, marks=pytest.mark.slow),
    ],
)
def test_killed_processes_leave_every_packet_copied_once_at_its_time(
    tmp_path: Path, use: str, codecs: list[str], chunks: int
) -> None:
    config, packets = _config(tmp_path, use, codecs, chunks)
    with start(tmp_path, config) as running:
        _at_the_gate(tmp_path, use, CONSUMER)
        (copying,) = (child for title, child in running.children().items() if title == f"copy.{1 + 1 // chunks}")
        copying.kill()
        wait_until(lambda: _ended(copying), "the consumer's end")
        _open(tmp_path, CONSUMER)
        _at_the_gate(tmp_path, use, READER)
        running.children()["reader"].kill()
        wait_until(lambda: "the reader ended (killed by SIGKILL)" in running.said(), "word of the reader's end")
        _open(tmp_path, READER)
        _at_the_gate(tmp_path, use, COMMAND)
        children = psutil.Process(running.process.pid).children(recursive=True)
        running.process.kill()
        wait_until(lambda: all(map(_ended, children)), "the children's end")
        assert running.end().code == -signal.SIGKILL
    _open(tmp_path, COMMAND)
    done = run(tmp_path, config, "--resume")
    assert done.code == 0, done
    assert done.report["frames"]["delivered"] == FRAMES
    for codec, right in packets.items():
        film = tmp_path / "out" / f"bag.{codec}.mp4"
        if use == "lerobot":
            film = tmp_path / "out" / "videos" / f"{KEY}_{codec}" / "chunk-000" / "file-000.mp4"
        assert check_copy(film, codec, right) == [Fraction(n, 30) for n in range(FRAMES)]
    if use == "lerobot":
        rows = pq.read_table(tmp_path / "out" / "data" / "chunk-000" / "file-000.parquet")
        assert rows["frame_index"].to_pylist() == [*range(FRAMES)]
        assert rows["timestamp"].to_pylist() == pytest.approx([n / 30 for n in range(FRAMES)])
