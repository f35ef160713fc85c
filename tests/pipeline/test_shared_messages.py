"""Streams that are made of one message, through kills and replacements: what each shows is the same as undisturbed."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import simplejpeg

from tests.bags import record
from tests.pipeline.driver import digests, run, start, wait_until
from tests.pipeline.test_edges import linked
from tests.runtime.test_sharing import SETS, robot

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ALIKE = {f"{chosen} {name}".replace(" ", "_"): stream for chosen in SETS for name, stream in SETS[chosen].items()}


def config(path: Path, **more: Any) -> dict[str, Any]:
    checksum = {"use": "checksum", "options": {"out": "digest.json"}, "recycle": {"chunks": 2}}
    found: dict[str, Any] = {
        "source": {"path": str(path)},
        "timeline": {"from": "clock"},
        "chunk_size": 2,
        "pool": "2 MB",
        "streams": {"clock": {"topic": "/joints", "field": "velocity"}, **ALIKE},
        "consumers": {"checksum": checksum},
    }
    return found | more


def cut(pictures: dict[int, NDArray[Any]], x: int, y: int, width: int, height: int) -> str:
    cuts = {stamp: np.ascontiguousarray(p[y : y + height, x : x + width]) for stamp, p in pictures.items()}
    return linked((stamp, stamp, array) for stamp, array in cuts.items())


def test_what_streams_share_is_the_same_through_kills_and_replacements(tmp_path: Path) -> None:
    path = record(tmp_path / "take", "mcap-message", robot())
    assert run(tmp_path / "a", config(path)).code == 0
    found = digests(tmp_path / "a/digest.json")
    jpegs = {m.stamp: m.data[m.data.index(b"\xff\xd8") :] for m in robot() if m.topic == "/cam"}
    # the last ticks have no next picture, nor joints that are 30 ms later
    pictures = {stamp: simplejpeg.decode_jpeg(data) for stamp, data in list(jpegs.items())[: found["frames"]]}
    assert found["frames"] == len(jpegs) - 2
    assert found["streams"]["two_crops_left"] == cut(pictures, 0, 0, 64, 96)
    assert found["streams"]["two_crops_right"] == cut(pictures, 64, 0, 64, 96)
    assert found["streams"]["crop_and_whole_cut"] == cut(pictures, 5, 3, 50, 40)
    assert found["streams"]["crop_and_whole_whole"] == cut(pictures, 0, 0, 128, 96)

    killed = {"use": "tests.pipeline.probes:Faulty", "options": {"how": "kill", "at": 5}}
    values = config(path, chunk_size=3, threads=1)
    values["consumers"]["bad"] = {**killed, "on_failed": "isolate"}
    run(tmp_path / "b", values)
    assert digests(tmp_path / "b/digest.json") == found

    values = config(path, pool="1 MB")
    values["consumers"]["gate"] = {"use": "tests.pipeline.probes:Gate", "options": {"folder": str(tmp_path), "at": 6}}
    with start(tmp_path / "c", values) as running:
        wait_until((tmp_path / "here").exists)
        reader = running.children()["reader"]
        reader.send_signal(signal.SIGKILL)
        wait_until(lambda: running.children().get("reader", reader) != reader)
        (tmp_path / "go").touch()
        assert running.end().code == 0
    assert digests(tmp_path / "c/digest.json") == found
