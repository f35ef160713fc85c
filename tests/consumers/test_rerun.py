"""Rerun's recordings, read again by Rerun itself."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from consumers.rerun import Rerun
from streamer.contract import Outlook, StreamInfo
from streamer.errors import ConfigError
from tests.consumers import test_mcap
from tests.consumers.test_arrays import ARM, HEAD, STREAMS, TICKS, WITHOUT, recording
from tests.consumers.test_folders import METRES, MILLIMETRES, POSE

if TYPE_CHECKING:
    from pathlib import Path

chunks: Any = pytest.importorskip("rerun.chunk", reason="its extra is large, and no part of [all]")
POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<f4")])


def cloud(n: int) -> Any:
    found = np.zeros(n % 4, POINT)
    found["x"], found["z"] = np.arange(n % 4), n
    found["rgb"] = np.full(n % 4, 0x00_FF_80_01, np.uint32).view(np.float32)
    return found


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show clouds that are in space."""
    streams = test_mcap.SHOWN | {"cloud": StreamInfo("cloud", "/c", "x", "points", (3,), POINT, variable=True)}
    values = test_mcap.values
    monkeypatch.setattr(test_mcap, "SHOWN", streams)
    monkeypatch.setattr(test_mcap, "values", lambda n: values(n) | {"cloud": cloud(n)})


def rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return what was logged to each entity, as Rerun reads it, in the order of ticks."""
    found: dict[str, list[dict[str, Any]]] = {}
    for chunk in chunks.RrdReader(path).stream():
        found.setdefault(chunk.entity_path, []).extend(chunk.to_record_batch().to_pylist())
    return {name: sorted(lines, key=lambda line: str(line.get("tick"))) for name, lines in found.items()}


def component(lines: list[dict[str, Any]], name: str) -> list[Any]:
    return [value for line in lines for key, value in line.items() if key.endswith(name) and value is not None]


@pytest.mark.usefixtures("shown")
def test_rerun_reads_every_value_at_its_tick(tmp_path: Path) -> None:
    test_mcap.show(Rerun(str(tmp_path), pictures="raw"))  # type: ignore[arg-type] # it is led in the same way
    assert sorted(path.name for path in tmp_path.iterdir()) == ["take.rrd", "take.rrd.json"]
    found = rows(tmp_path / "take.rrd")
    arm = found["/arm"]
    assert [line["tick"].value for line in arm if line.get("tick") is not None] == TICKS.tolist()
    assert {line["stamp"].value - line["tick"].value for line in arm if line.get("tick") is not None} == {7}
    assert component(arm, ":scalars") == ARM.tolist()
    assert component(arm, ":names") == [["waist", "wrist"]]
    assert component(found["/count"], ":scalars") == [[n] for n in range(10) if n != WITHOUT]
    for entity, source in (("/head", HEAD), ("/depth", MILLIMETRES), ("/far", METRES)):
        seen = component(found[entity], ":buffer")
        assert [bytes(one[0]) for one in seen] == [source[n].tobytes() for n in range(10)]
    assert component(found["/depth"], ":meter") == [[1000.0]] * 10
    assert component(found["/say"], ":text") == [[f"{n} – ü"] for n in range(10)]
    assert np.allclose(component(found["/base"], ":translation"), POSE[:, None, :3])
    positions = component(found["/cloud"], ":positions")
    assert [len(one) for one in positions] == [n % 4 for n in range(10)]
    assert positions[3] == [[0, 0, 3], [1, 0, 3], [2, 0, 3]]
    assert component(found["/cloud"], ":colors")[1] == [0xFF_80_01_FF]
    about = json.loads((tmp_path / "take.rrd.json").read_text())
    assert (about["frames"], about["provenance"]["fingerprint"]) == (10, "take")


@pytest.mark.usefixtures("shown")
def test_its_views_are_laid_out_one_for_each_camera_and_vector_and_one_in_space(tmp_path: Path) -> None:
    test_mcap.show(Rerun(str(tmp_path)), 3)  # type: ignore[arg-type] # it is led in the same way
    reader = chunks.RrdReader(tmp_path / "take.rrd")
    (entry,) = reader.blueprints()
    logged = [chunk.to_record_batch().to_pylist()[0] for chunk in reader.stream(store=entry)]
    views = {
        row["ViewBlueprint:display_name"][0]: row["ViewBlueprint:class_identifier"][0]
        for row in logged
        if row.get("ViewBlueprint:class_identifier")
    }
    curves = dict.fromkeys(("arm", "base", "count", "never", "on", "ranges"), "TimeSeries")
    pictures = dict.fromkeys(("head", "depth", "far", "gray"), "2D")
    assert views == curves | pictures | {"space": "3D", "texts": "TextLog"}
    assert ["/cloud/**", "/base/**"] in [row.get("ViewContents:query") for row in logged]


@pytest.mark.usefixtures("shown")
def test_cameras_are_jpeg_and_a_cloud_that_is_in_no_space_is_refused(tmp_path: Path) -> None:
    pil: Any = pytest.importorskip("PIL.Image")
    test_mcap.show(Rerun(str(tmp_path)), 3)  # type: ignore[arg-type] # it is led in the same way
    (blob, *_) = component(rows(tmp_path / "take.rrd")["/head"], ":blob")
    assert np.asarray(pil.open(io.BytesIO(bytes(blob[0])))).shape == (4, 6, 3)
    outlook = Outlook(recording("take", 3, {"cloud": STREAMS["cloud"]}), TICKS[:3], np.arange(3), {})
    with pytest.raises(ConfigError, match="its points have no x, y and z, but x, ring"):
        Rerun(str(tmp_path)).check(outlook)
