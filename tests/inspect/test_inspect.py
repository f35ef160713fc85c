"""`streamer.inspect` from Python: the functions of a notebook tell what the commands print."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from streamer import inspect
from streamer.source.source import Source
from tests.bags import SECOND, START, joints, numbers, record

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from streamer.records import Index
    from tests.cli.conftest import Command

TENS = range(START, START + 2 * SECOND, SECOND // 10)


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return record(tmp_path / "arm", "ros1", [*joints("/arm", TENS), *numbers("/n", TENS)])


def test_each_function_tells_what_its_command_prints(tmp_path: Path, bag: Path, commands: Command) -> None:
    suggested = inspect.suggest(bag)
    path = tmp_path / "config.yaml"
    path.write_text(suggested.as_yaml())
    assert yaml.safe_load(path.read_text()) == suggested.values
    assert set(suggested.kinds) == {"arm", "n"}
    assert json.loads(commands(tmp_path, "info", str(bag), "--json").out) == inspect.info(bag).as_json()
    views = json.loads(commands(tmp_path, "plan", "config.yaml", "--json").out)["recordings"]
    assert views == [view.as_json() for view in inspect.plan(path)]
    checked = inspect.check(path, "chunk_size=7")
    assert checked.exit_code == 0
    assert [r["chunks"] for r in checked.recordings] == [3]
    assert not (tmp_path / ".streamer").exists()


def test_the_index_is_read_once_for_everything_that_info_tells(bag: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[set[str]] = []
    read: Any = Source.index

    def index(source: Source, topics: Collection[str]) -> dict[str, Index]:
        asked.append(set(topics))
        found: dict[str, Index] = read(source, topics)
        return found

    monkeypatch.setattr(Source, "index", index)
    inspect.info(bag)
    assert asked == [{"/arm", "/n"}, {"/arm", "/n"}]  # to tell of it, and to plan what is suggested
