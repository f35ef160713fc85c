"""`streamer check`: every finding at once, with its line; nothing starts and nothing is written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.bags import SECOND, START, joints, numbers, record
from tests.pipeline.driver import Finished, Run, run

if TYPE_CHECKING:
    from pathlib import Path

Config = dict[str, Any]


def check(folder: Path, config: Config, *arguments: str) -> Finished:
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    with Run(folder, "check", "config.yaml", *arguments) as running:
        return running.end()


def test_what_it_expects_is_what_a_run_delivers(tmp_path: Path, config: Config) -> None:
    config["streams"]["camera"] |= {"tolerance": "1 ms", "missing": "skip"}
    config["streams"]["joints"]["gap"] = "5 ms"
    checked = check(tmp_path, config, "--json")
    assert checked.code == 0, checked
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
    (found,) = json.loads(checked.out)["recordings"]
    finished = run(tmp_path, config)
    assert found["planned"] == finished.report["frames"]["planned"]
    assert found["frames"] == finished.report["frames"]["delivered"]
    assert found["pool_bytes"] <= 620_000
    assert found["slots"] == finished.report["pool"]["slots"]
    for name, stream in finished.report["streams"].items():
        assert stream.items() <= found["streams"][name].items()


def test_all_findings_are_told_each_with_its_line(tmp_path: Path, config: Config) -> None:
    config["streams"] |= {
        "typo": {"topic": "/camera_0/image_raw/compresed"},
        "field": {"topic": "/joints_0", "field": "positon"},
        "reach": {"topic": "/joints_0", "field": "position[90]"},
        "linear": {"topic": "/camera_0/image_raw/compressed", "align": "linear"},
    }
    config["consumers"] |= {
        "unknown": {"use": "lerobt"},
        "option": {"use": "stats", "options": {"outt": "out"}},
        "value": {"use": "preview", "options": {"out": "out", "frames": 0}},
        "module": {"use": "no_such_module:Name"},
    }
    checked = check(tmp_path, config)
    assert checked.code == 78, checked
    lines = (tmp_path / "config.yaml").read_text().splitlines()
    for name, setting, words in (
        ("typo", "topic", "did you mean '/camera_0/image_raw/compressed'"),
        ("field", "field", "positon"),
        ("reach", "field", "position[90]"),
        ("linear", "align", "'linear' is for vectors"),
        ("unknown", "use", "did you mean 'lerobot'"),
        ("option", "outt", "did you mean 'out'"),
        ("value", "frames", "frames"),
        ("module", "use", "no_such_module"),
    ):
        at = next(n for n, line in enumerate(lines) if line == f"  {name}:")
        if setting:
            at = next(n for n in range(at + 1, len(lines)) if lines[n].strip().startswith(f"{setting}:"))
        (said,) = [line for line in checked.out.splitlines() if f"{name}" in line and f"config.yaml:{at + 1}:" in line]
        assert words in said
    assert "8 errors" in checked.out
    with Run(tmp_path, "run", "config.yaml") as running:  # which cannot begin, says the same
        refused = running.end()
    assert refused.code == 78, refused
    mistakes = {line.removeprefix("error: ") for line in checked.out.splitlines() if line.startswith("error: ")}
    assert {line.removeprefix("streamer: ") for line in refused.err.splitlines()} >= mistakes


def test_streams_without_samples_are_all_told_and_are_the_recordings_fault(tmp_path: Path) -> None:
    tens = range(START, START + 2 * SECOND, SECOND // 10)
    messages = [*numbers("/n", tens), *joints("/a", tens[5:]), *joints("/b", tens[8:])]
    path = record(tmp_path / "late", "ros1", messages)
    config: Config = {
        "source": {"path": str(path)},
        "timeline": {"from": "n"},
        "streams": {
            "n": {"topic": "/n", "field": "data"},
            "a": {"topic": "/a", "field": "position", "tolerance": "10 ms"},
            "b": {"topic": "/b", "field": "position", "align": "previous"},
        },
        "consumers": {"null": {}},
    }
    checked = check(tmp_path, config)
    assert checked.code == 65, checked
    assert "streams.a: no sample for 5 of 20 ticks" in checked.out
    assert "streams.b: no sample for 8 of 20 ticks" in checked.out
    checked = check(tmp_path, config, "--json", "streams.a.missing=skip", "streams.b.missing=none")
    (found,) = json.loads(checked.out)["recordings"]
    assert (found["frames"], found["skipped"]) == (15, {"missing a": 5})


@pytest.mark.parametrize(
    ("overrides", "code", "words"),
    [
        (["source.path=gone.bag"], 65, ["gone.bag"]),
        (["source.path=no*.bag"], 65, ["no*.bag"]),
        (["pool=1 kB"], 78, ["pool", "cannot hold", "a frame needs"]),
        (["timeline.rate=60 Hz"], 78, ["timeline.rate", "more than"]),
        (["timeline.from=kamera"], 78, ["timeline.from", "did you mean 'camera'"]),
        (["chunk_sise=3", "pool=3"], 78, ["chunk_sise", "did you mean 'chunk_size'", "pool"]),
    ],
)
def test_mistakes_of_every_kind_have_their_code(
    tmp_path: Path, config: Config, overrides: list[str], code: int, words: list[str]
) -> None:
    plain = check(tmp_path, config, *overrides)
    assert plain.code == code, plain
    assert all(word in plain.out + plain.err for word in words), plain
    assert "Traceback" not in plain.err
    found = json.loads(check(tmp_path, config, "--json", *overrides).out)
    assert found["exit_code"] == code
    assert all(any(word in f["message"] for f in found["findings"]) for word in words)


def test_outputs_that_would_overwrite_each_other_and_damage_at_the_end_are_found(tmp_path: Path) -> None:
    for name in "ab":
        record(tmp_path / name, "ros1", numbers("/n", range(START, START + SECOND, SECOND // 10)))
    config: Config = {
        "source": {"path": "*.bag"},
        "timeline": {"from": "n"},
        "streams": {"n": {"topic": "/n", "field": "data"}},
        "consumers": {"checksum": {"options": {"out": "sum.json"}}},
    }
    checked = check(tmp_path, config)
    assert checked.code == 78
    assert "consumers.checksum.options.out" in checked.out
    assert check(tmp_path, config, "consumers.checksum.options.out=sums/{recording}.json").code == 0
    content = (tmp_path / "b.bag").read_bytes()
    (tmp_path / "b.bag").write_bytes(content[: len(content) // 2])
    cut = check(tmp_path, config, "consumers.checksum.options.out=sums/{recording}.json")
    assert cut.code == 65, cut
    assert "b.bag" in cut.out
    assert "a.bag: 10 frames" in cut.out.replace(str(tmp_path), "")


def test_of_a_damaged_recording_it_expects_what_a_run_salvages(tmp_path: Path, config: Config, small_bag: Path) -> None:
    content = small_bag.read_bytes()
    (tmp_path / "cut.bag").write_bytes(content[: len(content) // 2])
    config["source"] = {"path": "cut.bag"}
    refused = check(tmp_path, config)
    assert refused.code == 65, refused
    assert "on_damage: salvage" in refused.out
    config["source"]["on_damage"] = "salvage"
    checked = check(tmp_path, config, "--json")
    assert checked.code == 0, checked
    (found,) = json.loads(checked.out)["recordings"]
    assert found["frames"] == run(tmp_path, config).report["frames"]["delivered"]
