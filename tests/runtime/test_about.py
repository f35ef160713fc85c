"""What a consumer is told of a recording → the same names and units that the decoder found."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgpack

from streamer.plain import from_plain, to_plain
from streamer.records import Alignment, Decoding, StreamSettings, TimelineSettings
from streamer.runtime.about import AboutRecording, about_recording, alignments, recording_of
from streamer.runtime.prepare import prepare
from streamer.source.source import Source
from streamer.source.types import Types
from tests.bags import SECOND, START, joints, record

if TYPE_CHECKING:
    from pathlib import Path

GRID = TimelineSettings("grid", rate=(10, 1))


def test_names_and_unit_of_a_stream_come_through_the_socket(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", "mcap", joints("/j", [START + n * SECOND // 10 for n in range(5)], "cdr"))
    settings = StreamSettings("arm", ("/j",), decoding=Decoding(field="position"))
    with Source(path, tmp_path / "scratch") as source:
        found = prepare(source, Types([], source.distro, tmp_path), GRID, [settings])
        spec = replace(found.streams[0].spec, names=("waist", "shoulder", "élbow"), unit="rad")
        stream = replace(found.streams[0], spec=spec)
        place = replace(found.layout.places[0], spec=spec)
        told = replace(found, streams=(stream,), layout=replace(found.layout, places=(place,)))
        about = from_plain(
            AboutRecording, msgpack.unpackb(msgpack.packb(to_plain(about_recording(told, "bag", 10, {}))))
        )
        recording, places = recording_of(about)
    assert recording.streams["arm"].names == ("waist", "shoulder", "élbow")
    assert recording.streams["arm"].unit == "rad"
    assert places[0].spec == spec


def test_the_mean_tells_of_how_many_messages_it_is(tmp_path: Path) -> None:
    stamps = [START + n * SECOND // 50 for n in range(50)] + [START + SECOND + n * SECOND // 100 for n in range(100)]
    path = record(tmp_path / "bag", "mcap", joints("/j", stamps, "cdr"))
    how = {"mean": Alignment("mean"), "nearest": Alignment()}
    settings = [StreamSettings(n, ("/j",), decoding=Decoding(field="position"), alignment=a) for n, a in how.items()]
    with Source(path, tmp_path / "scratch") as source:
        found = alignments(prepare(source, Types([], source.distro, tmp_path), GRID, settings))
    assert found["mean"].averaged == (3, 10)  # half a tick at the ends, at 50 Hz and at 100 Hz
    assert found["nearest"].averaged is None
