"""Elements by name, from the configuration to the outputs, in real runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import zarr

from tests import joints
from tests.bags import JOINTS, START, Message, encoded, header, record
from tests.pipeline.driver import run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

STATES = "/joint_states"
ARM = [f"left_arm_{n}" for n in range(6)]


def config(path: str, stream: dict[str, Any], consumers: dict[str, Any]) -> dict[str, Any]:
    return {
        "source": {"path": path},
        "timeline": {"from": "arm", "end": "timeline"},
        "chunk_size": 10,
        "pool": "20 MB",
        "streams": {"arm": {"topic": STATES, "field": "position"} | stream},
        "consumers": consumers,
    }


def table(path: Path, names: Sequence[str]) -> NDArray[np.float64]:
    columns = pq.read_table(path)
    return np.stack([columns[f"arm.{name}"].to_numpy() for name in names], axis=1)


def states(path: Path, names: Sequence[str], count: int = 25) -> Path:
    values = {name: float(n) for n, name in enumerate(sorted(names))}
    data = [values[name] for name in names]
    stamps = [START + n * 10**7 for n in range(count)]
    return record(
        path,
        "mcap",
        [
            Message(STATES, s, encoded("cdr", JOINTS, header=header(s), name=names, position=data), JOINTS)
            for s in stamps
        ],
    )


def test_one_of_two_arms_on_a_topic_is_streamed_by_name_and_both_are_refused(tmp_path: Path) -> None:
    joints.write(tmp_path, joints.two_arms, "mcap")
    out = {"parquet": {"options": {"out": "out"}}}
    refused = run(tmp_path, config("two_arms", {}, out))
    assert refused.code == 78, refused
    assert "20 of 40 messages have other names than the first" in refused.err
    assert "elements: [left_arm_0, left_arm_1, left_arm_2, left_arm_3, left_arm_4, left_arm_5]" in refused.err
    found = run(tmp_path, config("two_arms", {"elements": ARM}, out))
    assert found.code == 0, found
    said = joints.by_name(tmp_path / "two_arms", STATES, lambda m: dict(zip(m.name, m.position, strict=True)))
    assert np.array_equal(table(tmp_path / "out/two_arms.parquet", ARM), joints.rows(said, ARM))
    names = pq.read_schema(tmp_path / "out/two_arms.parquet").names
    assert [name for name in names if name.startswith("arm.left")] == [f"arm.{name}" for name in ARM]


def test_a_recording_of_a_run_with_another_order_is_refused_and_right_by_name(tmp_path: Path) -> None:
    states(tmp_path / "a", ["waist", "wrist", "elbow"])
    states(tmp_path / "b", ["wrist", "elbow", "waist"])
    states(tmp_path / "c", ["waist", "wrist", "elbow"])
    out = {"checksum": {"options": {"out": "out/{recording}.json"}}}
    found = run(tmp_path, config("[abc]", {}, out))
    assert found.code == 65, found
    assert "[wrist, elbow, waist] instead of [waist, wrist, elbow]" in found.err
    assert sorted(path.name for path in (tmp_path / "out").glob("*.json")) == ["a.json", "c.json"]
    named = {"elements": ["waist", "elbow", "wrist"]}
    found = run(tmp_path, config("[abc]", named, {"parquet": {"options": {"out": "named"}}}), "--restart")
    assert found.code == 0, found
    tables = [table(tmp_path / f"named/{name}.parquet", named["elements"]) for name in "abc"]
    for one in tables:
        assert np.array_equal(one, [[1.0, 0.0, 2.0]] * 25)


def test_every_consumer_takes_samples_whose_length_varies(tmp_path: Path) -> None:
    joints.write(tmp_path, joints.two_arms, "mcap")
    said = joints.by_name(tmp_path / "two_arms", STATES, lambda m: dict(enumerate(m.position.tolist())))  # type: ignore[arg-type]
    rows = [list(row.values()) for _, row in said]
    assert {len(row) for row in rows} == {5, 6}
    consumers = {
        "parquet": {"options": {"out": "out"}},
        "zarr": {"options": {"out": "out"}},
        "stats": {"options": {"out": "out", "plot": True}},
        "preview": {"options": {"out": "out"}},
        "checksum": {"options": {"out": "out/sums.json"}},
        "null": {},
        "lerobot": {"options": {"out": "set", "task": "t", "features": {"action": "arm"}}, "recycle": {"chunks": 2}},
    }
    found = run(tmp_path, config("two_arms", {"capacity": 7, "names_field": ""}, consumers))
    assert found.code == 0, found
    assert pq.read_table(tmp_path / "out/two_arms.parquet")["arm"].to_pylist() == rows
    group = zarr.open_group(tmp_path / "out/two_arms.zarr", mode="r")
    lengths = np.asarray(group["arm/length"])
    assert [v[:n].tolist() for v, n in zip(np.asarray(group["arm/value"]), lengths, strict=True)] == rows
    stats = json.loads((tmp_path / "out/two_arms.stats.json").read_text())["streams"]["arm"]
    assert stats["values"] == [40, 40, 40, 40, 40, 20]
    assert np.allclose(stats["mean"][5], np.mean([row[5] for row in rows if len(row) > 5]))
    data = pq.read_table(tmp_path / "set/data/chunk-000/file-000.parquet")
    filled = [v[:n] for v, n in zip(data["action"].to_pylist(), data["length.action"].to_pylist(), strict=True)]
    assert filled == rows
