"""A text in a run: held until the next, in every output that can show it, whatever the chunks are."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr

import streamer
from streamer import inspect
from streamer.inspect.suggestion import suggestion
from tests.bags import FLOAT, START, Message, encoded, record
from tests.pipeline.driver import digests, run

if TYPE_CHECKING:
    from pathlib import Path

STRING = "std_msgs/msg/String"
STEP = 10**8
SAID = {2: "pick the red cup", 7: "", 11: "öffne die Tür — 開ける", 19: "pick the red cup"}
BROKEN = 15  # what is said there is no UTF-8
FRAMES = 24
OUTPUTS = ("stats", "parquet", "csv", "zarr", "preview")


def robot(encoding: str) -> list[Message]:
    found = [Message("/clock", START + n * STEP, encoded(encoding, FLOAT, data=n)) for n in range(FRAMES)]
    for n, text in SAID.items():
        found.append(Message("/says", START + n * STEP - 1, encoded(encoding, STRING, data=text), STRING))
    bad = encoded(encoding, STRING, data="stop").replace(b"stop", b"st\xffp")
    found.append(Message("/says", START + BROKEN * STEP - 1, bad, STRING))
    return sorted(found, key=lambda message: message.stamp)


def expected() -> list[str | None]:
    """Say what holds at each frame, without the package."""
    texts: list[str | None] = []
    for n in range(FRAMES):
        last = max((at for at in (*SAID, BROKEN) if at <= n), default=BROKEN)
        texts.append(None if last == BROKEN else SAID[last])
    return texts


def config(path: Path, **text: Any) -> dict[str, Any]:
    return {
        "source": {"path": str(path)},
        "timeline": {"from": "clock"},
        "chunk_size": 5,
        "streams": {
            "clock": {"topic": "/clock"},
            "says": {"topic": "/says", "missing": "none", "undecodable": "none", **text},
        },
        "consumers": {
            "checksum": {"options": {"out": "digest.json"}, "recycle": {"chunks": 2}},
            **{name: {"options": {"out": "out"}, "recycle": {"chunks": 2}} for name in OUTPUTS},
        },
    }


@pytest.mark.parametrize("form", ["ros1", "mcap"])
def test_a_text_holds_until_the_next_and_stands_in_every_output(tmp_path: Path, form: str) -> None:
    path = record(tmp_path / "take", form, robot("ros1" if form == "ros1" else "cdr"))
    values = config(path)
    finished = run(tmp_path / "a", values)
    assert finished.code == 0, finished
    out = tmp_path / "a/out"
    name = path.stem
    rows = pq.read_table(out / f"{name}.parquet")
    assert rows["says"].to_pylist() == expected()
    assert str(rows.schema.field("says").type) == "string"
    table = list(csv.DictReader((out / f"{name}.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["says"] for row in table] == [text or "" for text in expected()]
    group = zarr.open_group(out / f"{name}.zarr", mode="r")
    lengths, shown = (np.asarray(group[f"says/{key}"]) for key in ("length", "value"))
    found = [bytes(value[:length]).decode() for value, length in zip(shown, lengths, strict=True)]
    assert found == [text or "" for text in expected()]
    stats = json.loads((out / f"{name}.stats.json").read_text())["streams"]["says"]
    assert (stats["kind"], stats["distinct"], stats["none"]) == ("text", 3, expected().count(None))
    assert stats["texts"] == {t: expected().count(t) for t in ("pick the red cup", "öffne die Tür — 開ける", "")}
    assert cv2.imread(str(out / f"{name}.preview.png")) is not None

    values["chunk_size"] = 3
    assert run(tmp_path / "b", values).code == 0
    assert digests(tmp_path / "b/digest.json") == digests(tmp_path / "a/digest.json")

    chunks = streamer.open(tmp_path / "a/config.yaml").chunks()
    assert [frame["says"] for chunk in chunks for frame in chunk] == expected()


def test_a_text_that_is_none_is_an_error_which_names_its_message_unless_it_is_asked_for_otherwise(
    tmp_path: Path,
) -> None:
    path = record(tmp_path / "take", "mcap", robot("cdr"))
    finished = run(tmp_path / "a", config(path, undecodable="error"))
    assert finished.code == 65, finished
    assert "message 3" in finished.err
    assert "field 'data' is no text in UTF-8" in finished.err
    skipped = run(tmp_path / "b", config(path, undecodable="skip"))
    assert skipped.code == 0, skipped
    assert skipped.report["frames"]["skipped"] == {"undecodable says": 4}
    refused = run(tmp_path / "c", config(path, align="linear"))
    assert refused.code == 78
    assert "'linear' is for vectors" in refused.err


def test_init_offers_texts_and_a_description_of_the_robot_is_none(tmp_path: Path) -> None:
    messages = [m for m in robot("cdr") if b"\xff" not in m.data]
    urdf = Message("/robot_description", START, encoded("cdr", STRING, data="<robot/>" * 500), STRING)
    path = record(tmp_path / "take", "mcap", [urdf, *messages])
    with inspect.open_contents(path) as contents:
        found = suggestion(contents)
    assert found.streams["says"] == {"topic": "/says", "align": "previous", "missing": "hold"}
    assert found.kinds["says"] == "text"
    assert "4000 bytes" in found.left_out["/robot_description"]
